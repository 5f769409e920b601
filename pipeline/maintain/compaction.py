"""Compaction: writes day files and late files, builds history, sweeps what they replace.

After every step the lake reads the same; the next compaction completes a killed one.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pipeline import schema
from pipeline.lake import Lake, View, compacted_key, date_of, late_stem
from pipeline.lake.day_file import Damaged, DayFile, sorted_rows
from pipeline.lake.ledger import DATA
from pipeline.lake.paths import landing_key
from pipeline.maintain.clocks import GRACE, closes_at, utc_now
from pipeline.maintain.facts import MEMORY_ADVICE, FactBuilder
from pipeline.maintain.history import HistoryBuild
from pipeline.maintain.report import Compacted
from pipeline.maintain.sweep import sweep_account, sweep_orphans
from pipeline.schema.facts import AccountDay
from pipeline.storage import Changed, Entry, LakeError, Lock, Locked

log = logging.getLogger("nodelake.compact")


def compact(
    lake: Lake,
    *,
    clock: Callable[[], datetime] = utc_now,
    file_clock: Callable[[], datetime] | None = None,
    through: date | None = None,
    grace: timedelta = GRACE,
    history: FactBuilder | None = None,
) -> Compacted:
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
    now = clock()

    def is_closed(day: date) -> bool:
        return closes_at(day) <= now and (through is None or day <= through)

    view = lake.view()
    waiting, unreadable = _waiting(lake, view, is_closed)
    accounts = {account for account, _ in (*view.closed, *waiting)} | {*view.watermarks}
    report = Compacted(len(accounts))
    report.open_days += [f"{day}: {why}" for day, why in unreadable.items()]
    for account in sorted(accounts):
        try:
            with lake.lock("compaction", account) as lock:
                _Account(lake, account, lock, report).close_days(is_closed)
                build = HistoryBuild(lake, account, lock, history)
                build.run(is_closed)
                report.history_days += build.built
                report.open_days += [f"history of {account}: {why}" for why in build.waits]
                at = file_clock() if file_clock else lock.now()
                sweep_account(lake, account, lock, at, grace, report)
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
    """The snapshots that wait for compaction, and the days with an unreadable ledger file."""
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


@dataclass
class _Account:
    """Closes the days of one account while it holds the compaction lock."""

    lake: Lake
    account: str
    lock: Lock
    report: Compacted

    def close_days(self, is_closed: Callable[[date], bool]) -> None:
        """Commits a day file for each day that is over, and late files for later snapshots."""
        view = self.lake.view()
        closed = {file.key for files in view.closed.values() for file in files}
        for file in view.broken.values():
            if file.account == self.account and file.key not in closed:
                self.lock.check()  # it lies over another compaction's data; landing has its rows
                self.lake.storage.delete(file.entry)
        waiting, unreadable = _waiting(self.lake, view, is_closed)
        for (account, day), ids in sorted(waiting.items()):
            is_late = any(f.late_id is None for f in view.closed.get((account, day), ()))
            if account != self.account or (day in unreadable and not is_late):
                continue
            late = [(late_stem(account, id_), [id_]) for id_ in ids]
            for stem, those in late if is_late else [(account, ids)]:
                try:
                    self._commit(day, stem, those)
                except Damaged as error:
                    log.error("%s of %s stays open: %s", day, account, error)
                    self.report.open_days.append(f"{day} of {account}: {error}")
                    continue
                self.report.snapshots += len(those)
                self.report.late += is_late
                self.report.days += not is_late

    def _commit(self, day: date, stem: str, ids: list[str]) -> None:
        """Writes and checks the files of a day; the ledger's file, written last, commits them."""
        rows = {id_: self.lake.ledger_row(id_).rows for id_ in ids}
        commit = compacted_key("snapshots", day, stem)
        if self.lake.storage.find(commit):
            # to a file system that ignores case "Acc" is "acc"
            url = self.lake.storage.url(commit)
            raise Damaged(f"{url}: exists, for an account of the same name in another case")
        written: dict[str, Entry] = {}
        for table in schema.DATA_TABLES:
            counts = {landing_key(table.name, id_): row[table.name] for id_, row in rows.items()}
            # a ledger row may be older than the table: then the file decides
            found = self.lake.storage.find
            files = [(k, n) for k, n in counts.items() if n or (n is None and found(k))]
            entry = self._write(table, compacted_key(table.name, day, stem), files)
            if entry:
                written[table.name] = entry
        # If a lock was lost, another run may have replaced our files before this commit.
        self.lock.check()
        for entry in written.values():
            there = self.lake.storage.find(entry.key)
            if there is None or there.etag != entry.etag:
                url = self.lake.storage.url(entry.key)
                raise Changed(f"{url}: another run has written it: run the command again")
        ledgers = [(landing_key("snapshots", id_), 1) for id_ in ids]
        # It may still do so after this check: the ledger file names the bytes that it commits.
        data = {name: entry.size for name, entry in written.items()}
        self._write(schema.SNAPSHOTS, commit, ledgers, commits=data)

    def _write(
        self,
        table: schema.Table,
        key: str,
        files: Sequence[tuple[str, int | None]],
        *,
        commits: Mapping[str, int] | None = None,
    ) -> Entry | None:
        """Writes one sorted file from many; replaces the file of a killed compaction."""
        there = None if commits is not None else self.lake.storage.find(key)
        if not files:
            if there:
                self.lock.check()
                self.lake.storage.delete(there)
            return None
        columns = table.schema
        if commits is not None:
            columns = columns.with_metadata({**columns.metadata, DATA: json.dumps(commits)})
        file = DayFile(self.lake.storage, key, columns, there or "nothing")
        try:
            for rows in sorted_rows(self.lake.storage, table, files):
                file.write(rows)
            expected = [count for _, count in files if count is not None]
            if len(expected) == len(files) and file.rows != sum(expected):
                raise Damaged(f"{self.lake.storage.url(key)}: {file.rows} rows of {sum(expected)}")
            self.lock.check()
            entry = file.finish()
        finally:
            file.discard()
        self.report.rows += file.rows
        return entry
