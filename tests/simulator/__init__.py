"""Random small worlds, what polls see of them, and every answer worked out again in plain Python."""
