"""The vocabulary of table declarations: types, ``Column`` and ``Table``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import pyarrow as pa

#: The version of the columns; every file and the id of every import depend on it.
SCHEMA_VERSION = 2

#: The text of a masked value.
REDACTED = "[redacted]"

Secret = Literal["no", "text", "mask", "drop"]
"""Whether a column may hold a secret, and how it is redacted.

``no``: keys, numbers, times, closed vocabularies. ``text``: free text, in which secrets are masked.
``mask``: always a secret, masked as a whole. ``drop``: a known field that is never stored.
"""

TIME = pa.timestamp("us", tz="UTC")
INT = pa.int32()
COUNT = pa.int64()
REAL = pa.float64()
FLAG = pa.bool_()
TEXT = pa.string()


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, Arrow type, JSON path and meaning.

    ``path`` is relative to the object of the row (see ``Table.root``); None is a column that nodelake
    computes. ``enum`` lists the known values, lower-cased. ``fields`` are the
    members of a list<struct> column, their paths relative to the list's element.
    """

    name: str
    type: pa.DataType
    path: str | None
    doc: str
    secret: Secret = "no"
    enum: tuple[str, ...] = ()
    fields: tuple[Column, ...] = ()

    @property
    def is_stored(self) -> bool:
        """Whether the column is written to files."""
        return self.secret != "drop"

    @property
    def field(self) -> pa.Field:
        """The Arrow field, with the doc as its metadata."""
        return pa.field(self.name, self.type, metadata={"doc": self.doc})


@dataclass(frozen=True)
class Table:
    """One table of the lake: its grain, its columns, and the JSON object behind a row.

    ``order`` is the sort order of day files, which puts equal values and a node's history together.
    ``root`` is the path of the object in a ComputeNode (``""`` the node itself, ``recentTasks[]`` an
    element of that list), or None where rows do not come from a node.
    """

    name: str
    grain: str
    doc: str
    order: tuple[str, ...]
    columns: tuple[Column, ...]
    root: str | None = None

    @cached_property
    def stored(self) -> tuple[Column, ...]:
        """The columns that are written, in file order."""
        return tuple(column for column in self.columns if column.is_stored)

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every file of this table, with docs as field metadata."""
        return pa.schema(
            [column.field for column in self.stored],
            metadata={
                "nodelake.table": self.name,
                "nodelake.schema_version": str(SCHEMA_VERSION),
                "nodelake.grain": self.grain,
            },
        )

    @property
    def from_json(self) -> Iterator[Column]:
        """The columns that come from the service's JSON, in file order."""
        return (column for column in self.columns if column.path is not None)


def list_column(name: str, path: str | None, doc: str, *fields: Column) -> Column:
    """A list<struct> column; ``fields`` are the members of its elements."""
    members = pa.struct([field.field for field in fields if field.is_stored])
    return Column(name, pa.list_(pa.field("element", members)), path, doc, fields=fields)


def text_list_column(name: str, path: str, doc: str) -> Column:
    """A column that lists free texts."""
    return Column(name, pa.list_(pa.field("element", TEXT)), path, doc, "text")


def enum_list_column(name: str, path: str, doc: str, enum: Sequence[str]) -> Column:
    """A column that lists values of a vocabulary."""
    return Column(name, pa.list_(pa.field("element", TEXT)), path, doc, enum=tuple(enum))
