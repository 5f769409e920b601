"""What a reader sees of a lake: every committed snapshot exactly once."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pipeline import schema
from pipeline.lake.manifest import LedgerFile, Manifests, Versioned, fact_versions, final_until
from pipeline.lake.paths import (
    LakeFile,
    compacted_key,
    damaged,
    date_of,
    end_of,
    history_key,
    is_label,
    landing_key,
    list_files,
    list_landing,
    manifest_key,
    misnamed,
    moment_of,
    refuse_old_layout,
    watermark_key,
)
from pipeline.lake.table_file import read, read_metadata, read_names
from pipeline.lake.view import ListingSpan, MissingFact, Reason, View
from pipeline.lake.watermark import read_watermarks
from pipeline.schema.facts import AccountDay
from pipeline.storage import Entry, LakeError, Missing, Storage

#: Under this key the footer of a committed ledger file names the bytes of each data file it commits.
DATA = b"nodelake.data"
#: How often a view is begun again where a file was swept or expired meanwhile.
_TRIES = 5
#: Days between two listings, at most, over which history is built.
GAP = 31


@dataclass(frozen=True)
class LedgerRow:
    """What the protocol needs of a landing ledger file."""

    account: str
    rows: Mapping[str, int | None]
    """Rows by table."""
    listed_at: datetime | None
    """When the account's pools were listed, by the service's clock."""

    def earliest(self, snapshot_id: str) -> datetime:
        """The earlier of the snapshot's time and its listing's: expiry seals by this."""
        return min(moment_of(snapshot_id), self.listed_at or datetime.max.replace(tzinfo=UTC))


class Catalog:
    """Finds what is committed in a lake; committed files never change, so each is read once."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.manifests = Manifests(storage)
        self._rows: dict[str, LedgerRow] = {}
        self._ledgers: dict[tuple[str, str], tuple[LedgerFile, tuple[str, ...]]] = {}

    def ledger_row(self, snapshot_id: str) -> LedgerRow:
        """The ledger row of a snapshot in landing.

        Raises:
            Missing: it is not in landing (any more).
            LakeError: the file is no ledger file of that snapshot.
        """
        if snapshot_id not in self._rows:
            key = landing_key("snapshots", snapshot_id)
            names = {table.name: f"{table.name}_rows" for table in schema.DATA_TABLES}
            columns = ["account", "snapshot_id", "pool_listing_finished_at", *names.values()]
            rows = read(self.storage, key, columns).to_pylist()
            if len(rows) != 1 or not is_label(rows[0].get("account") or ""):
                raise damaged(self.storage, key, "not one ledger row of an account")
            if rows[0]["snapshot_id"] != snapshot_id:
                what = f"by its name it is of {snapshot_id}, its row is of {rows[0]['snapshot_id']}"
                raise misnamed(self.storage, key, what)
            counts = {table: rows[0].get(column) for table, column in names.items()}
            listed_at = rows[0].get("pool_listing_finished_at")
            self._rows[snapshot_id] = LedgerRow(rows[0]["account"], counts, listed_at)
        return self._rows[snapshot_id]

    def landed_row(self, snapshot_id: str) -> LedgerRow | None:
        """The same, or None where the snapshot was swept meanwhile."""
        try:
            return self.ledger_row(snapshot_id)
        except Missing:
            return None

    def ids(self, file: LakeFile) -> tuple[str, ...]:
        """The snapshots of a committed file, sorted."""
        return self._ledger(file)[1]

    def ledger(self, file: LakeFile) -> LedgerFile:
        """What a committed file commits."""
        return self._ledger(file)[0]

    def _ledger(self, file: LakeFile) -> tuple[LedgerFile, tuple[str, ...]]:
        known = file.key, file.entry.etag
        if known not in self._ledgers:
            counts = {table.name: f"{table.name}_rows" for table in schema.DATA_TABLES}
            rows = read(self.storage, file.key, ["snapshot_id", "account", *counts.values()])
            ids = tuple(sorted(rows["snapshot_id"].to_pylist()))
            accounts = " and ".join(sorted(map(str, set(rows["account"].to_pylist()))))
            if accounts != file.account:
                what = f"by its name it is of account {file.account}, its rows are of {accounts}"
                raise misnamed(self.storage, file.key, what)
            if {date_of(id_) for id_ in ids} != {file.day} or file.late_id not in (None, *ids):
                raise misnamed(self.storage, file.key, f"its rows are of {ids[0]} to {ids[-1]}")
            named = read_metadata(self.storage, file.key).get(DATA)
            data: dict[str, int | None] = (
                json.loads(named)
                if named
                else {t: None for t, name in counts.items() if any(rows[name].to_pylist())}
            )
            self._ledgers[known] = LedgerFile(file.entry.size, len(ids), data), ids
        return self._ledgers[known]

    def is_committed(self, snapshot_id: str) -> bool:
        """Whether the snapshot exists for readers, in landing or compacted."""
        if self.storage.find(landing_key("snapshots", snapshot_id)):
            return True
        folder = f"compacted/snapshots/date={date_of(snapshot_id).isoformat()}"
        return any(snapshot_id in self.ids(f) for f in list_files(self.storage, folder))

    def closed(self) -> dict[AccountDay, list[LakeFile]]:
        """The ledger files of every account-day that is closed."""
        found: dict[AccountDay, list[LakeFile]] = defaultdict(list)
        for file in list_files(self.storage, "compacted/snapshots"):
            found[file.account, file.day].append(file)
        return found

    def torn(self, file: LakeFile, ledger: LedgerFile, entries: Mapping[str, Entry]) -> list[str]:
        """The keys of data files that a ledger file commits and that are not there as it names them."""
        keys = {file.beside(table): size for table, size in ledger.data.items()}
        return [
            key
            for key, size in keys.items()
            if key not in entries or size not in (None, entries[key].size)
        ]

    def load(self) -> View:
        """The view of the lake as it is now.

        A snapshot that commits, a day that closes or expires while this runs is in it whole or not
        at all.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._load()
            except Missing:
                continue
        return self._load()

    def _load(self) -> View:
        refuse_old_layout(self.storage)
        # A snapshot moves from landing to compacted: listed in this order it is in one of them.
        landed = list_landing(self.storage, "snapshots")
        closed = self.closed()
        listed = {file.key for files in closed.values() for file in files}
        in_landing = {t.name: list_landing(self.storage, t.name) for t in schema.DATA_TABLES}
        names = {f.beside(t.name) for fs in closed.values() for f in fs for t in schema.DATA_TABLES}
        data = {entry.key: entry for entry in self.storage.entries("compacted", names)}
        manifests = self.manifests.load()
        facts = {
            history_key(fact, m.date, m.account): (fact, m.whose)
            for m, _ in manifests.values()
            for fact in m.files
        }
        built = {entry.key: entry for entry in self.storage.entries("history", facts)}
        changed = self.manifests.changed(manifests)
        # Last: whose data an expiry has begun to delete has its watermark by now.
        watermarks = read_watermarks(self.storage)

        expired = {who: w.expired_through for who, w in watermarks.items() if w.has_expired}
        sealed = {who: watermarks[who].sealed_until for who in expired}

        def is_expired(account: str, day: date) -> bool:
            return day <= expired.get(account, date.min)

        closed = {whose: files for whose, files in closed.items() if not is_expired(*whose)}
        ledgers, missing = self._ledgers_of(closed, landed, data, manifests)
        final = final_until(manifests.values())
        waiting = self._waiting(landed, closed)
        late: dict[AccountDay, set[str]] = defaultdict(set)
        touched = {day for _, day in (*closed, *manifests)} | {*expired.values()}
        latest = max((*final.values(), *map(end_of, expired.values())), default=None)
        for id_, file in [*waiting.items()]:
            if file.day in touched or (latest and moment_of(id_) <= latest):
                row = self.ledger_row(id_)
                until = final.get(row.account)
                if is_expired(row.account, file.day) or (until and row.earliest(id_) <= until):
                    del waiting[id_]  # refused: its writer withdraws it
                else:
                    late[row.account, file.day].add(id_)

        visible = {file.key for files in closed.values() for file in files}
        visible |= {file.key for file in waiting.values()}
        intact: set[AccountDay] = set()
        current: set[AccountDay] = set()
        missing_facts: list[MissingFact] = []
        versions = fact_versions()
        for whose, (m, _) in manifests.items():
            lacking = [
                key
                for fact, size in m.files.items()
                if (key := history_key(fact, m.date, m.account)) not in built
                or built[key].size != size
            ]
            has_rows = not (m.is_final or is_expired(*whose))
            if m.state == "complete" and whose not in changed:
                if has_rows and not lacking and m.facts == versions:
                    intact.add(whose)
                    own = {f.stem: f.entry.size for f in closed.get(whose, ())}
                    if (
                        own == {stem: each.bytes for stem, each in m.own.items()}
                        and whose not in late
                        and visible.issuperset(m.ledger_files)
                    ):
                        current.add(whose)
                elif not has_rows:
                    current.add(whose)
            if not has_rows and whose not in changed:
                for key in lacking:
                    missing[facts[key][0]].append(self.storage.url(key))
                for fact, version in versions.items():
                    if m.facts.get(fact) != version:
                        is_old = fact in m.facts
                        why: Reason = "older version" if is_old else "newer fact"
                        missing_facts.append((*whose, fact, why))
            for stem in m.own if not is_expired(*whose) else ():
                if (key := compacted_key("snapshots", m.date, stem)) not in listed:
                    missing["snapshots"].append(self.storage.url(key))
        for account in final.keys() - watermarks.keys():
            missing["snapshots"].append(self.storage.url(watermark_key(account)))
        for account, day in _holes(closed, manifests, expired, sealed):
            missing["manifests"].append(self.storage.url(manifest_key(day, account)))

        files: dict[str, list[Entry]] = {"snapshots": [f.entry for f in waiting.values()]}
        for fs in closed.values():
            files["snapshots"] += [file.entry for file in fs]
        for table, there in in_landing.items():
            files[table] = [file.entry for id_, file in there.items() if id_ in waiting]
        for key in ledgers:
            for table in ledgers[key].data:
                beside = key.replace("/snapshots/", f"/{table}/", 1)
                if beside in data:
                    files[table].append(data[beside])
        history: dict[str, list[Entry]] = defaultdict(list)
        for key, entry in built.items():
            fact, whose = facts[key]
            if whose in current and entry.size == manifests[whose].manifest.files[fact]:
                history[fact].append(entry)
        return View(
            tuple(sorted(waiting)),
            {table: self._urls(found) for table, found in files.items()},
            {whose: tuple(found) for whose, found in closed.items()},
            {whose: frozenset(ids) for whose, ids in late.items()},
            tuple(self._spans(closed, waiting, manifests)),
            self.ids,
            ledgers,
            manifests,
            frozenset(intact),
            {fact: self._urls(entries) for fact, entries in history.items()},
            tuple(sorted(current)),
            tuple(
                sorted(w for w in current if manifests[w].manifest.is_final and not is_expired(*w))
            ),
            final,
            sealed,
            tuple(sorted(missing_facts)),
            {self.storage.url(e.key): e.etag for found in history.values() for e in found},
            {name: tuple(sorted(urls)) for name, urls in missing.items()},
            {t: tuple(sorted(waiting.keys() - there)) for t, there in in_landing.items()},
            frozenset(table for table, found in files.items() if self._is_older(table, found)),
        )

    def _ledgers_of(
        self,
        closed: dict[AccountDay, list[LakeFile]],
        landed: Collection[str],
        data: Mapping[str, Entry],
        manifests: Mapping[AccountDay, Versioned],
    ) -> tuple[dict[str, LedgerFile], dict[str, list[str]]]:
        """What each closed file commits: as the day's manifest says of just these bytes, or the file.

        A ledger file over another compaction's data files does not count while landing has all its
        snapshots: it is taken out of ``closed``. Also returns the data files that are missing.
        """
        ledgers: dict[str, LedgerFile] = {}
        unknown: list[LakeFile] = []
        for whose, files in closed.items():
            own = manifests[whose].manifest.own if whose in manifests else {}
            for file in files:
                known = own.get(file.stem)
                if known and known.bytes == file.entry.size:
                    ledgers[file.key] = known
                else:
                    unknown.append(file)
        read_now = self.storage.many(self.ledger, unknown)
        ledgers.update(zip((file.key for file in unknown), read_now, strict=True))
        missing: dict[str, list[str]] = defaultdict(list)
        for whose, files in [*closed.items()]:
            for file in [*files]:
                torn = self.torn(file, ledgers[file.key], data)
                if torn and all(id_ in landed for id_ in self.ids(file)):
                    files.remove(file)
                    del ledgers[file.key]
                    continue
                for key in torn:
                    missing[key.split("/")[1]].append(self.storage.url(key))
            if not files:
                del closed[whose]
        return ledgers, missing

    def _waiting(
        self, landed: Mapping[str, LakeFile], closed: Mapping[AccountDay, list[LakeFile]]
    ) -> dict[str, LakeFile]:
        """What is in landing and not compacted; ids are read only of the days that landing has too."""
        days = {file.day for file in landed.values()}
        files = [file for (_, day), found in closed.items() if day in days for file in found]
        compacted: set[str] = set().union(*self.storage.many(self.ids, files))
        return {id_: file for id_, file in landed.items() if id_ not in compacted}

    def _spans(
        self,
        closed: Mapping[AccountDay, list[LakeFile]],
        waiting: Mapping[str, LakeFile],
        manifests: Mapping[AccountDay, Versioned],
    ) -> Iterator[ListingSpan]:
        for (account, day), files in sorted(closed.items()):
            own = {file.stem: file.entry.size for file in files}
            m = manifests[account, day].manifest if (account, day) in manifests else None
            if m is None or own != {stem: each.bytes for stem, each in m.own.items()}:
                yield account, day, None, None
            elif m.first_listing_at:
                yield account, day, m.first_listing_at, m.last_listing_at
        for day in sorted({file.day for file in waiting.values()}):
            yield None, day, None, None

    def _urls(self, entries: Iterable[Entry]) -> tuple[str, ...]:
        return tuple(self.storage.url(key) for key in sorted(entry.key for entry in entries))

    def _is_older(self, table: str, entries: list[Entry]) -> bool:
        """Whether some file lacks a column: the one that was written first decides for all."""
        if not entries:
            return False
        oldest = min(entries, key=lambda entry: entry.modified)
        names = {column.name for column in schema.TABLES[table].stored}
        try:
            return bool(names - read_names(self.storage, oldest.key))
        except Missing:
            raise
        except LakeError:
            return False  # the query that reads it names it


def _holes(
    closed: Collection[AccountDay],
    manifests: Collection[AccountDay],
    expired: Mapping[str, date],
    sealed: Mapping[str, datetime],
) -> Iterator[AccountDay]:
    """Days whose manifest was there when rows expired, and is not any more."""
    for (account, day), (other, later) in itertools.pairwise(sorted(manifests)):
        if account == other and 1 < (later - day).days <= GAP:
            for number in range(1, (later - day).days):
                if day + timedelta(number) <= expired.get(account, date.min):
                    yield account, day + timedelta(number)
    for account, day in closed:
        if account in sealed and end_of(day) <= sealed[account] and (account, day) not in manifests:
            yield account, day
