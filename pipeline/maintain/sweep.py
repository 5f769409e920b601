"""What leaves a lake: landing files that a day file replaces, what nobody committed, and old days.

Whatever order a crash or a power cut leaves these deletions in, a reader sees the same: it takes a
compacted snapshot from compacted, and nothing of a marked day.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from pipeline import schema
from pipeline.lake import Lake, history_key, is_snapshot_id
from pipeline.lake.expiry import forget_intents, intent_key, leaning_key, mark_key, note_leaning
from pipeline.storage import Entry, LakeError, Lock, Locked, Missing, put

if TYPE_CHECKING:
    from pipeline.lake import Place
    from pipeline.maintain.history import History

log = logging.getLogger("nodelake.compact")

#: What nobody has committed by then was left by somebody who died.
ORPHANED_AFTER = timedelta(days=1)


def sweep_account(
    lake: Lake, account: str, committed: list[Place], now: datetime, grace: timedelta
) -> tuple[int, int]:
    """Deletes the landing files of what is compacted past the grace, and the account's orphans.

    Args:
        lake: the lake; the account's compaction lock is held.
        account: whose.
        committed: its committed files of ``compacted/snapshots``.
        now: the clock that modification times are compared with.
        grace: how long readers may still use a landing file.

    Returns:
        Snapshots swept from landing, and files deleted that nobody had committed.
    """
    past = [place for place in committed if place.modified + grace <= now]
    replaced = {id_ for place in past for id_ in lake.compacted_ids(place)}
    gone = _sweep_landing(lake, replaced)
    marked = {day for whose, day in lake.marks() if whose == account}
    orphans = 0
    for day in marked:
        orphans += _delete_day(lake, account, day)
    keep = {(place.day, place.stem) for place in committed}
    for table in schema.DATA_TABLES:
        for place in [*lake.places(f"compacted/{table.name}")]:
            if place.account != account or (place.day, place.stem) in keep:
                continue
            # where the file that commits a day was lost, its rows wait for that to come back
            if not lake.is_told_by_history_alone(place.day, account):
                orphans += _delete_old(lake, place, now)
    return gone, orphans


def _sweep_landing(lake: Lake, replaced: Collection[str]) -> int:
    """The ledger file first: without it the data files are nobody's, and the next sweep's."""
    in_ledger = lake.landed("snapshots").keys() & replaced
    for snapshot_id in sorted(in_ledger):
        lake.storage.delete(lake.key("snapshots", snapshot_id), durable=False)
    for table in schema.DATA_TABLES:
        for snapshot_id in sorted(lake.landed(table.name).keys() & replaced):
            lake.storage.delete(lake.key(table.name, snapshot_id), durable=False)
    return len(in_ledger)


def sweep_nobodys(lake: Lake, now: datetime) -> int:
    """Deletes landing data without a ledger file, and staging files, a day after they were written."""
    deleted = 0
    data = {table.name: lake.landed(table.name) for table in schema.DATA_TABLES}
    committed = lake.landed("snapshots").keys()  # listed after the data: a commit is seen
    for places in data.values():
        for snapshot_id, place in sorted(places.items()):
            if snapshot_id not in committed:
                deleted += _delete_old(lake, place, now)
    for entry in [*lake.storage.leftovers()]:
        deleted += _delete_old(lake, entry, now)
    return deleted


def _delete_old(lake: Lake, file: Place | Entry, now: datetime) -> bool:
    """Deletes a file that is a day old, and still the one that was listed: an import writes anew."""
    if file.modified + ORPHANED_AFTER > now:
        return False
    there = lake.storage.find(file.key)
    if there is None or there.etag != file.etag:
        return False
    lake.storage.delete(file.key, durable=False)
    return True


def _delete_day(lake: Lake, account: str, day: date) -> int:
    """Deletes what there is of a marked day: the ledger's files first, then the data."""
    deleted = 0
    tables = ("snapshots", *(table.name for table in schema.DATA_TABLES))
    for table in tables:
        for place in [*lake.places(f"compacted/{table}/date={day.isoformat()}")]:
            if place.account == account:
                lake.storage.delete(place.key, durable=table == "snapshots")
                deleted += 1
    # An import may have committed between its last look at the mark and ours: nobody reads it.
    for place in [*lake.places(f"landing/snapshots/date={day.isoformat()}")]:
        if not is_snapshot_id(place.stem):
            continue
        try:
            whose = lake.ledger_row(place.stem).account
        except LakeError:
            continue
        if whose == account:
            for table in tables:
                lake.storage.delete(lake.key(table, place.stem), durable=False)
            deleted += 1
    lake.storage.delete(leaning_key(day, account), durable=False)
    return deleted


@dataclass
class Expired:
    """What an expiry did."""

    days: int = 0
    history_days: int = 0
    kept: list[str] = field(default_factory=list)
    """The account-days that are old enough and were kept, each with its reason."""
    locked: list[str] = field(default_factory=list)
    accounts: int = 0

    @property
    def exit_code(self) -> int:
        """0 done, 3 something was kept, 4 every account was locked."""
        if self.locked and len(self.locked) == self.accounts:
            return 4
        return 3 if self.kept or self.locked else 0


def expire(
    lake: Lake,
    *,
    today: date,
    compacted_days: int | None = None,
    history_days: int | None = None,
    history: History | None = None,
) -> Expired:
    """Gives up old days: their rows, and later their history.

    Args:
        lake: the lake.
        today: the UTC date that days are counted back from.
        compacted_days: rows of days older than this many go, once nothing needs them.
        history_days: history of expired days older than this many goes.
        history: tells which days' history a day's rows are needed for.

    Raises:
        lake.LakeError: the lake cannot be read or written.
    """
    report = Expired()
    accounts = {place.account for place in lake.places("compacted/snapshots")}
    accounts |= {account for account, _ in lake.marks()}
    report.accounts = len(accounts)
    for account in sorted(accounts):
        try:
            with lake.lock("compaction", account) as lock:
                forget_intents(lake.storage, account)
                if compacted_days is not None:
                    limit = today - timedelta(days=compacted_days)
                    _expire_rows(lake, account, lock, limit, history, report)
                if history_days is not None:
                    limit = today - timedelta(days=history_days)
                    _expire_history(lake, account, limit, report)
        except Locked as error:
            log.warning("%s: %s", account, error, extra={"account": account})
            report.locked.append(account)
    return report


def _expire_rows(
    lake: Lake, account: str, lock: Lock, limit: date, history: History | None, report: Expired
) -> None:
    marked = {day for whose, day in lake.marks() if whose == account}
    for day in sorted(marked):
        _delete_day(lake, account, day)  # what an expiry that was killed left
    places = [p for p in lake.places("compacted/snapshots") if p.account == account]
    days = sorted({place.day for place in places if place.day < limit} - marked)
    for day in days:
        ids = {id_ for place in places if place.day == day for id_ in lake.compacted_ids(place)}
        # a snapshot that commits from here on is seen by the look below, or sees this and waits
        put(lake.storage, intent_key(day, account), b"")
        try:
            why, leaning = _still_needed(lake, account, day, ids, history)
            if not why:
                for each in leaning:
                    note_leaning(lake.storage, account, each, {day})
                lock.check()
                put(lake.storage, mark_key(day, account), b"")
        finally:
            lake.storage.delete(intent_key(day, account))
        if why:
            log.warning("%s of %s is kept: %s", day, account, why, extra={"account": account})
            report.kept.append(f"{day} of {account}: {why}")
            continue
        _delete_day(lake, account, day)
        report.days += 1


def _still_needed(
    lake: Lake, account: str, day: date, ids: set[str], history: History | None
) -> tuple[str | None, list[date]]:
    """Why a day cannot go yet, if so, and the other days whose history was made with its rows."""
    for snapshot_id, place in sorted(lake.landed("snapshots").items()):
        if place.day != day:
            continue
        if snapshot_id in ids:
            why = "its landing files are not swept yet: compact again after the grace period"
            return why, []
        try:
            if lake.ledger_row(snapshot_id).account == account:
                return f"{snapshot_id} is not compacted yet: compact first", []
        except Missing:
            continue
        except LakeError as error:
            return str(error), []
    if history is None or not history.FACTS:
        return None, []
    from pipeline import query

    with closing(query.connect(lake)) as connection:
        view = connection.view
        windows = history.windows(connection, account)
    # A day that is not over needs its neighbour's rows too.
    leaning = sorted({d for d, around in windows.items() if not ids.isdisjoint(around)} - {day})
    for each in sorted({day, *leaning}):
        if (account, each) not in view.history_days:
            return f"the history of {each} is not made yet and needs it: compact first", []
    return None, leaning


def _expire_history(lake: Lake, account: str, limit: date, report: Expired) -> None:
    """Only of days whose rows are gone: from rows the next compaction would make it again."""
    marked = {day for whose, day in lake.marks() if whose == account}
    places = [p for p in lake.places("history") if p.stem == account and p.day < limit]
    facts: Iterable[str] = {place.key.split("/")[1] for place in places} - {"days"}
    for day in sorted({place.day for place in places}):
        if day not in marked:
            report.kept.append(f"{day} of {account}: its rows are there: --compacted them first")
            continue
        for fact in ("days", *sorted(facts)):
            lake.storage.delete(history_key(fact, day, account), durable=fact == "days")
        report.history_days += 1
