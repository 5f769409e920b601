"""Sweeping: deletes compacted landing files, expired rows, and orphans."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta

from pipeline import schema
from pipeline.lake import Lake, LakeFile
from pipeline.lake.paths import list_files
from pipeline.lake.watermark import Watermark
from pipeline.maintain.clocks import ORPHANED_AFTER
from pipeline.maintain.report import Compacted
from pipeline.storage import Entry, Lock, Locked

_DATA = [table.name for table in schema.DATA_TABLES]


def sweep_account(
    lake: Lake, account: str, lock: Lock, now: datetime, grace: timedelta, report: Compacted
) -> None:
    """Deletes landing files that were compacted before the grace period, expired rows, and orphans.

    Args:
        lake: the lake.
        account: whose.
        lock: its compaction lock.
        now: the store's time, as files' modification times are.
        grace: how long readers may still use a landing file.
        report: counts snapshots swept from landing, and uncommitted files deleted.
    """
    view = lake.view()
    landed = {table: lake.landed(table) for table in ("snapshots", *_DATA)}
    days = {file.day for files in landed.values() for file in files.values()}
    own = {whose: files for whose, files in view.closed.items() if whose[0] == account}
    replaced = {
        id_
        for (_, day), files in own.items()
        for file in (files if day in days else ())
        if file.entry.modified + grace <= now and file.key not in view.broken
        for id_ in lake.compacted_ids(file)
    }
    # The ledger file first: without it the data files are uncommitted, and the next sweep deletes them.
    for files in landed.values():
        _delete(lake, lock, [files[id_].entry for id_ in sorted(files.keys() & replaced)])
    through = view.watermarks.get(account, Watermark()).expired_through
    report.swept += len(landed["snapshots"].keys() & replaced)
    report.orphans += delete_expired(lake, account, lock, through)
    old: list[Entry] = []
    for id_ in view.refused & landed["snapshots"].keys():
        row = lake.catalog.landed_row(id_)
        if row and row.account == account:  # its writer was killed before it could withdraw it
            old.append(landed["snapshots"][id_].entry)
    keep = {(day, file.stem) for (_, day), files in own.items() for file in files}
    # rows of a lost ledger file are kept for its restore
    keep |= {
        (day, s) for (who, day), m in view.manifests.items() if who == account for s in m[0].own
    }
    for table in _DATA:
        found = list_files(lake.storage, f"compacted/{table}")
        old += [f.entry for f in found if f.account == account and (f.day, f.stem) not in keep]
    report.orphans += _delete_old(lake, lock, old, now)


def sweep_orphans(lake: Lake, file_clock: Callable[[], datetime] | None = None) -> int:
    """Deletes landing data without a ledger file, and staging files, a day after they were written."""
    with contextlib.suppress(Locked), lake.storage.lock("orphans.lock") as lock:
        data = [file for table in _DATA for file in lake.landed(table).values()]
        # listed after the data, so that no commit is missed
        committed = lake.landed("snapshots").keys()
        orphans = [file.entry for file in data if file.stem not in committed]
        orphans += lake.storage.leftovers()
        return _delete_old(lake, lock, orphans, file_clock() if file_clock else lock.now())
    return 0  # another run is writing it


def delete_expired(lake: Lake, account: str, lock: Lock, through: date) -> int:
    """Deletes compacted files up to the watermark: the ledger's first, then the data."""
    deleted = 0
    for table in ("snapshots", *_DATA):
        files: Iterable[LakeFile] = list_files(lake.storage, f"compacted/{table}")
        gone = [f.entry for f in files if f.account == account and f.day <= through]
        deleted += _delete(lake, lock, gone, durable=table == "snapshots")
    return deleted


def _delete_old(lake: Lake, lock: Lock, orphans: Iterable[Entry], now: datetime) -> int:
    return _delete(lake, lock, [e for e in orphans if e.modified + ORPHANED_AFTER <= now])


def _delete(lake: Lake, lock: Lock, entries: Iterable[Entry], *, durable: bool = False) -> int:
    """Deletes files in exactly these versions; returns how many existed."""

    def delete(entry: Entry) -> bool:
        lock.check()
        return lake.storage.delete(entry, durable=durable)

    return sum(lake.storage.many(delete, entries))
