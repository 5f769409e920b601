"""The interface of fact builders, and their connection of bounded memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from pipeline.lake import Lake, date_of

if TYPE_CHECKING:
    from pipeline.query import Connection

#: The memory limit of DuckDB while it builds history; beyond it uses temporary files.
MEMORY = "2GB"
MEMORY_ADVICE = (
    "not enough memory: give the process 3 GB (ulimit -v, the container's limit), and run again"
)

# When the first and the last listing of some snapshots ended, of the account or its pools.
_LISTED = """
select min(ended_at), max(ended_at) from (
    select pool_listing_finished_at as ended_at, snapshot_id, account, date from snapshots
    union all
    select listing_finished_at, snapshot_id, account, date from pools
) as listed
where account = $account and snapshot_id in (select unnest($ids)) and date in ({days})
"""


class FactBuilder(Protocol):
    """Builds facts from days: ``pipeline.maintain.build_facts``."""

    @property
    def FACTS(self) -> Collection[str]:
        """The facts' names."""

    def build_day(
        self, connection: Connection, account: str, day: date
    ) -> Iterable[tuple[str, pa.RecordBatchReader | pa.Table]]:
        """The facts of one account-day, by name."""

    def windows(self, connection: Connection, account: str) -> Mapping[date, Collection[str]]:
        """For each day of an account's record, the snapshots its facts are built from."""


def default_builder() -> FactBuilder:
    """The facts of ``sql/history``."""
    from pipeline.maintain import build_facts

    return build_facts


def connect(lake: Lake) -> closing[Connection]:
    """A connection of bounded memory, beyond which it uses temporary files."""
    from pipeline import query

    connection = query.connect(lake)
    # By default DuckDB uses 80 % of the memory, and spills into the working directory.
    connection.sql(f"set memory_limit = '{MEMORY}'")
    spill = f"{tempfile.gettempdir()}/nodelake-spill-{os.getpid()}"
    connection.sql(f"set temp_directory = '{spill}'")
    return closing(connection)


def listed(
    connection: Connection, account: str, ids: Collection[str]
) -> tuple[datetime | None, datetime | None]:
    """When the first and the last listing of these snapshots ended."""
    if not ids:
        return None, None
    # skips files of other dates
    days = ", ".join(f"date '{day}'" for day in sorted({*map(date_of, ids)}))
    given = {"account": account, "ids": [*ids]}
    with closing(connection.cursor()) as cursor:
        first, last = cursor.execute(_LISTED.format(days=days), given).fetchone() or (None, None)
    return first, last
