"""History: the facts of a day, made by the SQL in ``sql/history``, and the views that join all days.

A view takes a day from its history file where that is current, and makes every other one from rows
by the same SQL, so an answer does not depend on what has been compacted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache

import duckdb

from pipeline.lake import ListingSpan, date_of
from pipeline.query import record
from pipeline.query.fact_views import FACTS as FACTS
from pipeline.query.fact_views import INTERRUPTED, source, texts
from pipeline.query.fact_views import VIEWS as VIEWS
from pipeline.query.fact_views import closure as closure
from pipeline.query.fact_views import mentioned as mentioned
from pipeline.query.fact_views import read_by as read_by
from pipeline.query.parsed import parsed
from pipeline.query.sql_files import body, duckdb_type, file_list, quoted, rows_of
from pipeline.schema import facts
from pipeline.schema.facts import AccountDay, Fact

#: What the facts are made from first: which listings, and which nodes in them are which.
_SETTLED = ("events", "listings", "unallocated", "allocations")
#: Views and tables that list days.
_OF_DAYS = {
    "history_days": "view",
    "record_days": "table",
    "wanted_days": "table",
    "made_listings": "table",
}
#: Beginnings of the names of views that put several days together.
_TOGETHER = ("interrupted_", "whole_", "undated_", "uncounted_")
#: Tables of which facts need only the days of the listings that they are made from.
NARROWED = ("nodes", "recent_tasks", "node_errors", "pool_errors")


@cache
def _needs(step: str) -> tuple[str, ...]:
    """The steps and facts this one is made from, each after what it needs itself."""
    found: dict[str, None] = {}
    for name in sorted(parsed(source(step)).names):
        if name.startswith("made_"):
            needed = name.removeprefix("made_")
            found.update(dict.fromkeys((*_needs(needed), needed)))
    return tuple(found)


def _made(fact: Fact, days: frozenset[date] | None) -> str:
    """The named parts of a statement that make a fact from rows, the last one the fact's own."""
    steps = (*(step for step in _needs(fact.name) if step not in _SETTLED), fact.name)
    parts = [f"made_{step} as (\n{source(step)}\n)" for step in steps]
    return ",\n".join([*_narrowed(steps, days), *parts])


def _narrowed(steps: Iterable[str], days: frozenset[date] | None) -> Iterator[str]:
    """Named parts that stand for tables that steps read, with the rows of these days only."""
    if days is not None:
        named = {name for step in steps for name in parsed(source(step)).names}
        listed = ", ".join(f"date '{day}'" for day in sorted(days)) or "null"
        for table in NARROWED:
            if table in named:
                rows = f"select * from main.{table} where date in ({listed})"  # noqa: S608
                yield f"{table} as not materialized ({rows})"


@dataclass(frozen=True)
class History:
    """The SQL of the facts' views over some history files.

    Args:
        files: of each fact.
        days: the account-days that those files hold.
        spans: when the listings that there are ended: see ``lake.View``.
        wanted: the account-days that are answered from rows, once that is known: see ``settled``.
        read: the days of the listings that those are made from, once that is known.
        is_uninterrupted: no day lost sight of a node over its ends, so nothing is put together.
        standing: of the days, those whose history is final, because their rows have expired.
        older: the facts that an older version made for some of these days.
    """

    files: Mapping[str, tuple[str, ...]]
    days: tuple[tuple[str, date], ...]
    spans: tuple[ListingSpan, ...] = ()
    wanted: frozenset[tuple[str, date]] | None = None
    read: frozenset[date] | None = None
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
            yield from self.view(name)

    def settled(self, connection: duckdb.DuckDBPyConnection) -> History:
        """Works out, in a connection, which days are answered from rows, for its views."""
        if record.is_covered(self.spans, self.days):
            # no listing is read: history has every day of the record
            known = self._days_known("select account, date from history_days")
            for statement in (*known, *map(_empty, ("wanted_days", *_SETTLED))):
                connection.execute(statement)
            return replace(self, wanted=frozenset(), read=frozenset())
        unallocated = "select 1 from {} where allocation_time is null limit 1"
        files = self.files.get("node_incarnations", ())
        few = files and connection.execute(unallocated.format(_rows(files))).fetchone()
        *earlier, _, allocations = self.days_wanted(has_unallocated=bool(few))
        for statement in earlier:
            connection.execute(statement)
        wanted = connection.execute("select account, date from wanted_days").fetchall()
        ids = connection.execute("select distinct snapshot_id from made_listings").fetchall()
        read = frozenset(date_of(snapshot_id) for (snapshot_id,) in ids)
        listed = ", ".join(_narrowed(["unallocated"], read))
        connection.execute(
            f"create or replace table made_unallocated as with {listed} {source('unallocated')}"
        )
        few = connection.execute("select 1 from made_unallocated limit 1").fetchone()
        connection.execute(allocations if few else _empty("allocations"))
        return replace(self, wanted=frozenset(wanted), read=read)

    def checked(self, connection: duckdb.DuckDBPyConnection) -> History:
        """Looks whether any node was interrupted, in a connection that has the facts' days."""
        for statement in self.views(["daily_node_incarnations"]):
            connection.execute(statement)
        found = connection.execute(f"select 1 from ({INTERRUPTED}) limit 1").fetchone()  # noqa: S608
        return replace(self, is_uninterrupted=found is None)

    def within(self, connection: duckdb.DuckDBPyConnection, since: date, through: date) -> History:
        """The history of these days alone, in a schema of their own that the connection then uses.

        It is of a history that is settled in the schema ``main``; that one stays as it is.
        """
        schema = f"days_{since}_{through}".replace("-", "")
        connection.execute(f"create schema if not exists {schema}")
        connection.execute(f"set schema = '{schema}'")
        for name, kind in _OF_DAYS.items():
            rows = f"from main.{name} where date between date '{since}' and date '{through}'"
            connection.execute(f"create or replace {kind} {name} as {rows}")
        ids = connection.execute("select distinct snapshot_id from made_listings").fetchall()

        def of_days(whose: Iterable[AccountDay]) -> tuple[AccountDay, ...]:
            return tuple(each for each in whose if since <= each[1] <= through)

        days = {*of_days(self.days)}
        return replace(
            self,
            files={
                fact: tuple(file for file in files if record.account_day_of(file) in days)
                for fact, files in self.files.items()
            },
            days=of_days(self.days),
            standing=of_days(self.standing),
            wanted=frozenset(of_days(self.wanted or ())),
            read=frozenset(date_of(snapshot_id) for (snapshot_id,) in ids),
            is_uninterrupted=False,
        )

    @property
    def days_read(self) -> frozenset[date]:
        """The days whose files facts are made from, once it is settled which days are wanted."""
        # of a file of pools that is missing no listing is known
        around = {day + timedelta(step) for _, day in self.wanted or () for step in (-1, 0, 1)}
        return frozenset(around) | (self.read or frozenset())

    def days_wanted(self, *, has_unallocated: bool = True) -> Iterator[str]:
        """Works out which days are answered from rows, and from which listings of them.

        With ``has_unallocated`` history may have nodes that never showed their allocation.
        """
        yield from self._days_known()
        # What a connection sees does not change: which listings of which days are wanted is worked
        # out once, not by every query again.
        files = self.files.get("node_incarnations", ())
        days = record.wanted_days(_rows(files) if files and has_unallocated else None)
        yield f"create or replace table wanted_days as {self._but_standing(days)}"
        for step in _SETTLED:
            yield f"create or replace table made_{step} as {source(step)}"

    def _but_standing(self, days: str) -> str:
        """Without the days whose history is final."""
        if not self.standing:
            return days
        listed = " or ".join(
            f"(account = '{quoted(account)}' and date = date '{day}')"
            for account, day in self.standing
        )
        return f"select account, date from ({days}) as days where not ({listed})"  # noqa: S608

    def _days_known(self, record_days: str = record.RECORD_DAYS) -> Iterator[str]:
        days = [f"('{quoted(account)}', date '{day}')" for account, day in self.days]
        listed = f"(values {', '.join(days)})" if days else "(select null, null where false)"
        columns = "cast(account as varchar) as account, cast(date as date) as date"
        listed += " as days (account, date)"
        yield f"create or replace view history_days as select {columns} from {listed}"  # noqa: S608
        yield f"create or replace table record_days as {record_days}"

    def view(self, name: str, *, is_kept: bool = False) -> Iterator[str]:
        """Makes one view of others, and comments on it where it is a fact's.

        With ``is_kept`` it reads the rows of interrupted nodes once for all queries: they are few, and
        many views read them.
        """
        kind, _, fact_name = name.partition("_")
        if kind == "daily" and fact_name in facts.FACTS:
            yield f"create or replace view {name} as {self._daily(facts.FACTS[fact_name])}"
            return
        if self.is_uninterrupted and name.startswith(_TOGETHER):
            yield from _emptied(name)
            return
        yield from texts()[name]
        if is_kept and kind == "interrupted" and name != "interrupted_hour_pieces":
            yield f"create or replace table kept_{name} as from {name}"
            yield f"create or replace view {name} as from kept_{name}"
        if name in facts.FACTS:
            fact = facts.FACTS[name]
            yield f"comment on view {name} is '{quoted(fact.doc)} Grain: {fact.grain}.'"
            for column in fact.shown:
                yield f"comment on column {name}.{column.name} is '{quoted(column.doc)}'"

    def _daily(self, fact: Fact) -> str:
        """A fact's rows by day: from history where that is current, the others from rows."""
        made = f"with {_made(fact, self.read)}\nselect date, {typed(fact)} from made_{fact.name}"
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
        read = f"select date, {typed(fact)} from {source}"  # noqa: S608
        if self.wanted is None:
            read += " where (account, date) not in (from wanted_days)"
        return read if self.wanted == frozenset() else f"{made} union all {read}"


def _rows(files: tuple[str, ...]) -> str:
    return rows_of(file_list(files), files)


def _emptied(view: str) -> Iterator[str]:
    """Makes a view that has no rows: what it would be made of is not planned by each query again."""
    query = body(texts()[view][0]).rstrip(";")
    rows = f"select * from ({query}) as nothing where false"  # noqa: S608
    yield f"create or replace table no_{view} as {rows}"
    yield f"create or replace view {view} as select * from no_{view}"  # noqa: S608


def _empty(table: str) -> str:
    """Makes the empty table of facts or wanted days."""
    rows = record.WANTED_DAYS if table == "wanted_days" else source(table)
    name = table if table == "wanted_days" else f"made_{table}"
    return f"create or replace table {name} as select * from ({rows}) as none where false"  # noqa: S608


def typed(fact: Fact) -> str:
    """The fact's columns as SQL, each cast to its type."""
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
