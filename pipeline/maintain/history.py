"""Which days' history is made anew, and how it is put: only ever current, or not used.

A day's facts are made from the snapshots of its window, by the facts that this version knows; the
day's file of ``history/days`` names both, and is deleted first and written last.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from datetime import date, timedelta
from typing import TYPE_CHECKING, Protocol

import duckdb
import pyarrow as pa

from pipeline.lake import FACTS_FROM, Lake, date_of, history_key
from pipeline.lake.committed import Held, MadeFrom, days_file, made_from, sum_of
from pipeline.lake.day_file import ROWS_PER_GROUP
from pipeline.lake.expiry import note_leaning
from pipeline.lake.table_file import TableFile
from pipeline.lake.view import View, rowless_of
from pipeline.schema import facts
from pipeline.storage import Entry, LakeError, Lock

if TYPE_CHECKING:
    from pipeline.query import Connection
    from pipeline.schema.facts import AccountDay

log = logging.getLogger("nodelake.compact")

#: What DuckDB may take while it makes history; more goes to temporary files.
MEMORY = "2GB"
#: Of a day that must not be made anew: from the rows that are left it would tell less.
LOST = (
    "its file of history/days is missing, and rows it was made with have expired: bring it back from "
    "a backup"
)


class History(Protocol):
    """Makes facts from days: ``pipeline.history``."""

    @property
    def FACTS(self) -> Collection[str]:
        """The facts' names."""

    def build_day(
        self, connection: Connection, account: str, day: date
    ) -> Iterable[tuple[str, pa.RecordBatchReader | pa.Table]]:
        """The facts of one account-day, by name."""

    def windows(self, connection: Connection, account: str) -> Mapping[date, Collection[str]]:
        """For each day of an account's record, the snapshots its facts are made from."""


class Remake:
    """The history of one account, its compaction lock held.

    ``made`` counts the days that were made; ``waits`` says why history waits, if it does.
    """

    def __init__(self, lake: Lake, account: str, lock: Lock, history: History) -> None:
        self.lake = lake
        self.storage = lake.storage
        self.account = account
        self.lock = lock
        self.history = history
        self.made = 0
        self.waits: list[str] = []
        self._over: set[AccountDay] = set()  # days that history alone tells of, marked or not

    def forget(self) -> None:
        """Before a day or a late file commits: history that is not made from it may not stand.

        Were it deleted after the commit, a compaction killed in between would leave the facts of the
        neighbouring days stale for ever: their own snapshots have not changed.
        """
        wanted: Mapping[date, Collection[str]] = {}
        self._over = self.lake.marks()
        try:
            with self._connect() as connection:
                wanted = self._wanted(connection)
        except (duckdb.Error, LakeError) as error:
            # A damaged file hides which days its snapshot touches: then none is current.
            self._wait(str(error))
        places = [p for p in self.lake.places("history/days") if p.stem == self.account]
        made = {(p.stem, p.day): made_from(self.storage, p.key, p.day) for p in places}
        self._over |= rowless_of(self.lake, made)
        for place in places:
            by = made[place.stem, place.day]
            if not self._is_current(place.day, wanted.get(place.day, ()), by):
                self.storage.delete(place.key)

    def make(self, is_closed: Callable[[date], bool], tries: int = 3) -> None:
        """Makes the facts of every closed day whose history is not made from what is there now.

        A day within a gap of the record has history too, and no snapshot of its own. ``tries``: how
        often it is begun, where files are replaced meanwhile.
        """
        missed = self.storage.missed
        try:
            opened = self._connect()
        except LakeError as error:  # a damaged ledger file: whose days it touches nobody knows
            self._wait(str(error))
            return
        try:
            with opened as connection:
                view = connection.view
                marks = self.lake.marks()
                self._over = marks | {
                    (who, day) for who, day, _, why in view.untold if why == "unmarked"
                }
                self._note_leaning(view, marks)
                lost = {
                    day
                    for who, day, _, why in view.untold
                    if who == self.account and why == "rows missing"
                }
                for day, ids in sorted(self._wanted(connection).items()):
                    if is_closed(day) and not self._is_made(view, day, ids):
                        if day in lost:
                            self._wait(f"{day}: {LOST}")
                            continue
                        if gone := self._missing(view, day, ids):
                            self._wait(
                                f"{day}: {gone}: the file is missing, and the ledger has rows for it"
                            )
                            continue
                        self._build(connection, day, sorted(ids))
                        self.made += 1
        except duckdb.Error as error:
            # an import that was written anew is the same rows under another version
            if self.storage.missed > missed and tries > 1:
                self.make(is_closed, tries - 1)
            else:
                self._wait(str(error))

    def _note_leaning(self, view: View, marks: Collection[AccountDay]) -> None:
        """An older nodelake did not, of a day whose rows it expired."""
        for account, day in view.standing:
            made = self.lake.made_from(day, account) if account == self.account else None
            if made:
                on = {each for each in made.days if (account, each) in marks}
                note_leaning(self.storage, account, day, on)

    def _missing(self, view: View, day: date, ids: Collection[str]) -> str | None:
        """A file without which a day's facts would tell less than those that are there."""
        days = {day, *map(date_of, ids)}
        days |= {each + timedelta(step) for each in (min(days), max(days)) for step in (-1, 1)}
        names = [f"date={each}/{self.account}{end}" for each in days for end in (".", "-late-")]
        for table in FACTS_FROM:
            for url in view.lacking.get(table, ()):
                if any(name in url for name in names):
                    return url
            for snapshot_id in {*ids}.intersection(view.without_rows.get(table, ())):
                key = self.lake.key(table, snapshot_id)
                rows = self.lake.ledger_row(snapshot_id).rows.get(table)
                if rows and not self.storage.find(key):
                    return self.storage.url(key)
        return None

    def _wait(self, why: str) -> None:
        log.error("no history of %s: %s", self.account, why)
        self.waits.append(why)

    def _is_current(self, day: date, ids: Collection[str], made: MadeFrom | None) -> bool:
        """Whether a day's history is made from just these, or has to stand: rows have expired."""
        if (self.account, day) in self._over:
            return True
        if made is None:
            return False
        if made.leans_on(self._over, self.account):
            return True
        return made.sum == sum_of({*ids}) and made.facts == facts.versions()

    def _wanted(self, connection: Connection) -> dict[date, set[str]]:
        """For each day that has not expired, the snapshots its history has to be made from."""
        own = {
            day: ids for (who, day), ids in connection.view.compacted.items() if who == self.account
        }
        around = self.history.windows(connection, self.account)
        days = {*around, *own} - {day for who, day in self._over if who == self.account}
        return {day: {*around.get(day, ()), *own.get(day, ())} for day in days}

    def _is_made(self, view: View, day: date, ids: set[str]) -> bool:
        """Whether a day's history needs no making: it is current, or its rows are still in landing."""
        own = f"{day:%Y%m%d}"
        if (self.account, day) not in view.closed and any(i.startswith(own) for i in ids):
            return True
        if (self.account, day) not in view.history_days:
            return False
        return self._is_current(day, ids, self.lake.made_from(day, self.account))

    def _build(self, connection: Connection, day: date, ids: list[str]) -> None:
        days_key = history_key("days", day, self.account)
        self.storage.delete(days_key)
        made = {}
        for fact, rows in self.history.build_day(connection, self.account, day):
            made[fact] = self._put(history_key(fact, day, self.account), rows).size
        for fact in set(self.history.FACTS) - made.keys():
            self.storage.delete(history_key(fact, day, self.account))
        places = connection.view.closed.get((self.account, day), ())
        held: dict[str, tuple[str, Held]] = {p.stem: (p.etag, self.lake.held(p)) for p in places}
        self._put(days_key, days_file((self.account, day), ids, made, held))

    def _put(self, key: str, rows: pa.RecordBatchReader | pa.Table) -> Entry:
        there = self.storage.find(key)
        file = TableFile(self.storage, key, rows.schema, there or "nothing", ROWS_PER_GROUP)
        try:
            batches = rows.to_batches() if isinstance(rows, pa.Table) else rows
            for batch in batches:
                if batch.num_rows:
                    file.write(pa.Table.from_batches([batch]))
            self.lock.check()
            return file.finish()
        finally:
            file.discard()

    def _connect(self) -> closing[Connection]:
        from pipeline import query

        connection = query.connect(self.lake)
        # DuckDB would take four fifths of the machine, and spill into the working directory.
        connection.sql(f"set memory_limit = '{MEMORY}'")
        spill = f"{tempfile.gettempdir()}/nodelake-spill-{os.getpid()}"
        connection.sql(f"set temp_directory = '{spill}'")
        return closing(connection)
