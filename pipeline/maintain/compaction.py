"""Closes days: day files, late files, history, and the sweeping of what they replace.

Every step leaves a lake that reads the same; what a killed compaction left undone the next one does.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from pipeline import schema
from pipeline.lake import Lake, LakeFile, compacted_key, late_stem
from pipeline.lake.catalog import DATA
from pipeline.lake.day_file import Damaged, DayFile, sorted_rows
from pipeline.lake.manifest import final_until
from pipeline.lake.paths import end_of, landing_key, refuse_old_layout
from pipeline.lake.watermark import read_watermark, read_watermarks
from pipeline.maintain.history import MEMORY_ADVICE, FactBuilder, HistoryBuild
from pipeline.maintain.sweep import sweep_account, sweep_orphans
from pipeline.storage import Changed, Entry, LakeError, Lock, Locked, Missing

log = logging.getLogger("nodelake.compact")

#: After midnight: the deadline of the last snapshot, and a quarter of an hour for clocks and disks.
CLOSES_AFTER = timedelta(seconds=240) + timedelta(minutes=15)
#: What readers may still need a file for, after it was replaced.
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
    return end_of(day) + CLOSES_AFTER


def compact(
    lake: Lake,
    *,
    clock: Callable[[], datetime] = utc_now,
    file_clock: Callable[[], datetime] | None = None,
    through: date | None = None,
    grace: timedelta = GRACE,
    history: FactBuilder | None = None,
) -> Report:
    """Closes every day that can be closed, builds its history, and sweeps.

    Args:
        lake: the lake.
        clock: decides which days are over.
        file_clock: what files' ages are measured by; by default the store's own clock.
        through: no day after this one.
        grace: how long a file outlives its replacement.
        history: builds the facts; by default those of ``sql/history``.

    Raises:
        lake.Changed: another run wrote the same files, or a lock was lost: nothing is broken, run again.
        lake.LakeError: the lake cannot be read or written.
    """
    refuse_old_layout(lake.storage)
    report = Report()
    now = clock()

    def is_closed(day: date) -> bool:
        return closes_at(day) <= now and (through is None or day <= through)

    accounts, unreadable = _accounts(lake, is_closed)
    report.open_days += [f"{day}: {why}" for day, why in unreadable.items()]
    report.accounts = len(accounts)
    for account in accounts:
        try:
            with lake.lock("compaction", account) as lock:
                _Account(lake, account, lock, report).close_days(is_closed, {*unreadable})
                build = HistoryBuild(lake, account, lock, history)
                build.run(is_closed)
                report.history_days += build.built
                report.open_days += [f"history of {account}: {why}" for why in build.waits]
                at = file_clock() if file_clock else lock.now()
                swept, orphans = sweep_account(lake, account, lock, at, grace)
                report.swept += swept
                report.orphans += orphans
        except Locked as error:
            log.warning("%s: %s", account, error, extra={"account": account})
            report.locked.append(account)
        except MemoryError:
            log.error("%s: %s", account, MEMORY_ADVICE)
            report.open_days.append(f"{account}: {MEMORY_ADVICE}")
    report.orphans += sweep_orphans(lake, file_clock)
    return report


def _accounts(lake: Lake, is_closed: Callable[[date], bool]) -> tuple[list[str], dict[date, str]]:
    """Every account with something to do, and the days that hold a ledger file nobody can read."""
    accounts = {account for account, _ in lake.catalog.closed()} | {*read_watermarks(lake.storage)}
    unreadable: dict[date, str] = {}
    for snapshot_id, file in sorted(lake.landed("snapshots").items()):
        if is_closed(file.day):
            try:
                accounts.add(lake.ledger_row(snapshot_id).account)
            except Missing:
                continue  # swept meanwhile
            except LakeError as error:
                unreadable.setdefault(file.day, str(error))
    return sorted(accounts), unreadable


class _Account:
    """Closes the days of one account, whose compaction lock is held."""

    def __init__(self, lake: Lake, account: str, lock: Lock, report: Report) -> None:
        self.lake = lake
        self.storage = lake.storage
        self.account = account
        self.lock = lock
        self.report = report

    def close_days(self, is_closed: Callable[[date], bool], unreadable: set[date]) -> None:
        """Commits a day file for each day that is over, a late file for what came after."""
        catalog = self.lake.catalog
        landed = self.lake.landed("snapshots")
        days = {file.day for file in landed.values()}
        closed = catalog.closed().items()
        files = [f for (who, day), fs in closed if who == self.account and day in days for f in fs]
        files = [file for file in files if not self._reopen(file, landed)]
        has_day_file = {file.day for file in files if file.late_id is None}
        done = {id_ for file in files for id_ in catalog.ids(file)}
        expired_through = read_watermark(self.storage, self.account)[0].expired_through
        final = final_until(catalog.manifests.load().values()).get(self.account)
        waiting: dict[date, list[str]] = defaultdict(list)
        for snapshot_id, file in sorted(landed.items()):
            if snapshot_id in done or file.day <= expired_through or not is_closed(file.day):
                continue
            try:
                row = self.lake.ledger_row(snapshot_id)
            except LakeError:
                continue  # named already; whose it is nobody knows
            if row.account == self.account and not (final and row.earliest(snapshot_id) <= final):
                waiting[file.day].append(snapshot_id)
        for day, ids in sorted(waiting.items()):
            if day in has_day_file:
                for snapshot_id in ids:
                    stem = late_stem(self.account, snapshot_id)
                    self.report.late += self._try(day, stem, [snapshot_id])
            elif day not in unreadable:
                self.report.days += self._try(day, self.account, ids)

    def _reopen(self, file: LakeFile, landed: Mapping[str, LakeFile]) -> bool:
        """Deletes a ledger file over another compaction's data, if landing has all its rows."""
        ledger = self.lake.catalog.ledger(file)
        keys = [file.beside(table) for table in ledger.data]
        data = {entry.key: entry for entry in self.storage.entries("compacted", keys)}
        if not self.lake.catalog.torn(file, ledger, data):
            return False
        if not all(id_ in landed for id_ in self.lake.compacted_ids(file)):
            return False
        self.lock.check()
        return self.storage.delete(file.entry)

    def _try(self, day: date, stem: str, ids: list[str]) -> bool:
        try:
            self._commit(day, stem, ids)
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
        written: dict[str, Entry] = {}
        for table in schema.DATA_TABLES:
            files = self._files(table.name, rows)
            entry = self._write(table, compacted_key(table.name, day, stem), files)
            if entry:
                written[table.name] = entry
        # A rival whose lock we lost, or who lost ours, must not have put its own beneath our commit.
        self.lock.check()
        for entry in written.values():
            there = self.storage.find(entry.key)
            if there is None or there.etag != entry.etag:
                url = self.storage.url(entry.key)
                raise Changed(f"{url}: written by another run meanwhile: run the command again")
        ledgers = [(landing_key("snapshots", id_), 1) for id_ in ids]
        # It may do so after our check: the ledger file names the bytes that it commits.
        data = {name: entry.size for name, entry in written.items()}
        self._write(schema.SNAPSHOTS, commit, ledgers, commits=data)

    def _files(
        self, table: str, rows: Mapping[str, Mapping[str, int | None]]
    ) -> list[tuple[str, int | None]]:
        """The landing files of a table, each with the rows it must have."""
        files = []
        for snapshot_id, counts in rows.items():
            key, expected = landing_key(table, snapshot_id), counts[table]
            # where the ledger is older than the table, the file decides
            if expected or (expected is None and self.storage.find(key)):
                files.append((key, expected))
        return files

    def _write(
        self,
        table: schema.Table,
        key: str,
        files: Sequence[tuple[str, int | None]],
        *,
        commits: Mapping[str, int] | None = None,
    ) -> Entry | None:
        """One sorted file from many, put over what a killed compaction left there, if anything."""
        there = None if commits is not None else self.storage.find(key)
        if not files:
            if there:
                self.lock.check()
                self.storage.delete(there)
            return None
        columns = table.schema
        if commits is not None:
            columns = columns.with_metadata({**columns.metadata, DATA: json.dumps(commits)})
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
