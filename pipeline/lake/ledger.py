"""Reads ledger files, and checks that each matches its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline import schema
from pipeline.lake import paths
from pipeline.lake.manifest import LedgerFile
from pipeline.lake.paths import LakeFile
from pipeline.lake.table_file import read, read_metadata
from pipeline.storage import Storage

#: The footer key under which a committed ledger file names the bytes of its data files.
DATA = b"nodelake.data"
_COUNTS = {table.name: f"{table.name}_rows" for table in schema.DATA_TABLES}


@dataclass(frozen=True)
class LedgerRow:
    """The part of a landing ledger file that the protocol needs."""

    account: str
    rows: Mapping[str, int | None]
    """Row counts by table."""
    listed_at: datetime | None
    """When the account's pools were listed, by the service's clock."""

    def earliest(self, snapshot_id: str) -> datetime:
        """The earlier of the snapshot's time and its listing's, which the seal is compared with."""
        return min(paths.moment_of(snapshot_id), self.listed_at or datetime.max.replace(tzinfo=UTC))


def read_landing_ledger(storage: Storage, snapshot_id: str) -> LedgerRow:
    """The ledger row of a snapshot in landing.

    Raises:
        Missing: it is not in landing (any more).
        LakeError: the file is no ledger file of that snapshot.
    """
    key = paths.landing_key("snapshots", snapshot_id)
    columns = ["account", "snapshot_id", "pool_listing_finished_at", *_COUNTS.values()]
    rows = read(storage, key, columns).to_pylist()
    if len(rows) != 1 or not paths.is_label(rows[0].get("account") or ""):
        raise paths.damaged(storage, key, "not one ledger row of an account")
    (row,) = rows
    if row["snapshot_id"] != snapshot_id:
        what = f"by its name it is of {snapshot_id}, its row is of {row['snapshot_id']}"
        raise paths.misnamed(storage, key, what)
    counts = {table: row.get(column) for table, column in _COUNTS.items()}
    return LedgerRow(row["account"], counts, row.get("pool_listing_finished_at"))


def read_day_ledger(storage: Storage, file: LakeFile) -> tuple[LedgerFile, tuple[str, ...]]:
    """What a file of ``compacted/snapshots`` commits, and its snapshots, sorted.

    Raises:
        Missing: it is gone.
        LakeError: it cannot be read, or does not match its name.
    """
    rows = read(storage, file.key, ["snapshot_id", "account", *_COUNTS.values()])
    ids = tuple(sorted(rows["snapshot_id"].to_pylist()))
    accounts = " and ".join(sorted(map(str, set(rows["account"].to_pylist()))))
    days = {paths.date_of(id_) for id_ in ids}
    if accounts != file.account or days != {file.day} or file.late_id not in (None, *ids):
        what = f"by its name it is of account {file.account} and {file.late_id or file.day}"
        what += f", its rows are of {accounts}, {' to '.join(sorted({*ids[:1], *ids[-1:]}))}"
        raise paths.misnamed(storage, file.key, what)
    named = read_metadata(storage, file.key).get(DATA)
    there = {t: n for t, n in _COUNTS.items() if n in rows.column_names}
    data: dict[str, int | None] = (
        json.loads(named)
        if named
        else {t: None for t, n in there.items() if any(rows[n].to_pylist())}
    )
    return LedgerFile(file.entry.size, len(ids), data), ids
