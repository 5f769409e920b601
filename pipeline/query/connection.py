"""A DuckDB connection over a lake: a view for every table, and the named questions.

A connection sees the snapshots that were committed when it was made, until ``refresh()``: answers do
not change while the lake grows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
from duckdb import DuckDBPyConnection, DuckDBPyRelation

from pipeline.config import DEFAULT_LAKE
from pipeline.lake import FACTS_FROM, Lake, LakeError, View
from pipeline.query import damage, history, missing_facts, table_views
from pipeline.query import prices as price_files
from pipeline.query.parsed import parsed
from pipeline.query.question_files import Parameter as Parameter
from pipeline.query.question_files import Question as Question
from pipeline.query.question_files import QuestionError as QuestionError
from pipeline.query.question_files import question as question
from pipeline.query.question_files import questions as questions
from pipeline.query.sql_files import quoted

if TYPE_CHECKING:
    import polars as pl


class Outdated(LakeError):
    """Files of this connection were replaced, and the grace period is over: ``refresh()`` helps."""

    def __init__(self) -> None:
        super().__init__(
            "files of this connection's view of the lake have been replaced, compacted away or "
            "expired since it was taken: call refresh() and ask again"
        )


class _HistoryChanged(Outdated):
    """A day's history was rebuilt while a query read it."""


def connect(
    lake: str | Path | Lake | None = None, *, prices: str | Path | None = None
) -> Connection:
    """Opens a lake for queries and questions.

    Args:
        lake: a directory, or a ``Lake``; by default NODELAKE_LAKE, else ``data/lake``. A lake that
            does not exist reads as empty: every view is typed and has no rows.
        prices: a price file, for ``Connection.use_prices``; without one, answers have no costs.

    Raises:
        prices.PriceError: the price file cannot be used.
    """
    if not isinstance(lake, Lake):
        lake = Lake(lake or os.environ.get("NODELAKE_LAKE") or DEFAULT_LAKE)
    read = price_files.read_prices(prices) if prices is not None else None
    connection = Connection(lake)
    if read is not None:
        connection.use_prices(read)
    return connection


class Connection:
    """An in-memory DuckDB whose views read the lake; use as a context manager, or ``close()``.

    ``duckdb`` is the connection itself. Its time zone is UTC, and it neither downloads nor loads
    extensions. Views of facts and of the fleet, and comments, are made when a query first names one, or
    asks which there are. With ``since`` it reads no file of an earlier day.
    """

    def __init__(self, lake: Lake, *, since: date | None = None) -> None:
        self.lake = lake
        self._since = since
        self._duckdb = duckdb.connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            }
        )
        self._duckdb.execute("set TimeZone = 'UTC'")
        lake.storage.register(self._duckdb)
        self._made: set[str] = set()
        self._whole: set[str] = set()  # tables without missing files
        self._said: set[str] = set()  # which missing facts are logged already
        self._history: history.History
        self._has_fleet = self._has_comments = self._has_missing_files = self._is_checked = False
        self._is_settled = False
        self.view: View
        self.refresh()

    @property
    def duckdb(self) -> DuckDBPyConnection:
        """The connection itself, with every view."""
        self._name_all()
        return self._duckdb

    def cursor(self) -> DuckDBPyConnection:
        """A separate session over the existing views; the caller closes it."""
        cursor = self._duckdb.cursor()
        cursor.execute("set TimeZone = 'UTC'")
        for statement in table_views.variables(self.view):  # settings of this session
            cursor.execute(statement)
        return cursor

    def _name(self, query: str) -> tuple[str, ...]:
        """Makes what a query names; returns the facts among it."""
        facts = history.mentioned(query)
        named = parsed(query).names
        if "missing_files" in named and not self._has_missing_files:
            files = self.lake.missing_files(self.view)
            self._duckdb.execute(missing_facts.files_table(files))
            self._has_missing_files = True
        if len(facts) == len(history.VIEWS):
            self._name_all()
        else:
            self._make(facts)
            if not self._has_fleet and damage.FLEET & named:
                self._make_fleet()
        return facts

    def _name_all(self) -> None:
        self._make(history.VIEWS, is_kept=False)
        if not self._has_fleet:
            self._make_fleet()
        if not self._has_comments:
            for statement in table_views.comments():
                self._duckdb.execute(statement)
            self._has_comments = True

    def _make_fleet(self) -> None:
        for statement in table_views.fleet(self.view):
            self._duckdb.execute(statement)
        self._has_fleet = True

    def _make(self, facts: Iterable[str], *, is_kept: bool = True) -> None:
        """Makes the views of facts on demand, so that a connection opens faster."""
        missing = [fact for fact in facts if fact not in self._made]
        if missing:
            self._settle()
            needed = {*history.closure(missing)}
            if not self._is_checked and "interrupted_nodes" in needed:
                self._history = self._history.checked(self._duckdb)
                self._is_checked = True
            for name in history.closure(missing):
                if name not in self._made:
                    for statement in self._history.view(name, is_kept=is_kept):
                        self._duckdb.execute(statement)
                    self._made.add(name)

    def _settle(self) -> None:
        if not self._is_settled:
            self._history = _history(self.view).settled(self._duckdb)
            self._is_settled = True

    def days_of(self, fact: str, since: date, through: date) -> DuckDBPyConnection:
        """A session in which the view of a fact has the rows of these days alone.

        Raises:
            LakeError: a file is missing that the fact is made from.
        """
        self._settle()
        cursor = self.cursor()
        of_days = self._history.within(cursor, since, through)
        damage.refuse([*self._missing(f"from {fact}"), *self._missing_around(of_days)])
        views = history.closure([fact])
        if "interrupted_nodes" in views:
            of_days = of_days.checked(cursor)
        for name in views:
            for statement in of_days.view(name, is_kept=True):
                cursor.execute(statement)
        return cursor

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; fetched answers stay valid."""
        self._duckdb.close()

    def lock_down(self) -> None:
        """Lets queries read the lake's files only: no other file, no network, no setting changed.

        DuckDB lets a query write where it may read. For untrusted queries the caller has to refuse all
        but SELECT, and put it in parentheses, where no statement that writes is allowed.
        """
        self._name_all()
        self._duckdb.execute(f"set allowed_directories = ['{quoted(self.lake.storage.url(''))}']")
        self._duckdb.execute("set enable_external_access = false")
        self._duckdb.execute("set lock_configuration = true")

    def refresh(self) -> None:
        """Reloads the lake: every view then has the snapshots committed since."""
        view = self.lake.view()
        self.view = view if self._since is None else view.since(self._since)
        self._made.clear()
        self._whole.clear()
        self._has_fleet = self._has_comments = self._has_missing_files = self._is_checked = False
        self._is_settled = False
        try:
            for statement in table_views.tables(self.view):
                self._duckdb.execute(statement)
        except duckdb.Error as error:  # DuckDB reads the first file of each table
            damage.refuse_first(self.lake, self.view, error)
            raise

    def use_prices(self, prices: str | Path | pa.Table) -> None:
        """Fills the table ``prices`` from a price file, or from its rows.

        Raises:
            prices.PriceError: the file cannot be used; the table is unchanged.
        """
        rows = prices if isinstance(prices, pa.Table) else price_files.read_prices(prices)
        columns = ", ".join(price_files.SCHEMA.names)
        self._duckdb.register("prices_given", rows)
        self._duckdb.execute("delete from prices")
        self._duckdb.execute(f"insert into prices select {columns} from prices_given")  # noqa: S608
        self._duckdb.unregister("prices_given")

    def sql(self, query: str, parameters: Mapping[str, object] | None = None) -> DuckDBPyRelation:
        """The answer to a query, lazily: ``.pl()``, ``.to_arrow_table()``, ``.fetchall()``.

        ``parameters`` are bound by name (``$pool``).
        """
        self._name(query)
        if self.view.missing_facts:
            since = (parameters or {}).get("from")
            missing_facts.warn(self.view.missing_facts, history.read_by(query), since, self._said)
        return self._duckdb.sql(query, params=parameters or None)

    def table(
        self,
        query: str,
        parameters: Mapping[str, object] | None = None,
        *,
        may_lack: bool = False,
    ) -> pa.Table:
        """The answer to a query as an Arrow table; empty for a statement without an answer.

        Where a compaction rebuilt a day's history meanwhile, the lake is reloaded
        and the query asked again, once. ``may_lack``: a missing file reads as no rows.

        Raises:
            Outdated: files it needs are gone, or history keeps changing.
            LakeError: a file is missing that the query needs.
        """
        try:
            return self._table(query, parameters, may_lack)
        except _HistoryChanged:
            if not parsed(query).is_repeatable:
                raise
        self.refresh()
        return self._table(query, parameters, may_lack)

    def refuse_missing(self, query: str) -> None:
        """Raises LakeError where a query reads a file that is named, and missing.

        It reads the tables that it names, the facts, and the tables that a fact's days are answered
        from.
        """
        missing = self._missing(query)
        if self._name(query):
            missing += self._missing_around(self._history)
        damage.refuse(missing)

    def _missing(self, query: str) -> list[str]:
        named = damage.names_read(query, history.read_by(query))
        missing = [*self.lake.missing(self.view, named - self._whole)]
        self._whole |= named if not missing else set()
        return missing

    def _missing_around(self, made: history.History) -> list[str]:
        """Missing files of the days from whose rows facts are made."""
        found = self.lake.missing(self.view, {*FACTS_FROM} - self._whole) if made.days_read else ()
        return [file for file in found if any(f"date={day}/" in file for day in made.days_read)]

    def _table(self, query: str, given: Mapping[str, object] | None, may_lack: bool) -> pa.Table:
        storage = self.lake.storage
        missed = storage.missed
        facts = history.read_by(query)
        try:
            if not may_lack:
                self.refuse_missing(query)
            relation = self.sql(query, given)
            answer = pa.table({}) if relation is None else relation.to_arrow_table()
        except (duckdb.Error, FileNotFoundError) as error:
            if self.lake.has_new_history(self.view, facts):
                raise _HistoryChanged from error
            # gone, or another version (of a rewritten import)
            if storage.missed == missed and not self.lake.has_lost(self.view):
                damage.refuse_damaged(self.lake, self.view, query, facts, error)
                raise
            raise Outdated from error
        # a replaced file is readable, but has other snapshots than this view
        if self.lake.has_new_history(self.view, facts):
            raise _HistoryChanged
        return answer

    def scan(
        self, name: str, *, since: date | None = None, through: date | None = None
    ) -> pl.LazyFrame:
        """The rows of a table, a fact or a view as a polars ``LazyFrame``; see ``frames.scan``.

        With ``since`` and ``through``, both included, only the files of those days are read. Collect
        it before ``refresh()`` and ``close()``.

        Raises:
            LakeError: there is no such table, fact or view; or a file is missing that the ledger has
                rows for.
        """
        from pipeline.query.frames import scan  # polars takes longer to import than most queries

        return scan(self, name, since=since, through=through)

    def ask(self, name: str, **parameters: object) -> pa.Table:
        """The answer to a named question as an Arrow table.

        Where it counts whole days and ``from`` or ``to`` cuts one, the log names the days that count.

        Raises:
            QuestionError: no such question or parameter.
        """
        asked = question(name)
        values = asked.bind(parameters)
        asked.warn_of_parts_of_days(values, self._duckdb)
        return self.table(asked.sql, values)


def statements(view: View) -> Iterator[str]:
    """The SQL that makes every view over these files: what ``init-sql`` prints."""
    yield from table_views.tables(view)
    yield from table_views.comments()
    yield from table_views.fleet(view)
    yield from _history(view).statements()


def _history(view: View) -> history.History:
    older = frozenset(fact for _, _, fact, why in view.missing_facts if why == "older version")
    return history.History(
        view.history, view.history_days, view.spans, standing=view.final_days, older=older
    )
