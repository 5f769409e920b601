"""Upkeep of a lake: days closed, history built, old data expired."""

from pipeline.maintain.compaction import compact
from pipeline.maintain.sweep import expire

__all__ = ["compact", "expire"]
