"""Where the files of a lake lie, and how a snapshot becomes visible whole or not at all.

A snapshot is committed by the name of its ledger file in ``landing/snapshots``, created last: data
files are written aside, synced, named, their directories synced, and only then the ledger file. What
has no ledger file does not exist for a reader.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import schema

#: Rows a table gathers before they are written as one row group: large enough to compress well,
#: small enough that a snapshot's memory does not grow with its fleet.
ROWS_PER_GROUP = 16_384

_SNAPSHOT_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_STAGING = ".staging"


class LakeError(Exception):
    """The lake cannot be read or written; the message names the file and says what to do."""


class Locked(LakeError):
    """Another run holds the lock; ``holder`` is what it wrote about itself."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(f"another run holds the lock {name!r}" + (f": {holder}" if holder else ""))
        self.holder = holder


class Refused(LakeError):
    """The lake must not take this snapshot: its day has expired."""


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
class View:
    """The lake as it stood at one moment: the files of every table that committed snapshots have.

    ``snapshot_ids`` are sorted; ``files`` are absolute paths by table, sorted, none of a snapshot
    that is not committed.
    """

    snapshot_ids: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]


class Lake:
    """A lake on the local disk.

    Args:
        uri: a directory, made on the first write. ``az://`` and ``abfss://`` are not read yet.

    Raises:
        LakeError: the URI has a scheme this version does not know.
    """

    def __init__(self, uri: str | Path) -> None:
        text = str(uri).removeprefix("file://")
        if "://" in text:
            scheme = text.split("://", 1)[0]
            raise LakeError(f"a lake at {scheme}:// cannot be opened: only local directories can")
        self.root = Path(text).absolute()

    def __str__(self) -> str:
        return str(self.root)

    @contextlib.contextmanager
    def lock(self, kind: str, account: str) -> Iterator[None]:
        """Holds the lock of one kind of work on one account; the kernel frees it when we die.

        Raises:
            Locked: another process holds it.
        """
        folder = self.root / "locks"
        make_directories(folder)
        path = folder / f"{kind}-{account}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise LakeError(f"{path}: cannot be locked: {error.strerror}") from error
                holder = os.read(handle, 200).decode(errors="replace").strip()
                raise Locked(path.name, holder) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"pid {os.getpid()} since {datetime.now(UTC):%FT%TZ}\n".encode(), 0)
            yield
        finally:
            os.close(handle)

    def path(self, table: str, snapshot_id: str) -> Path:
        """Where a snapshot's file of one table lies in the landing zone."""
        day = f"date={date_of(snapshot_id).isoformat()}"
        return self.root / "landing" / table / day / f"{snapshot_id}.parquet"

    def is_committed(self, snapshot_id: str) -> bool:
        """Whether the snapshot exists for readers."""
        return self.path("snapshots", snapshot_id).exists()

    def is_expired(self, day: date, account: str) -> bool:
        """Whether that day of that account has been given up, so that nothing may land in it."""
        return (self.root / "expired" / f"date={day.isoformat()}" / account).exists()

    def writer(self, snapshot_id: str, account: str) -> SnapshotWriter:
        """Begins a snapshot; nothing of it is visible before its commit."""
        return SnapshotWriter(self, snapshot_id, account)

    def view(self) -> View:
        """The committed snapshots and their files, the ledger listed first.

        A snapshot that commits while this runs is in it whole or not at all: its data files were
        named before its ledger file was.
        """
        ledger = self._list("snapshots")
        files = {"snapshots": tuple(ledger[key] for key in sorted(ledger))}
        for table in schema.DATA_TABLES:
            found = self._list(table.name)
            files[table.name] = tuple(found[key] for key in sorted(found) if key in ledger)
        return View(tuple(sorted(ledger)), files)

    def _list(self, table: str) -> dict[str, str]:
        """Every finished file of one table in the landing zone, by snapshot id."""
        found: dict[str, str] = {}
        try:
            days = list(os.scandir(self.root / "landing" / table))
        except FileNotFoundError:
            return found
        for day in days:
            if not day.name.startswith("date="):
                continue
            for entry in os.scandir(day.path):
                stem = entry.name.removesuffix(".parquet")
                if entry.name.endswith(".parquet") and is_snapshot_id(stem):
                    found[stem] = entry.path
        return found


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
        self._files: dict[str, _TableFile] = {}
        self._lock = threading.Lock()
        self._is_over = False

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
        with self._lock:
            for name, rows in tables.items():
                if rows.num_rows == 0:
                    continue
                with _disk_errors(self.lake.path(name, self.snapshot_id)):
                    if name not in self._files:
                        path = self.lake.path(name, self.snapshot_id)
                        self._files[name] = _TableFile(path, schema.TABLES[name].schema)
                    self._files[name].write(rows)
                self.rows[name] += rows.num_rows

    def commit(self, ledger: pa.Table) -> None:
        """Makes the snapshot visible: its data first, its ledger row last.

        Raises:
            LakeError: the disk refused; the snapshot is not visible, unless only the very last
                sync failed.
            Refused: its day has expired.
        """
        with self._lock:
            self._refuse_expired()
            path = self.lake.path("snapshots", self.snapshot_id)
            with _disk_errors(path):
                for name in [*self._files]:
                    with _disk_errors(self.lake.path(name, self.snapshot_id)):
                        self._files[name].finish()
                self._refuse_expired()
                file = _TableFile(path, schema.SNAPSHOTS.schema)
                self._files["snapshots"] = file
                file.write(ledger)
                file.finish()
            self._is_over = True

    def discard(self) -> None:
        """Removes what was written aside; used when a snapshot ends without its data.

        A file that has its name already is left to the sweeper: of two imports of the same files
        the other one may have committed it.
        """
        with self._lock:
            for file in self._files.values():
                file.discard()
            self._files.clear()
            self.rows = dict.fromkeys(self.rows, 0)

    def _refuse_expired(self) -> None:
        day = date_of(self.snapshot_id)
        if self.lake.is_expired(day, self.account):
            raise Refused(f"{day} of {self.account} has expired: nothing may be added to it")


class _TableFile:
    """One Parquet file, written aside and renamed when it is whole and on the disk."""

    def __init__(self, path: Path, columns: pa.Schema) -> None:
        self.path = path
        self.staging = path.with_name(f".{path.name}.{os.getpid()}{_STAGING}")
        self.columns = columns
        self._rows: list[pa.Table] = []
        make_directories(path.parent)
        handle = os.open(self.staging, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self._sink = os.fdopen(handle, "wb", buffering=1 << 20)
        # zstd 1 is as small as zstd 3 on such files and a third cheaper (measured).
        self._writer = pq.ParquetWriter(
            self._sink, columns, compression="zstd", compression_level=1
        )

    def write(self, rows: pa.Table) -> None:
        self._rows.append(rows)
        if sum(rows.num_rows for rows in self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            rows = pa.concat_tables(self._rows).combine_chunks()
            self._rows = []
            self._writer.write_table(rows, row_group_size=len(rows))

    def finish(self) -> None:
        """The last rows, then sync, rename, and sync of the directory, in this order."""
        self._flush()
        self._writer.close()
        self._sink.flush()
        os.fsync(self._sink.fileno())
        self._sink.close()
        self.staging.replace(self.path)
        sync_directory(self.path.parent)

    def discard(self) -> None:
        with contextlib.suppress(Exception):  # closing may fail as the writing did: disk full
            self._writer.close()
        with contextlib.suppress(OSError):
            self._sink.close()
        with contextlib.suppress(OSError):
            self.staging.unlink()


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turns what the disk says into an error that names the file and what to do."""
    try:
        yield
    except OSError as error:
        advice = {
            errno.ENOSPC: "the disk is full: make room, the next run starts afresh",
            errno.EDQUOT: "the disk quota is used up: make room, the next run starts afresh",
            errno.EROFS: "the file system is read-only: choose another --lake",
            errno.EACCES: "permission denied: run as the lake's owner, or choose another --lake",
            errno.EEXIST: "a file stands where a directory is needed: choose another --lake",
            errno.ENOTDIR: "a file stands where a directory is needed: choose another --lake",
        }.get(error.errno or 0, error.strerror or str(error))
        raise LakeError(f"{path}: {advice}") from error


def make_directories(path: Path) -> None:
    """Makes a directory and its parents, 0700, each new one synced into its parent.

    Raises:
        LakeError: the disk refused.
    """
    with _disk_errors(path):
        missing = []
        at = path
        while not at.is_dir():
            missing.append(at)
            at = at.parent
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
            sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Writes a directory's entries to the disk, so that a new name survives a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
