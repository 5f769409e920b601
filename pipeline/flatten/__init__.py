"""Page bytes in, Arrow tables out: pure, without a clock, a network or a disk."""

from pipeline.flatten.nodes import NodeFlattener, Tables
from pipeline.flatten.pools import pool_rows, usage_rows

__all__ = ["NodeFlattener", "Tables", "pool_rows", "usage_rows"]
