"""Expiry: deletes the rows of old days, below a watermark that only rises, later their history."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from pipeline.lake import Lake, View, date_of
from pipeline.lake.manifest import Versioned, put_manifest
from pipeline.lake.paths import day_of, end_of, list_files
from pipeline.lake.watermark import raise_watermark, read_watermark
from pipeline.maintain.clocks import utc_now
from pipeline.maintain.facts import FactBuilder, connect
from pipeline.maintain.history import HistoryBuild
from pipeline.maintain.report import Expired
from pipeline.maintain.sweep import delete_expired
from pipeline.storage import Changed, LakeError, Locked

if TYPE_CHECKING:
    from pipeline.query import Connection

log = logging.getLogger("nodelake.compact")


def expire(
    lake: Lake,
    *,
    clock: Callable[[], datetime] = utc_now,
    today: date | None = None,
    compacted_days: int | None = None,
    history_days: int | None = None,
    history: FactBuilder | None = None,
) -> Expired:
    """Deletes the rows of old days, and later their history.

    Args:
        lake: the lake.
        clock: today's date is what days are counted back from.
        today: instead of the clock's.
        compacted_days: rows of days older than this many go, once nothing needs them.
        history_days: history of expired days older than this many goes.
        history: builds the facts; by default those of ``sql/history``.

    Raises:
        lake.Changed: another run wrote the same files, or a lock was lost: nothing is broken, run again.
        lake.LakeError: the lake cannot be read or written.
    """
    today = today or clock().date()
    view = lake.view()
    accounts = {account for account, _ in view.closed} | {*view.watermarks}
    report = Expired(len(accounts))
    for account in sorted(accounts):
        try:
            with lake.lock("compaction", account) as lock:
                build = HistoryBuild(lake, account, lock, history)
                watermark, _ = read_watermark(lake.storage, account)
                delete_expired(
                    lake, account, lock, watermark.expired_through
                )  # a killed run left it
                if compacted_days is not None:
                    _expire_rows(build, today - timedelta(days=compacted_days), report)
                if history_days is not None:
                    _expire_history(build, today - timedelta(days=history_days), report)
        except Locked as error:
            log.warning("%s: %s", account, error, extra={"account": account})
            report.locked.append(account)
    return report


def _expire_rows(build: HistoryBuild, limit: date, report: Expired) -> None:
    """Raises the seal, looks for snapshots below it, checks that history is final, raises the date."""
    lake, account, lock = build.lake, build.account, build.lock
    try:
        with connect(lake) as connection:
            view = connection.view
            days = [day for who, day in sorted(view.closed) if who == account and day < limit]
            if not days:
                return
            through = days[-1]
            depending = _depending(view, account, through)
            listed = [m.latest_listing_at for m, _ in depending if m.latest_listing_at]
            seal = max([end_of(through) - timedelta(microseconds=1), *listed])
            needed = {*days} | {m.date for m, _ in depending}
            kept = _stale(build, connection, needed, through, seal) or _landed(build, seal, view)
            if not kept:
                raise_watermark(lake.storage, account, sealed_until=seal)
                kept = _landed(build, seal, view)
    except Changed:
        raise
    except LakeError as error:
        kept = str(error)
    if kept:
        log.warning("%s: days are kept: %s", account, kept, extra={"account": account})
        report.kept.append(f"{account}: {kept}")
        return
    for manifest, entry in depending:
        if not manifest.is_final:
            lock.check()
            final = msgspec.structs.replace(manifest, is_final=True)
            put_manifest(lake.storage, final, entry)
    lock.check()
    raise_watermark(lake.storage, account, expired_through=through)
    delete_expired(lake, account, lock, through)
    report.days += len(days)


def _depending(view: View, account: str, through: date) -> list[Versioned]:
    """The manifests of history that cannot be rebuilt without the rows up to a day."""
    return [
        each
        for (who, day), each in sorted(view.manifests.items())
        if who == account
        and min([day, *filter(None, map(day_of, each.manifest.ledger_files))]) <= through
    ]


def _stale(
    build: HistoryBuild, connection: Connection, needed: set[date], through: date, seal: datetime
) -> str | None:
    """Why rows have to stay: history that depends on them, or is below the seal, is not current."""
    current = {day for who, day in connection.view.history_days if who == build.account}
    wrong = needed - current
    wrong |= {each.day for each in build.stale(connection) if end_of(each.day) <= seal}
    for day, ids in build.windows.items():  # open days included
        if day not in current and any(date_of(id_) <= through for id_ in ids):
            wrong.add(day)
    if wrong:
        return f"the history of {min(wrong)} is not built yet and needs its rows: compact first"
    return build.waits[0] if build.waits else None


def _landed(build: HistoryBuild, seal: datetime, view: View) -> str | None:
    """Why rows have to stay: landing has a snapshot of the account at or below the seal."""
    for snapshot_id in sorted(build.lake.landed("snapshots").keys() - view.refused):
        row = build.lake.catalog.landed_row(snapshot_id)
        if row and row.account == build.account and row.earliest(snapshot_id) <= seal:
            return f"{snapshot_id} is in landing: compact first (again, after the grace period)"
    return None


def _expire_history(build: HistoryBuild, limit: date, report: Expired) -> None:
    """Deletes history of days whose rows are deleted: compaction would rebuild others."""
    storage, account = build.storage, build.account
    watermark, _ = read_watermark(storage, account)
    files = [*list_files(storage, "history/manifests", ".json"), *list_files(storage, "history")]
    old = [file for file in files if file.stem == account and file.day < limit]
    for day in sorted({file.day for file in old}):
        if not watermark.has_expired(day):
            report.kept.append(f"{day} of {account}: its rows exist: give --compacted too")
            continue
        for file in (file for file in old if file.day == day):  # the manifest first
            build.lock.check()
            storage.delete(file.entry, durable=file.key.endswith(".json"))
        report.history_days += 1
