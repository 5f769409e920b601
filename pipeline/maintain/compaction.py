"""Closes days: day files, late files, history, and the sweeping of what they replace.

Every step leaves a lake that reads the same; what a killed compaction left undone the next one does.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from pipeline import schema
from pipeline.lake import Lake, compacted_key, late_stem
from pipeline.lake.committed import Held
from pipeline.lake.day_file import Damaged, DayFile, sorted_rows
from pipeline.maintain.history import Remake
from pipeline.maintain.sweep import sweep_account, sweep_nobodys
from pipeline.storage import Changed, Entry, LakeError, Lock, Locked, Missing

if TYPE_CHECKING:
    from pipeline.lake import Place
    from pipeline.maintain.history import History

log = logging.getLogger("nodelake.compact")

#: After midnight: the deadline of the last snapshot, and a quarter of an hour for clocks and disks.
CLOSES_AFTER = timedelta(seconds=240) + timedelta(minutes=15)
#: What readers may still hold a file for, after it was replaced.
GRACE = timedelta(minutes=60)


@dataclass
class Report:
    """What a compaction did."""

    days: int = 0
    late: int = 0
    snapshots: int = 0
    rows: int = 0
    history_days: int = 0
    swept: int = 0
    orphans: int = 0
    open_days: list[str] = field(default_factory=list)
    """The account-days that stay open, each with its reason."""
    locked: list[str] = field(default_factory=list)
    """The accounts that another compaction or expiry is at work on."""
    accounts: int = 0

    @property
    def exit_code(self) -> int:
        """0 done, 3 some day stays open or some account was locked, 4 every account was locked."""
        if self.locked and len(self.locked) == self.accounts:
            return 4
        return 3 if self.open_days or self.locked else 0


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


def closes_at(day: date) -> datetime:
    """When a day is closed: no run that began in it can still be going."""
    return datetime.combine(day + timedelta(days=1), time(), UTC) + CLOSES_AFTER


def compact(
    lake: Lake,
    *,
    clock: Callable[[], datetime] = utc_now,
    file_clock: Callable[[], datetime] = utc_now,
    through: date | None = None,
    grace: timedelta = GRACE,
    history: History | None = None,
) -> Report:
    """Closes every day that can be closed, makes its history, and sweeps.

    Args:
        lake: the lake.
        clock: tells which days are over.
        file_clock: the clock that the files' modification times are compared with.
        through: no day after this one.
        grace: how long a file outlives its replacement.
        history: makes the facts; none without.

    Raises:
        lake.Changed: another run wrote the same files, or a lock was lost: nothing is broken, run again.
        lake.LakeError: the lake cannot be read or written.
    """
    report = Report()
    now = clock()
    accounts, unreadable = _accounts(lake, now, through)
    for day, why in unreadable.items():
        report.open_days.append(f"{day}: {why}")
    report.accounts = len(accounts)
    for account in accounts:
        try:
            with lake.lock("compaction", account) as lock:
                each = _Account(lake, account, lock, report, history, file_clock, grace)
                each.close_days(now, through, set(unreadable))
                each.make_history(now, through)
                each.sweep()
        except Locked as error:
            log.warning("%s: %s", account, error, extra={"account": account})
            report.locked.append(account)
    report.orphans += sweep_nobodys(lake, file_clock())
    return report


def _is_closed(day: date, now: datetime, through: date | None) -> bool:
    return closes_at(day) <= now and (through is None or day <= through)


def _accounts(lake: Lake, now: datetime, through: date | None) -> tuple[list[str], dict[date, str]]:
    """Every account with something to do, and the days that hold a ledger file nobody can read."""
    accounts = {place.account for place in lake.places("compacted/snapshots")}
    accounts |= {account for account, _ in lake.marks()}
    unreadable: dict[date, str] = {}
    for snapshot_id, place in sorted(lake.landed("snapshots").items()):
        if _is_closed(place.day, now, through):
            try:
                accounts.add(lake.ledger_row(snapshot_id).account)
            except Missing:
                continue  # swept meanwhile
            except LakeError as error:
                unreadable.setdefault(place.day, str(error))
    return sorted(accounts), unreadable


class _Account:
    """The work on one account, its lock held."""

    def __init__(
        self,
        lake: Lake,
        account: str,
        lock: Lock,
        report: Report,
        history: History | None,
        file_clock: Callable[[], datetime],
        grace: timedelta,
    ) -> None:
        self.lake = lake
        self.storage = lake.storage
        self.account = account
        self.lock = lock
        self.report = report
        self.history = None
        if history and history.FACTS:
            self.history = Remake(lake, account, lock, history)
        self.file_clock = file_clock
        self.grace = grace

    def _committed(self) -> list[Place]:
        places = self.lake.places("compacted/snapshots")
        return [place for place in places if place.account == self.account]

    # --- day files and late files ---

    def close_days(self, now: datetime, through: date | None, unreadable: set[date]) -> None:
        """Commits a day file for each day that is over, a late file for what came after."""
        landed = self.lake.landed("snapshots")
        committed = self._committed()
        has_day_file = {place.day for place in committed if place.stem == self.account}
        done = {id_ for place in committed for id_ in self.lake.compacted_ids(place)}
        expired = {day for account, day in self.lake.marks() if account == self.account}
        waiting: dict[date, list[str]] = defaultdict(list)
        for snapshot_id, place in sorted(landed.items()):
            if snapshot_id in done or place.day in expired:
                continue
            if not _is_closed(place.day, now, through):
                continue
            try:
                row = self.lake.ledger_row(snapshot_id)
            except LakeError:
                continue  # named already; whose it is nobody knows
            if row.account == self.account:
                waiting[place.day].append(snapshot_id)
        if waiting and self.history:
            self.history.forget()
        for day, ids in sorted(waiting.items()):
            if day in has_day_file:
                for snapshot_id in ids:
                    stem = late_stem(self.account, snapshot_id)
                    self.report.late += self._try(day, stem, [snapshot_id])
            elif day not in unreadable:
                self.report.days += self._try(day, self.account, ids)

    def _try(self, day: date, stem: str, ids: list[str]) -> bool:
        try:
            self._commit(day, stem, ids)
        except (Changed, Locked):
            raise
        except Damaged as error:
            log.error("%s of %s stays open: %s", day, self.account, error)
            self.report.open_days.append(f"{day} of {self.account}: {error}")
            return False
        self.report.snapshots += len(ids)
        return True

    def _commit(self, day: date, stem: str, ids: list[str]) -> None:
        """Writes the files of a day, checks them, and commits them by the ledger's file, last."""
        rows = {id_: self.lake.ledger_row(id_).rows for id_ in ids}
        commit = compacted_key("snapshots", day, stem)
        if self.storage.find(commit):
            # a file system that does not tell case apart takes "Acc" for "acc"
            url = self.storage.url(commit)
            raise Damaged(f"{url}: is there already, of an account of that name in another case")
        written: list[Entry] = []
        for table in schema.DATA_TABLES:
            files = self._files(table.name, rows)
            entry = self._write(table, compacted_key(table.name, day, stem), files)
            if entry:
                written.append(entry)
        # A rival whose lock we lost, or who lost ours, must not have put its own beneath our commit.
        self.lock.check()
        for entry in written:
            there = self.storage.find(entry.key)
            if there is None or there.etag != entry.etag:
                url = self.storage.url(entry.key)
                raise Changed(f"{url}: written by another run meanwhile: run the command again")
        ledgers = [(self.lake.key("snapshots", id_), 1) for id_ in ids]
        counts = {
            table.name: sum(each.get(table.name) or 0 for each in rows.values())
            for table in schema.DATA_TABLES
        }
        self._write(schema.SNAPSHOTS, commit, ledgers, commits=Held.of(ids, counts))

    def _files(
        self, table: str, rows: Mapping[str, Mapping[str, int | None]]
    ) -> list[tuple[str, int | None]]:
        """The landing files of a table, each with the rows it must have."""
        files = []
        for snapshot_id, counts in rows.items():
            key = self.lake.key(table, snapshot_id)
            expected = counts[table]
            if expected != 0 or self.storage.find(key):
                # where the ledger is older than the table, the file decides
                if expected is None and not self.storage.find(key):
                    continue
                files.append((key, expected))
        return files

    def _write(
        self,
        table: schema.Table,
        key: str,
        files: Sequence[tuple[str, int | None]],
        *,
        commits: Held | None = None,
    ) -> Entry | None:
        """One sorted file from many, put over what a killed compaction left there, if anything."""
        there = None if commits else self.storage.find(key)
        if not files:
            if there:
                self.storage.delete(key)
            return None
        columns = commits.within(table.schema) if commits else table.schema
        file = DayFile(self.storage, key, columns, there or "nothing")
        try:
            for rows in sorted_rows(self.storage, table, files):
                file.write(rows)
            expected = [count for _, count in files if count is not None]
            if len(expected) == len(files) and file.rows != sum(expected):
                raise Damaged(f"{self.storage.url(key)}: {file.rows} rows of {sum(expected)}")
            self.lock.check()
            entry = file.finish()
        finally:
            file.discard()
        self.report.rows += file.rows
        return entry

    def make_history(self, now: datetime, through: date | None) -> None:
        """Makes the facts of every closed day whose history is not current."""
        if self.history is None:
            return
        self.history.make(lambda day: _is_closed(day, now, through))
        self.report.history_days += self.history.made
        self.report.open_days += [f"history of {self.account}: {why}" for why in self.history.waits]

    def sweep(self) -> None:
        """Deletes what the day files replace, past the grace, and what nobody ever committed."""
        swept, orphans = sweep_account(
            self.lake, self.account, self._committed(), self.file_clock(), self.grace
        )
        self.report.swept += swept
        self.report.orphans += orphans
