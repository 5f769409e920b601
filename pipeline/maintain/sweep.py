"""What leaves a lake by itself: landing files that are compacted, expired rows, and orphans."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta

from pipeline import schema
from pipeline.lake import Lake, LakeFile
from pipeline.lake.manifest import final_until
from pipeline.lake.paths import list_files
from pipeline.lake.watermark import read_watermark
from pipeline.storage import Entry, LakeError, Lock, Locked

#: What nobody has committed by then was left by somebody who died.
ORPHANED_AFTER = timedelta(days=1)
_DATA = [table.name for table in schema.DATA_TABLES]


def sweep_account(
    lake: Lake, account: str, lock: Lock, now: datetime, grace: timedelta
) -> tuple[int, int]:
    """Deletes the landing files of what is compacted past the grace, expired rows, and orphans.

    Args:
        lake: the lake.
        account: whose.
        lock: its compaction lock.
        now: the store's time, as files' modification times are.
        grace: how long readers may still use a landing file.

    Returns:
        Snapshots swept from landing, and files deleted that nobody had committed.
    """
    catalog = lake.catalog
    landed = lake.landed("snapshots")
    closed = {day: files for (who, day), files in catalog.closed().items() if who == account}
    days = {file.day for file in landed.values()}
    days |= {file.day for table in _DATA for file in lake.landed(table).values()}
    replaced: set[str] = set()
    for day, files in closed.items():
        for file in files if day in days else ():
            ledger = catalog.ledger(file)
            keys = [file.beside(table) for table in ledger.data]
            data = {entry.key: entry for entry in lake.storage.entries("compacted", keys)}
            if file.entry.modified + grace <= now and not catalog.torn(file, ledger, data):
                replaced.update(catalog.ids(file))
    # The ledger file first: without it the data files are nobody's, and the next sweep's.
    for table in ("snapshots", *_DATA):
        there = lake.landed(table)
        _delete(lake, lock, [there[id_].entry for id_ in sorted(there.keys() & replaced)])
    through = read_watermark(lake.storage, account)[0].expired_through
    orphans = delete_expired(lake, account, lock, through)
    manifests = catalog.manifests.load()
    final = final_until(manifests.values()).get(account)
    old: list[Entry] = []
    for id_, file in landed.items():
        # refused, and its writer died before it could withdraw it
        row = None
        with contextlib.suppress(LakeError):  # damaged: whose it is nobody knows
            row = catalog.landed_row(id_) if through > date.min else None
        if (row and row.account == account) and (
            file.day <= through or (final and row.earliest(id_) <= final)
        ):
            old.append(file.entry)
    keep = {(day, file.stem) for day, files in closed.items() for file in files}
    # where a ledger file was lost, its rows wait for a backup of it
    keep |= {(day, s) for (who, day), m in manifests.items() if who == account for s in m[0].own}
    for table in _DATA:
        found = list_files(lake.storage, f"compacted/{table}")
        old += [f.entry for f in found if f.account == account and (f.day, f.stem) not in keep]
    return len(landed.keys() & replaced), orphans + _delete_old(lake, lock, old, now)


def sweep_orphans(lake: Lake, file_clock: Callable[[], datetime] | None = None) -> int:
    """Deletes landing data without a ledger file, and staging files, a day after they were written."""
    with contextlib.suppress(Locked), lake.storage.lock("orphans.lock") as lock:
        data = [file for table in _DATA for file in lake.landed(table).values()]
        committed = lake.landed("snapshots").keys()  # listed after the data: a commit is seen
        orphans = [file.entry for file in data if file.stem not in committed]
        orphans += lake.storage.leftovers()
        return _delete_old(lake, lock, orphans, file_clock() if file_clock else lock.now())
    return 0  # another run is at it


def delete_expired(lake: Lake, account: str, lock: Lock, through: date) -> int:
    """Deletes the compacted files of days up to the watermark: the ledger's first, then the data."""
    deleted = 0
    for table in ("snapshots", *_DATA):
        files: Iterable[LakeFile] = list_files(lake.storage, f"compacted/{table}")
        gone = [f.entry for f in files if f.account == account and f.day <= through]
        deleted += _delete(lake, lock, gone, durable=table == "snapshots")
    return deleted


def _delete_old(lake: Lake, lock: Lock, orphans: Iterable[Entry], now: datetime) -> int:
    return _delete(lake, lock, [e for e in orphans if e.modified + ORPHANED_AFTER <= now])


def _delete(lake: Lake, lock: Lock, entries: Iterable[Entry], *, durable: bool = False) -> int:
    """Deletes just these versions; how many were still there."""

    def delete(entry: Entry) -> bool:
        lock.check()
        return lake.storage.delete(entry, durable=durable)

    return sum(lake.storage.many(delete, entries))
