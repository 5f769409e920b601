"""Builds the facts of one day with the SQL in ``sql/history``, from the rows of a connection."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import duckdb
import pyarrow as pa

from pipeline.lake import date_of
from pipeline.query import Connection, record
from pipeline.query.fact_views import FACTS as FACTS
from pipeline.query.fact_views import source
from pipeline.query.history import NARROWED, typed
from pipeline.query.sql_files import quoted
from pipeline.schema import facts
from pipeline.schema.facts import Fact

#: Intermediate tables of a day, stored while it is built.
_KEPT = (
    "seen_states",
    "day_edges",
    "seen_incarnations",
    "late_nodes",
    "task_runs",
    "start_task_runs",
    "node_boots",
    "node_states",
    "node_incarnations",
)
#: The snapshots that a day's facts are made from: its listings', and those that name a row's account.
_INPUTS = """
select date, list(distinct snapshot_id)
from (
    select date, snapshot_id from made_listings
    union all
    select listings.date, allocations.shown_by
    from made_listings as listings
    join made_allocations as allocations
        on allocations.account = listings.account
        and allocations.pool_id = listings.pool_id
        and allocations.snapshot_id = listings.snapshot_id
) as inputs
group by date
order by date
"""
_ROWS_PER_BATCH = 65_536
_builds = itertools.count()


@contextmanager
def _building(connection: Connection, account: str, days: str) -> Iterator[_Build]:
    """A database of its own for the tables of a build, first in the search path."""
    cursor = connection.cursor()
    (home,) = cursor.execute("select current_database()").fetchone() or ("memory",)
    place = f"building_{next(_builds)}"
    cursor.execute(f"attach ':memory:' as {place}")
    try:
        cursor.execute(f"set search_path = '{place}.main,{home}.main'")
        build = _Build(cursor, home, place, account)
        for table in ("snapshots", "pools"):
            build.narrow(table)
        build.keep(f"wanted_days as {days}")
        for step in ("events", "listings"):
            build.keep(f"made_{step} as {source(step)}")
        yield build
    finally:
        cursor.execute(f"use {home}.main")
        cursor.execute(f"detach {place}")
        cursor.close()


class _Build:
    """The tables of one build, beside the connection's own views."""

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, home: str, place: str, account: str
    ) -> None:
        self.cursor = cursor
        self.home = home
        self.place = place
        self.account = account

    def keep(self, definition: str) -> None:
        """Creates a table of this build: ``name as query``."""
        self.cursor.execute(f"create table {self.place}.main.{definition}")

    def narrow(self, table: str, dates: str = "true") -> None:
        """Limits the rows of a table to this account and to some dates."""
        self.cursor.execute(
            f"create or replace view {self.place}.main.{table} as from {self.home}.main.{table} "
            f"where account = '{quoted(self.account)}' and {dates}"
        )

    def reader(self, fact: Fact) -> pa.RecordBatchReader:
        """A fact's rows of the day, sorted by key, with its schema."""
        name = f"made_{fact.name}"
        made = name if fact.name in _KEPT else f"({source(fact.name)})"
        rows = self.cursor.sql(
            f"select {typed(fact)} from {made} order by {fact.order}"  # noqa: S608
        ).to_arrow_reader(_ROWS_PER_BATCH)
        batches = (pa.RecordBatch.from_arrays(batch.columns, schema=fact.schema) for batch in rows)
        return pa.RecordBatchReader.from_batches(fact.schema, batches)


def build_day(
    connection: Connection, account: str, day: date
) -> Iterator[tuple[str, pa.RecordBatchReader]]:
    """Builds the facts of one account-day from the rows of a connection.

    The listings are those from each pool's last complete one before the day to its second complete
    one after it. Memory is DuckDB's, within its ``memory_limit``.

    Yields:
        (fact, its rows, sorted by key, under ``facts.FACTS[fact].schema``) for every fact, one
        after another: read a reader to its end before the next is asked for.
    """
    only = f"select '{quoted(account)}' as account, date '{day}' as date"
    with _building(connection, account, only) as b:
        ids = b.cursor.execute("select distinct snapshot_id from made_listings").fetchall()
        dates = {date_of(snapshot_id) for (snapshot_id,) in ids} or {day}
        listed = ", ".join(f"date '{each}'" for each in sorted(dates))
        for table in NARROWED:
            b.narrow(table, f"date in ({listed})")
        b.keep(f"made_unallocated as {source('unallocated')}")
        b.narrow("nodes")  # a row may get its allocation from any day
        b.keep(f"made_allocations as {source('allocations')}")
        b.narrow("nodes", f"date in ({listed})")
        b.cursor.execute(
            f"create view {b.place}.main.made_observations as {source('observations')}"
        )
        for name in _KEPT:
            b.keep(f"made_{name} as {source(name)}")
        b.cursor.execute(f"create view {b.place}.main.made_hour_pieces as {source('hour_pieces')}")
        for name, fact in facts.FACTS.items():
            yield name, b.reader(fact)


def windows(connection: Connection, account: str) -> dict[date, frozenset[str]]:
    """For each day of the record, in order, the snapshots behind its facts."""
    with _building(connection, account, record.RECORD_DAYS) as build:
        build.narrow("nodes")
        for step in ("unallocated", "allocations"):
            build.keep(f"made_{step} as {source(step)}")
        days = build.cursor.execute("select date from wanted_days order by date").fetchall()
        rows = build.cursor.execute(_INPUTS).fetchall()
    # a day in a gap of an account that had no pools has no listing in its window
    return {day: frozenset() for (day,) in days} | {day: frozenset(ids) for day, ids in rows}
