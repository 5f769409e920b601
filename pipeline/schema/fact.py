"""What a fact is declared with: ``Fact``, its columns and how the rows of several days are merged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal

import pyarrow as pa

from pipeline.schema.columns import SCHEMA_VERSION, Column

#: A Batch account, and a day in UTC.
AccountDay = tuple[str, date]

Merge = Literal["key", "first", "last", "min", "max", "view"]
"""How the rows of one key become one: ``first`` and ``last`` are those of the earliest and the latest
observation; ``view`` is a column that no file has, made by the fact's view from the merged rows."""


@dataclass(frozen=True)
class FactColumn:
    """A column of a fact and its merge over days."""

    merge: Merge
    column: Column


@dataclass(frozen=True)
class Fact:
    """One fact: its grain, what it tells, and its columns.

    ``is_daily``: a row belongs to its day (the ``date`` of its path is part of its key) and is never
    merged. ``is_island``: rows are joined over days as gaps and islands, by the fact's own view.
    ``version`` is raised when its SQL answers otherwise: days that were made before are made anew.
    """

    name: str
    grain: str
    doc: str
    columns: tuple[FactColumn, ...]
    is_daily: bool = False
    is_island: bool = False
    version: int = 1

    def named(self, *merges: Merge) -> list[str]:
        """The names of the columns with one of these merges, in order."""
        return [each.column.name for each in self.columns if each.merge in merges]

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every history file of this fact."""
        return pa.schema(
            [each.column.field for each in self.columns if each.merge != "view"],
            metadata={
                "nodelake.fact": self.name,
                "nodelake.schema_version": str(SCHEMA_VERSION),
                "nodelake.grain": self.grain,
            },
        )
