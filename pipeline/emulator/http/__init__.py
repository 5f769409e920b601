"""The HTTP face of a fleet: a WSGI app that answers as the Batch service does."""
