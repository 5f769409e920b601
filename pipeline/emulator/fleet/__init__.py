"""The seeded fleet: pools and nodes that change as its clock moves. It does not know HTTP."""
