"""Closes days: day files, late files, history, and the sweeping of what they replace.

Every step leaves a lake that reads the same; what a killed compaction left undone the next one does.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from pipeline import schema
from pipeline.lake import Lake, View, compacted_key, date_of, late_stem
from pipeline.lake.catalog import DATA
from pipeline.lake.day_file import Damaged, DayFile, sorted_rows
from pipeline.lake.paths import end_of, landing_key
from pipeline.maintain.facts import MEMORY_ADVICE, FactBuilder
from pipeline.maintain.history import HistoryBuild
from pipeline.maintain.report import Report
from pipeline.maintain.sweep import sweep_account, sweep_orphans
from pipeline.schema.facts import AccountDay
from pipeline.storage import Changed, Entry, LakeError, Lock, Locked

log = logging.getLogger("nodelake.compact")

#: After midnight: the deadline of the last snapshot, and a quarter of an hour for clocks and disks.
CLOSES_AFTER = timedelta(seconds=240) + timedelta(minutes=15)
#: What readers may still need a file for, after it was replaced.
GRACE = timedelta(minutes=60)


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
    report = Report()
    now = clock()

    def is_closed(day: date) -> bool:
        return closes_at(day) <= now and (through is None or day <= through)

    view = lake.view()
    waiting, unreadable = _waiting(lake, view, is_closed)
    report.open_days += [f"{day}: {why}" for day, why in unreadable.items()]
    accounts = {account for account, _ in (*view.closed, *waiting)} | {*view.watermarks}
    report.accounts = len(accounts)
    for account in sorted(accounts):
        try:
            with lake.lock("compaction", account) as lock:
                _Account(lake, account, lock, report).close_days(is_closed)
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


def _waiting(
    lake: Lake, view: View, is_closed: Callable[[date], bool]
) -> tuple[dict[AccountDay, list[str]], dict[date, str]]:
    """The snapshots that wait for compaction, and the days with a ledger file nobody can read."""
    waiting: dict[AccountDay, list[str]] = defaultdict(list)
    unreadable: dict[date, str] = {}
    for snapshot_id in view.waiting:
        day = date_of(snapshot_id)
        try:
            row = lake.catalog.landed_row(snapshot_id) if is_closed(day) else None
        except LakeError as error:
            unreadable.setdefault(day, str(error))
        else:
            if row:
                waiting[row.account, day].append(snapshot_id)
    return waiting, unreadable


class _Account:
    """Closes the days of one account, whose compaction lock is held."""

    def __init__(self, lake: Lake, account: str, lock: Lock, report: Report) -> None:
        self.lake = lake
        self.storage = lake.storage
        self.account = account
        self.lock = lock
        self.report = report

    def close_days(self, is_closed: Callable[[date], bool]) -> None:
        """Commits a day file for each day that is over, a late file for what came after."""
        view = self.lake.view()
        closed = {file.key for files in view.closed.values() for file in files}
        for file in view.broken.values():
            if file.account == self.account and file.key not in closed:
                self.lock.check()  # it lies over another compaction's data; landing has its rows
                self.storage.delete(file.entry)
        waiting, unreadable = _waiting(self.lake, view, is_closed)
        for (account, day), ids in sorted(waiting.items()):
            if account != self.account:
                continue
            files = view.closed.get((account, day), ())
            if any(file.late_id is None for file in files):
                for snapshot_id in ids:
                    stem = late_stem(self.account, snapshot_id)
                    self.report.late += self._try(day, stem, [snapshot_id])
            elif day not in unreadable:
                self.report.days += self._try(day, self.account, ids)

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
