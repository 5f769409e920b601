"""One lake: the façade over its storage, its catalog and its writers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from pipeline.lake.catalog import Catalog
from pipeline.lake.ledger import LedgerRow
from pipeline.lake.paths import (
    LakeFile,
    day_of,
    landing_key,
    list_files,
    list_landing,
    manifest_key,
    refuse_old_layout,
)
from pipeline.lake.table_file import verify
from pipeline.lake.view import View
from pipeline.lake.watermark import read_watermark
from pipeline.lake.writer import SnapshotWriter
from pipeline.storage import LakeError, Lock, Missing, Storage, open_storage


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
        self.catalog = Catalog(self.storage)

    def __str__(self) -> str:
        return str(self.storage)

    @property
    def root(self) -> Path:
        """The directory of a lake on disk. Raises LakeError for a lake on Blob."""
        return self.storage.root

    def lock(self, kind: str, account: str) -> AbstractContextManager[Lock]:
        """Holds the lock of one kind of work on one account; freed when the process dies.

        Raises:
            Locked: another process holds it.
        """
        return self.storage.lock(f"{kind}-{account}.lock")

    def key(self, table: str, snapshot_id: str) -> str:
        """The key of a snapshot's file of one table in the landing zone."""
        return landing_key(table, snapshot_id)

    def path(self, table: str, snapshot_id: str) -> Path:
        """The path of that file on disk."""
        return self.root / landing_key(table, snapshot_id)

    def is_committed(self, snapshot_id: str) -> bool:
        """Whether the snapshot exists for readers, in landing or compacted."""
        return self.catalog.is_committed(snapshot_id)

    def is_sealed(self, account: str, moment: datetime) -> bool:
        """Whether the record is sealed at that time, because older rows have expired."""
        return read_watermark(self.storage, account)[0].seals(moment)

    def writer(self, snapshot_id: str, account: str) -> SnapshotWriter:
        """Begins a snapshot, which is invisible before its commit."""
        refuse_old_layout(self.storage)
        return SnapshotWriter(self.catalog, snapshot_id, account)

    def view(self) -> View:
        """The committed snapshots and their files, each snapshot exactly once.

        Raises:
            OldLayout: an older nodelake wrote the lake.
            LakeError: a file is damaged, or its content does not match its name.
        """
        return self.catalog.load()

    def has_lost(self, view: View) -> bool:
        """Whether a file of a view is missing now: swept after the grace period, or expired."""
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
        """Whether a file of these facts was replaced or deleted since a view was loaded."""
        for fact in facts:
            files = view.history.get(fact)
            if files:
                keys = {file.removeprefix(self.storage.url("")) for file in files}
                found = self.storage.entries(f"history/{fact}", keys)
                there = {self.storage.url(entry.key): entry.etag for entry in found}
                if any(there.get(file) != view.versions.get(file) for file in files):
                    return True
        return False

    def landed(self, table: str) -> dict[str, LakeFile]:
        """Every finished file of one table in the landing zone, by snapshot id."""
        return list_landing(self.storage, table)

    def compacted_ids(self, file: LakeFile) -> tuple[str, ...]:
        """The snapshots of a committed compacted file, sorted."""
        return self.catalog.ids(file)

    def ledger_row(self, snapshot_id: str) -> LedgerRow:
        """The ledger row of a snapshot in landing.

        Raises:
            Missing: it is not in landing (any more).
            LakeError: the file is no ledger file of that snapshot.
        """
        row = self.catalog.landed_row(snapshot_id)
        if row is None:
            url = self.storage.url(landing_key("snapshots", snapshot_id))
            raise Missing(f"{url}: the file is missing")
        return row

    def missing_files(self, view: View) -> Iterator[str]:
        """Every missing file that a ledger file or a manifest names."""
        yield from self.missing(view, {*view.missing, *view.without_rows})

    def deep_damage(self) -> Iterator[LakeError]:
        """The damage of a whole lake, with every file read to its end.

        Raises:
            LakeError: the lake cannot be read at all; names the file.
        """
        view = self.view()
        try:
            for url in self.missing_files(view):
                yield LakeError(f"{url}: the file is missing: restore it from a backup")
        except LakeError as error:  # one unreadable ledger file: continue with the others
            yield error
        for day in sorted({day for _, day in view.closed}):
            for file in list_files(self.storage, f"compacted/snapshots/date={day.isoformat()}"):
                try:
                    self.catalog.ledger(file)
                except LakeError as error:
                    yield error
        manifests = {manifest_key(day, account) for account, day in view.manifests}
        for zone in ("landing", "compacted", "history"):
            files = [e.key for e in self.storage.list(zone) if e.key.endswith(".parquet")]
            yield from self.damage(self.storage.url(key) for key in files)
            if zone == "history":
                named = {
                    (day_of(key.rpartition("/")[0]), key.rpartition("/")[2][:-8]) for key in files
                }
                for day, account in sorted((d, a) for d, a in named if d):
                    if (key := manifest_key(day, account)) not in manifests:
                        url = self.storage.url(key)
                        yield LakeError(f"{url}: the file is missing: restore it from a backup")

    def damage(self, urls: Iterable[str]) -> Iterator[LakeError]:
        """The damage of each of these files that cannot be read to its end."""
        for url in urls:
            try:
                verify(self.storage, url.removeprefix(self.storage.url("")))
            except LakeError as error:
                yield error

    def missing(self, view: View, names: Iterable[str]) -> Iterator[str]:
        """Missing files of these tables and facts that a ledger file or a manifest names.

        Raises:
            LakeError: the ledger file of a waiting snapshot does not match its name.
        """
        names = {*names}
        if not names:
            return
        rows = [*self.storage.many(self.catalog.landed_row, view.waiting)]
        counts = dict(zip(view.waiting, rows, strict=True))
        for name in sorted(names):
            yield from view.missing.get(name, ())
            for snapshot_id in view.without_rows.get(name, ()):
                row, key = counts[snapshot_id], landing_key(name, snapshot_id)
                if row and row.rows.get(name) and not self.storage.find(key):
                    yield self.storage.url(key)
