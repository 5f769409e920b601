"""History: the facts of a day, made by the SQL in ``sql/history``, and the views that join all days.

A view takes a day from its history file where that is current, and makes every other one from rows
by the same SQL, so an answer does not depend on what has been compacted.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from pipeline.lake import ListingSpan, date_of
from pipeline.query import record
from pipeline.query.fact_views import FACTS as FACTS
from pipeline.query.fact_views import INTERRUPTED, source, texts
from pipeline.query.fact_views import VIEWS as VIEWS
from pipeline.query.fact_views import closure as closure
from pipeline.query.fact_views import mentioned as mentioned
from pipeline.query.fact_views import read_by as read_by
from pipeline.query.sql_files import duckdb_type, file_list, quoted, rows_of
from pipeline.schema import facts
from pipeline.schema.facts import Fact

if TYPE_CHECKING:
    from pipeline.query.connection import Connection

#: What the facts are made from first: which listings, and which nodes in them are which.
_SETTLED = ("events", "listings", "unallocated", "allocations")
#: What others are made from: a day's are kept while it is built.
_KEPT = (
    "seen_states",
    "day_edges",
    "seen_incarnations",
    "task_runs",
    "start_task_runs",
    "node_boots",
    "node_states",
    "node_incarnations",
)
#: The snapshots that a day's facts are made from: its listings', and those that tell whose a row is.
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


@cache
def _needs(step: str) -> tuple[str, ...]:
    """The steps and facts this one is made from, each after what it needs itself."""
    found: dict[str, None] = {}
    for name in dict.fromkeys(re.findall(r"\bmade_(\w+)", source(step))):
        found.update(dict.fromkeys((*_needs(name), name)))
    return tuple(found)


def _made(fact: Fact) -> str:
    """The named parts of a statement that make a fact from rows, the last one the fact's own."""
    steps = (*(step for step in _needs(fact.name) if step not in _SETTLED), fact.name)
    return ",\n".join(f"made_{step} as (\n{source(step)}\n)" for step in steps)


@dataclass(frozen=True)
class History:
    """The SQL of the facts' views over some history files.

    Args:
        files: of each fact.
        days: the account-days that those files hold.
        spans: when the listings that there are ended: see ``lake.View``.
        wanted: the account-days that are answered from rows, once that is known: see ``settled``.
        is_uninterrupted: no day lost sight of a node over its ends, so nothing is put together.
        standing: of the days, those whose history stands whatever came since: rows have expired.
        older: the facts that some of these days tell as an older version made them.
    """

    files: Mapping[str, tuple[str, ...]]
    days: tuple[tuple[str, date], ...]
    spans: tuple[ListingSpan, ...] = ()
    wanted: frozenset[tuple[str, date]] | None = None
    standing: tuple[tuple[str, date], ...] = ()
    is_uninterrupted: bool = False
    older: frozenset[str] = frozenset()

    def statements(self) -> Iterator[str]:
        """Makes everything: what the facts are made from, then their views."""
        yield from self.days_wanted()
        yield from self.views(texts())

    def views(self, wanted: Iterable[str]) -> Iterator[str]:
        """Makes these views and all they read; every view is bound when it is made."""
        for name in closure(wanted):
            yield from self._unit(name)

    def settled(self, connection: duckdb.DuckDBPyConnection) -> History:
        """Works out, in a connection, which days are answered from rows, for its views."""
        statements = [*self.days_wanted()]
        if record.is_covered(self.spans, self.days):
            statements = [*self._days_known(), *map(_empty, ("wanted_days", *_SETTLED))]
        for statement in statements:
            connection.execute(statement)
        wanted = connection.execute("select account, date from wanted_days").fetchall()
        return replace(self, wanted=frozenset(wanted))

    def checked(self, connection: duckdb.DuckDBPyConnection) -> History:
        """Looks whether any node was interrupted, in a connection that has the facts' days."""
        for statement in self.views(["daily_node_incarnations"]):
            connection.execute(statement)
        found = connection.execute(f"select 1 from ({INTERRUPTED}) limit 1").fetchone()  # noqa: S608
        return replace(self, is_uninterrupted=found is None)

    def days_read(self, connection: duckdb.DuckDBPyConnection) -> set[date]:
        """The days whose files facts are made from, once it is settled which days are wanted."""
        if not self.wanted:
            return set()
        ids = connection.execute("select distinct snapshot_id from made_listings").fetchall()
        # of a file of pools that is missing no listing is known
        around = {day + timedelta(step) for _, day in self.wanted for step in (-1, 0, 1)}
        return around | {date_of(snapshot_id) for (snapshot_id,) in ids}

    def days_wanted(self) -> Iterator[str]:
        """Works out which days are answered from rows, and from which listings of them."""
        yield from self._days_known()
        # What a connection sees does not change: which listings of which days are wanted is worked
        # out once, not by every query again.
        yield f"create or replace table wanted_days as {self._wanted_days()}"
        for step in _SETTLED:
            yield f"create or replace table made_{step} as {source(step)}"

    def _wanted_days(self) -> str:
        if not self.standing:
            return record.WANTED_DAYS
        listed = " or ".join(
            f"(account = '{quoted(account)}' and date = date '{day}')"
            for account, day in self.standing
        )
        return f"select account, date from ({record.WANTED_DAYS}) as days where not ({listed})"  # noqa: S608

    def _days_known(self) -> Iterator[str]:
        days = [f"('{quoted(account)}', date '{day}')" for account, day in self.days]
        listed = f"(values {', '.join(days)})" if days else "(select null, null where false)"
        columns = "cast(account as varchar) as account, cast(date as date) as date"
        listed += " as days (account, date)"
        yield f"create or replace view history_days as select {columns} from {listed}"  # noqa: S608
        yield f"create or replace view record_days as {record.RECORD_DAYS}"

    def _unit(self, name: str) -> Iterator[str]:
        """Makes one view, and comments on it where it is a fact's."""
        kind, _, fact_name = name.partition("_")
        if kind == "daily" and fact_name in facts.FACTS:
            yield f"create or replace view {name} as {self._daily(facts.FACTS[fact_name])}"
            return
        if self.is_uninterrupted and re.match(r"interrupted_|whole_|undated_|uncounted_", name):
            yield from _emptied(name)
            return
        yield from texts()[name]
        if name in facts.FACTS:
            fact = facts.FACTS[name]
            yield f"comment on view {name} is '{quoted(fact.doc)} Grain: {fact.grain}.'"
            for column in fact.shown:
                yield f"comment on column {name}.{column.name} is '{quoted(column.doc)}'"

    def _daily(self, fact: Fact) -> str:
        """A fact's rows by day: from history where that is current, the others from rows."""
        made = f"with {_made(fact)}\nselect date, {_typed(fact)} from made_{fact.name}"
        files = self.files.get(fact.name, ())
        if self.wanted:
            files = tuple(file for file in files if record.account_day_of(file) not in self.wanted)
        if not files:
            return made
        is_older = fact.name in self.older  # a file may lack a column
        source = rows_of(file_list(files), files, by_name=is_older)
        if is_older:
            source = (
                f"(select * from {source} "  # noqa: S608
                f"union all by name select {_nulls(fact)} where false) as files"
            )
        read = f"select date, {_typed(fact)} from {source}"  # noqa: S608
        if self.wanted is None:
            read += " where (account, date) not in (from wanted_days)"
        return read if self.wanted == frozenset() else f"{made} union all {read}"


def _emptied(view: str) -> Iterator[str]:
    """Makes a view that has no rows: what it would be made of is not planned by each query again."""
    made = re.search(r"create or replace view \w+ as\s(.*)", texts()[view][0], re.DOTALL)
    query = made[1] if made else INTERRUPTED
    rows = f"select * from ({query}) as nothing where false"  # noqa: S608
    yield f"create or replace table no_{view} as {rows}"
    yield f"create or replace view {view} as select * from no_{view}"  # noqa: S608


def _empty(table: str) -> str:
    """Makes what tells of wanted days without any."""
    rows = record.WANTED_DAYS if table == "wanted_days" else source(table)
    name = table if table == "wanted_days" else f"made_{table}"
    return f"create or replace table {name} as select * from ({rows}) as none where false"  # noqa: S608


def _typed(fact: Fact) -> str:
    return ", ".join(
        f"cast({each.column.name} as {duckdb_type(each.column.type)}) as {each.column.name}"
        for each in fact.columns
        if each.merge != "view"
    )


def _nulls(fact: Fact) -> str:
    return ", ".join(
        f"cast(null as {duckdb_type(each.column.type)}) as {each.column.name}"
        for each in fact.columns
        if each.merge != "view"
    )


@contextmanager
def _building(connection: Connection, account: str, days: str) -> Iterator[_Build]:
    """A place of its own for the tables of a build, in which the steps find what they name."""
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
        """Makes a table of this build: ``name as query``."""
        self.cursor.execute(f"create table {self.place}.main.{definition}")

    def narrow(self, table: str, dates: str = "true") -> None:
        """Shows the build only this account's rows of a table, and only some dates of those."""
        self.cursor.execute(
            f"create or replace view {self.place}.main.{table} as from {self.home}.main.{table} "
            f"where account = '{quoted(self.account)}' and {dates}"
        )

    def reader(self, fact: Fact) -> pa.RecordBatchReader:
        """A fact's rows of the only wanted day, sorted by key, under its schema."""
        name = f"made_{fact.name}"
        made = name if fact.name in _KEPT else f"({source(fact.name)})"
        rows = self.cursor.sql(
            f"select {_typed(fact)} from {made} order by {fact.order}"  # noqa: S608
        ).to_arrow_reader(_ROWS_PER_BATCH)
        batches = (pa.RecordBatch.from_arrays(batch.columns, schema=fact.schema) for batch in rows)
        return pa.RecordBatchReader.from_batches(fact.schema, batches)


def build_day(
    connection: Connection, account: str, day: date
) -> Iterator[tuple[str, pa.RecordBatchReader]]:
    """Makes the facts of one account-day from the rows the connection sees.

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
        for table in ("nodes", "recent_tasks", "node_errors", "pool_errors"):
            b.narrow(table, f"date in ({listed})")
        b.keep(f"made_unallocated as {source('unallocated')}")
        b.narrow("nodes")  # whose allocation a row is of is looked for in the whole record
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
    """For each day of the record, in order, the snapshots its facts are made from."""
    with _building(connection, account, record.RECORD_DAYS) as build:
        build.narrow("nodes")
        for step in ("unallocated", "allocations"):
            build.keep(f"made_{step} as {source(step)}")
        rows = build.cursor.execute(_INPUTS).fetchall()
    return {day: frozenset(ids) for day, ids in rows}
