"""Where the files of a lake lie, and how a snapshot becomes visible whole or not at all.

A snapshot is committed by the name of its ledger file in ``landing/snapshots``, created last: data
files are written aside, synced, named, their directories synced, and only then the ledger file. What
has no ledger file does not exist for a reader.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa

from pipeline import schema
from pipeline.lake import expiry
from pipeline.lake.committed import Committed, Held, MadeFrom, made_from
from pipeline.lake.expiry import Refused, mark_key
from pipeline.lake.table_file import TableFile, read
from pipeline.lake.view import ListingSpan as ListingSpan
from pipeline.lake.view import View, look, rowless_of
from pipeline.storage import Changed, Lock, Locked, Missing, Storage, open_storage
from pipeline.storage import LakeError as LakeError
from pipeline.storage.disk import make_directories as make_directories

__all__ = ["Changed", "Lake", "LakeError", "Locked", "Missing", "Refused", "SnapshotWriter", "View"]

#: The form of a snapshot's id.
ID = r"\d{8}T\d{6}Z-[0-9a-f]{8}"
_SNAPSHOT_ID = re.compile(ID)
#: What differs from row to row of one snapshot, beside the service's times.
_ADDRESSES = {"node_id", "url", "affinity_id", "task_url"}
#: The tables whose rows facts are made from, beside the ledger.
FACTS_FROM = ("pools", "nodes", "recent_tasks", "node_errors")
#: zone/table/date=…/file: what lies deeper is a stray, or the same file again behind a link.
_SLASHES = 3
_LATE = re.compile(rf"(.+)-late-({ID})")


def new_snapshot_id(at: datetime, digits: str | None = None) -> str:
    """``YYYYMMDDTHHMMSSZ-<8 hex>``: sorts by time; random digits unless given."""
    utc = at.astimezone(UTC)
    return f"{utc.year:04}{utc:%m%dT%H%M%SZ}-{digits or secrets.token_hex(4)}"


def is_snapshot_id(text: str) -> bool:
    """Whether it has the form of a snapshot's id."""
    return _SNAPSHOT_ID.fullmatch(text) is not None


def date_of(snapshot_id: str) -> date:
    """The UTC date a snapshot's files lie under."""
    return datetime.strptime(snapshot_id[:8], "%Y%m%d").replace(tzinfo=UTC).date()


@dataclass(frozen=True)
class Place:
    """Where a file lies: its zone's table or fact, its day, its name without ``.parquet``."""

    key: str
    day: date
    stem: str
    modified: datetime
    etag: str

    @property
    def account(self) -> str:
        """The account a compacted or history file is of."""
        late = _LATE.fullmatch(self.stem)
        return late[1] if late else self.stem


@dataclass(frozen=True)
class LedgerRow:
    """What the protocol needs of a landing ledger file: whose it is, and its rows by table."""

    account: str
    rows: Mapping[str, int | None]


class Lake:
    """A lake on a local disk or on Azure Blob.

    Args:
        uri: a directory, made on the first write; or ``az://container/prefix``, ``abfss://…``.
        storage: instead of the one the URI names.

    Raises:
        LakeError: the URI has a scheme this version does not know, or lacks settings.
    """

    def __init__(self, uri: str | Path, storage: Storage | None = None) -> None:
        self.storage = storage or open_storage(str(uri))
        self._committed = Committed(self.storage)
        self._ledger_rows: dict[str, LedgerRow] = {}

    def __str__(self) -> str:
        return str(self.storage)

    @property
    def root(self) -> Path:
        """The directory of a lake on disk. Raises LakeError where it is elsewhere."""
        return self.storage.root

    def lock(self, kind: str, account: str) -> AbstractContextManager[Lock]:
        """Holds the lock of one kind of work on one account; freed when the process dies.

        Raises:
            Locked: another process holds it.
        """
        return self.storage.lock(f"{kind}-{account}.lock")

    def key(self, table: str, snapshot_id: str) -> str:
        """Where a snapshot's file of one table lies in the landing zone, below the lake."""
        return f"landing/{table}/date={date_of(snapshot_id).isoformat()}/{snapshot_id}.parquet"

    def path(self, table: str, snapshot_id: str) -> Path:
        """The same on disk."""
        return self.root / self.key(table, snapshot_id)

    def is_committed(self, snapshot_id: str) -> bool:
        """Whether the snapshot exists for readers, in landing or compacted."""
        if self.storage.find(self.key("snapshots", snapshot_id)):
            return True
        folder = f"compacted/snapshots/date={date_of(snapshot_id).isoformat()}"
        return any(snapshot_id in self.compacted_ids(place) for place in self.places(folder))

    def is_expired(self, day: date, account: str) -> bool:
        """Whether that day of that account has been given up, so that nothing may land in it."""
        return self.storage.find(mark_key(day, account)) is not None

    def writer(self, snapshot_id: str, account: str) -> SnapshotWriter:
        """Begins a snapshot; nothing of it is visible before its commit."""
        return SnapshotWriter(self, snapshot_id, account)

    def view(self) -> View:
        """The committed snapshots and their files, each snapshot exactly once.

        A snapshot that commits, a day that closes or expires while this runs is in it whole or not
        at all.
        """
        return look(self)

    def has_lost(self, view: View) -> bool:
        """Whether a file of a view is no longer there: swept past the grace, or expired."""
        there = {
            self.storage.url(entry.key)
            for zone in ("landing", "compacted", "history")
            for entry in self.storage.list(zone)
        }
        named = (
            file for files in (view.files, view.history) for each in files.values() for file in each
        )
        return not there.issuperset(named)

    def has_new_history(self, view: View, facts: Iterable[str]) -> bool:
        """Whether a file of these facts was replaced or deleted since a view was taken."""
        for fact in facts:
            files = view.history.get(fact)
            if files:
                keys = {file.removeprefix(self.storage.url("")) for file in files}
                found = self.storage.entries(f"history/{fact}", keys)
                there = {self.storage.url(entry.key): entry.etag for entry in found}
                if any(there.get(file) != view.versions.get(file) for file in files):
                    return True
        return False

    def landed(self, table: str) -> dict[str, Place]:
        """Every finished file of one table in the landing zone, by snapshot id."""
        places = self.places(f"landing/{table}")
        return {place.stem: place for place in places if is_snapshot_id(place.stem)}

    def places(self, folder: str) -> Iterator[Place]:
        """The Parquet files of a folder's days; strays are passed over."""
        for entry in self.storage.list(folder):
            day, _, name = entry.key.rpartition("/")
            stem = name.removesuffix(".parquet")
            if stem == name or name.startswith(".") or entry.key.count("/") != _SLASHES:
                continue
            at = expiry.day_of(day)
            if at is None:
                continue
            yield Place(entry.key, at, stem, entry.modified, entry.etag)

    def marks(self) -> set[tuple[str, date]]:
        """The account-days that have expired."""
        return expiry.marks(self.storage)

    def lost(
        self, marks: Collection[tuple[str, date]], made: Collection[tuple[str, date]]
    ) -> Iterator[tuple[str, date]]:
        """The days whose history was made with rows that have expired, and is not there.

        Args:
            marks: the days that have expired.
            made: those that have a file of ``history/days``.
        """
        for account, day in sorted(expiry.leaning(self.storage) if marks else ()):
            if (account, day) not in made and (account, day) not in marks:
                on = expiry.leans_on(self.storage, account, day)
                if any((account, each) in marks for each in on):
                    yield account, day

    def is_told_by_history_alone(self, day: date, account: str) -> bool:
        """Whether a day has history and its rows are gone, though no expiry gave them up."""
        made = self.made_from(day, account)
        return bool(made and rowless_of(self, {(account, day): made}))

    def made_from(self, day: date, account: str) -> MadeFrom | None:
        """What a day's history was made from; None where it has none."""
        key = history_key("days", day, account)
        return made_from(self.storage, key, day) if self.storage.find(key) else None

    def compacted_ids(self, place: Place) -> tuple[str, ...]:
        """The snapshots of a committed compacted file, sorted."""
        return self._committed.ids(place)

    def held(self, place: Place) -> Held:
        """What a committed compacted file holds."""
        return self._committed.held(place)

    def missing(self, view: View, tables: Iterable[str]) -> Iterator[str]:
        """The files of these tables that the ledger has rows for and that are not there."""
        for table in sorted(tables):
            yield from view.lacking.get(table, ())
            waiting = view.without_rows.get(table, ())
            counts = self.storage.many(partial(self._landed_rows, table), waiting)
            for snapshot_id, rows in zip(waiting, counts, strict=True):
                if rows and not self.storage.find(self.key(table, snapshot_id)):
                    yield self.storage.url(self.key(table, snapshot_id))

    def _landed_rows(self, table: str, snapshot_id: str) -> int:
        try:
            return self.ledger_row(snapshot_id).rows.get(table) or 0
        except Missing:
            return 0  # swept since: a query will say so

    def ledger_row(self, snapshot_id: str) -> LedgerRow:
        """The ledger row of a snapshot in landing. It never changes: read once.

        Raises:
            Missing: it is not in landing (any more).
            LakeError: the file is no ledger file.
        """
        if snapshot_id not in self._ledger_rows:
            key = self.key("snapshots", snapshot_id)
            names = {table.name: f"{table.name}_rows" for table in schema.DATA_TABLES}
            rows = read(self.storage, key, ["account", *names.values()]).to_pylist()
            if len(rows) != 1 or not rows[0].get("account"):
                raise LakeError(f"{self.storage.url(key)}: not one ledger row with an account")
            counts = {table: rows[0].get(column) for table, column in names.items()}
            self._ledger_rows[snapshot_id] = LedgerRow(rows[0]["account"], counts)
        return self._ledger_rows[snapshot_id]


def compacted_key(table: str, day: date, stem: str) -> str:
    """Where a closed day's file of one table lies; ``stem`` is ``late_stem`` for a late one."""
    return f"compacted/{table}/date={day.isoformat()}/{stem}.parquet"


def late_stem(account: str, snapshot_id: str) -> str:
    """The name of the file of one snapshot that came after its day was closed."""
    return f"{account}-late-{snapshot_id}"


def history_key(fact: str, day: date, account: str) -> str:
    """Where the facts of a day lie; fact ``days`` tells which snapshots they were made from."""
    return f"history/{fact}/date={day.isoformat()}/{account}.parquet"


class SnapshotWriter:
    """Writes the files of one snapshot, table by table, and commits them together.

    Safe for use by several threads. As a context manager it discards what was not committed.

    Args:
        lake: the lake to write to.
        snapshot_id: of the snapshot; also decides the day its files lie under.
        account: label of the account, to refuse a day that has expired.
    """

    def __init__(self, lake: Lake, snapshot_id: str, account: str) -> None:
        self.lake = lake
        self.snapshot_id = snapshot_id
        self.account = account
        self.rows = {table.name: 0 for table in schema.DATA_TABLES}
        self._files: dict[str, TableFile] = {}
        self._lock = threading.Lock()
        self._is_over = False
        self._is_discarded = False

    def __enter__(self) -> SnapshotWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._is_over:
            self.discard()

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        """Adds rows to tables, by name.

        Raises:
            LakeError: the disk refused; nothing of the snapshot is visible.
        """
        for name, rows in tables.items():
            if rows.num_rows == 0:
                continue
            with self._lock:
                if self._is_discarded:
                    return  # a second Ctrl-C does not wait for who still writes
                if name not in self._files:
                    self._files[name] = self._begin(name)
                self.rows[name] += rows.num_rows
                file = self._files[name]
            file.write(rows)  # one thread gathers rows while another compresses some

    def _begin(self, name: str) -> TableFile:
        key, table = self.lake.key(name, self.snapshot_id), schema.TABLES[name]
        times = (column.name for column in table.from_json if column.type == schema.TIME)
        distinct = (*times, *_ADDRESSES.intersection(table.schema.names))
        return TableFile(self.lake.storage, key, table.schema, distinct=distinct)

    def commit(self, ledger: pa.Table) -> None:
        """Makes the snapshot visible: its data first, its ledger row last.

        Raises:
            LakeError: the disk refused; the snapshot is not visible, unless only the very last
                sync failed.
            Refused: its day has expired.
            Locked: an expiry has been deciding on its day for long.
        """
        with self._lock:
            day = date_of(self.snapshot_id)
            expiry.refuse(self.lake, self.account, day, is_there=False)
            files = [*self._files.values()]
            with ThreadPoolExecutor(len(files) or 1) as finishing:  # each waits for the disk
                list(finishing.map(TableFile.finish, files))
            self._files["snapshots"] = self._begin("snapshots")
            self._files["snapshots"].write(ledger)
            self._files["snapshots"].finish()
            self._is_over = True
            try:  # an expiry may have looked just before it was there
                expiry.refuse(self.lake, self.account, day, is_there=True)
            except Refused:
                self._withdraw()
                raise

    def discard(self) -> None:
        """Removes what was written aside; used when a snapshot ends without its data.

        A file that has its name already is left to the sweeper: of two imports of the same files
        the other one may have committed it.
        """
        with self._lock:
            self._is_discarded = True
            for file in self._files.values():
                file.discard()
            self._files.clear()
            self.rows = dict.fromkeys(self.rows, 0)

    def _withdraw(self) -> None:
        """Takes back a snapshot that an expiry did not see: its ledger file first."""
        for name in ("snapshots", *(each for each in self._files if each != "snapshots")):
            self.lake.storage.delete(self.lake.key(name, self.snapshot_id))
