"""nodelake: the flight recorder for Azure Batch fleets.

The way of the data: ``extract`` (page bytes) → ``flatten`` (Arrow tables, redacted) → ``lake``
(Parquet) → ``query`` (DuckDB). Nothing is imported here, so that ``import pipeline`` is free.
"""

__version__ = "0.1.0"
