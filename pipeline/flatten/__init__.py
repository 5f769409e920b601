"""Page bytes in, Arrow tables out: pure, without a clock, a network or a disk."""

from pipeline.flatten.nodes import NodeFlattener, Tables
from pipeline.flatten.pools import image_rows, pool_rows, usage_rows

__all__ = ["NodeFlattener", "Tables", "image_rows", "pool_rows", "usage_rows"]
