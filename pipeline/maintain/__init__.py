"""Maintenance of a lake: days closed, history built, old data expired."""

from pipeline.maintain.compaction import compact
from pipeline.maintain.expiry import expire

__all__ = ["compact", "expire"]
