"""The seeded fleet: pools and nodes that change as a clock is moved. Nothing here knows HTTP."""
