"""The lake on Apache Spark: the same rows as from DuckDB."""
