"""The declaration of a fact: its grain, its columns, and how rows of several days are merged.

A fact's SQL (``sql/history/<fact>.sql``) makes the rows of a day; it uses listings around the
day too, so several days may have rows with one key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal

import pyarrow as pa

from pipeline.schema.columns import COUNT, FLAG, SCHEMA_VERSION, TEXT, TIME, Column

#: A Batch account, and a day in UTC.
AccountDay = tuple[str, date]

Merge = Literal["key", "first", "last", "known", "min", "max", "carried", "window", "day", "view"]
"""How the rows of one key are merged.

``first`` and ``last``: the value of the earliest or latest observation. ``known``: the latest value that
is not null. ``window``: stored as the day's listings show it; the view computes it from merged rows.
``day``: stored, but not in the view. ``carried``: the same, merged as ``last``. ``view``: not stored; the
view computes it."""


@dataclass(frozen=True)
class FactColumn:
    """A column of a fact and its merge over days."""

    merge: Merge
    column: Column


@dataclass(frozen=True)
class Fact:
    """One fact: its grain, its columns, and the layout of its files.

    ``is_daily``: rows belong to one day and add up over days. ``is_island``: the fact's view merges rows
    over days as gaps and islands. ``first``: the first sort column of a file, before the key;
    ``rows_per_group``: rows of a row group, the unit that readers can skip. ``version``: raise it when
    the SQL changes its answers, and days are rebuilt.
    """

    name: str
    grain: str
    doc: str
    columns: tuple[FactColumn, ...]
    is_daily: bool = False
    is_island: bool = False
    first: str | None = None
    rows_per_group: int = 65_536
    version: int = 1

    def named(self, *merges: Merge) -> list[str]:
        """The names of the columns with these merges, in order."""
        return [each.column.name for each in self.columns if each.merge in merges]

    @property
    def shown(self) -> tuple[Column, ...]:
        """The columns of the fact's view."""
        return tuple(each.column for each in self.columns if each.merge not in ("carried", "day"))

    @property
    def order(self) -> str:
        """The sort order of a file, as SQL."""
        return ", ".join([*([self.first] if self.first else []), *self.named("key")])

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


def column(merge: Merge, name: str, kind: pa.DataType, doc: str) -> FactColumn:
    """A ``FactColumn``, declared in one line."""
    return FactColumn(merge, Column(name, kind, None, doc))


# fmt: off
# ruff: noqa: E501 - a column is one line
POOL = (
    column("key", "account", TEXT, "Batch account, as in every table."),
    column("key", "pool_id", TEXT, "Pool the node is in."),
)
NODE = (
    *POOL,
    column("key", "node_id", TEXT, "Id of the node; the service may reuse it."),
    column("key", "allocation_time", TIME, "When it was allocated: with its id, one incarnation. Null where no listing shows it."),
)
SEEN = (
    column("min", "first_observed_at", TIME, "First listing that showed it, service's clock."),
    column("max", "last_observed_at", TIME, "Last listing that showed it, service's clock."),
)
#: The last known values, and those of one row, which wins with its nulls.
MACHINE, MACHINE_OF_ROW = (
    (
        column(merge, "vm_size", TEXT, "Size of its virtual machine."),
        column(merge, "is_dedicated", FLAG, "Dedicated (true), spot (false), or not known (null)."),
    )
    for merge in ("known", "last")
)
_IMAGE = (
    ("image_publisher", "Publisher of the image."),
    ("image_offer", "Offer of the image."),
    ("image_sku", "SKU of the image."),
    ("image_exact_version", "Version of the image it was made from."),
    ("image_virtual_machine_image_id", "Id of a custom image, or of one of a shared or community gallery."),
)
IMAGE, IMAGE_OF_ROW, IMAGE_KEY = (
    tuple(column(merge, name, TEXT, doc) for name, doc in _IMAGE) for merge in ("known", "last", "key")
)
INCARNATION_KEY = column("day", "incarnation_key", COUNT, "63 bits of an MD5 of account, pool_id, node_id and allocation_time: one number to join and to group incarnations by.")
# fmt: on
