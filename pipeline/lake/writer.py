"""Writes a snapshot: data files first, the ledger file last; withdraws it if it is below the seal."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.lake.catalog import Catalog
from pipeline.lake.paths import landing_key, moment_of
from pipeline.lake.table_file import TableFile
from pipeline.lake.watermark import Refused, read_watermark
from pipeline.storage import Changed, Entry, Over, Storage

#: Columns that differ from row to row of a snapshot, besides times.
_ADDRESSES = {"node_id", "url", "affinity_id", "task_url"}


class SnapshotWriter:
    """Writes the files of one snapshot, table by table, and commits them together.

    Safe for use by several threads. As a context manager it discards what was not committed.

    Args:
        catalog: of the lake to write to.
        snapshot_id: of the snapshot; also decides the day its files lie under.
        account: label of the account, whose watermark decides whether the snapshot is taken.
    """

    def __init__(self, catalog: Catalog, snapshot_id: str, account: str) -> None:
        self.catalog = catalog
        self.storage: Storage = catalog.storage
        self.snapshot_id = snapshot_id
        self.account = account
        self.rows = {table.name: 0 for table in schema.DATA_TABLES}
        self._earliest = moment_of(snapshot_id)
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
                    return  # a second Ctrl-C does not wait for writing threads
                if name not in self._files:
                    self._files[name] = self._begin(name)
                self.rows[name] += rows.num_rows
                file = self._files[name]
                if name == "pools":
                    self._earliest = _earlier(self._earliest, rows["listing_finished_at"])
            file.write(rows)  # one thread gathers rows while another compresses some

    def _begin(self, name: str) -> TableFile:
        key, table = landing_key(name, self.snapshot_id), schema.TABLES[name]
        times = (column.name for column in table.from_json if column.type == schema.TIME)
        distinct = (*times, *_ADDRESSES.intersection(table.schema.names))
        over: Over = "nothing" if name == "snapshots" else "anything"
        return TableFile(self.storage, key, table.schema, over, distinct=distinct)

    def commit(self, ledger: pa.Table) -> None:
        """Makes the snapshot visible: data first, the ledger row last.

        Raises:
            LakeError: the disk refused; the snapshot is invisible, unless only the last sync failed.
            Refused: the account's record is sealed at that time.
            Changed: another run deleted a data file meanwhile.
        """
        with self._lock:
            self._earliest = _earlier(self._earliest, ledger["pool_listing_finished_at"])
            self._refuse_sealed()  # nothing is there yet
            files = [*self._files.values()]
            with ThreadPoolExecutor(len(files) or 1) as finishing:  # each waits for the disk
                entries = list(finishing.map(TableFile.finish, files))
            self._files["snapshots"] = self._begin("snapshots")
            self._files["snapshots"].write(ledger)
            try:
                entry = self._files["snapshots"].finish()
            except Changed:  # two imports of the same files: the other one has committed it
                self._is_over = True
                self._refuse_sealed()
                return
            self._is_over = True
            try:  # an expiry that missed the ledger file had raised its seal before
                self._refuse_sealed()
                for each in entries:
                    if self.storage.find(each.key) is None:
                        url = self.storage.url(each.key)
                        raise Changed(f"{url}: deleted by another run: run the command again")
            except (Refused, Changed):
                self._withdraw(entry, entries)
                if not self.catalog.is_committed(self.snapshot_id):
                    raise

    def _refuse_sealed(self) -> None:
        watermark, _ = read_watermark(self.storage, self.account)
        if watermark.seals(self._earliest):
            raise Refused(
                f"{self.snapshot_id} of {self.account}: the record is sealed up to "
                f"{watermark.sealed_until:%FT%TZ}, because older rows have expired: nothing may be added"
            )

    def _withdraw(self, ledger: Entry, data: list[Entry]) -> None:
        """Deletes a snapshot, its ledger file first."""
        for entry in (ledger, *data):
            self.storage.delete(entry)

    def discard(self) -> None:
        """Removes staging files, when a snapshot ends without its data.

        Finished files are left to the sweeper: another import of the same files may have committed them.
        """
        with self._lock:
            self._is_discarded = True
            for file in self._files.values():
                file.discard()
            self._files.clear()
            self.rows = dict.fromkeys(self.rows, 0)


def _earlier(moment: datetime, times: pa.ChunkedArray) -> datetime:
    return min(moment, pc.min(times).as_py() or moment)
