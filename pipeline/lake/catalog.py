"""The catalog: what a reader sees of a lake, every committed snapshot exactly once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from pipeline import schema
from pipeline.lake import damage, paths
from pipeline.lake.ledger import LedgerRow, read_day_ledger, read_landing_ledger
from pipeline.lake.manifest import LedgerFile, Manifests, Versioned, fact_versions, final_until
from pipeline.lake.paths import LakeFile, list_files, list_landing, moment_of
from pipeline.lake.table_file import has_columns
from pipeline.lake.view import View, listing_spans, own_bytes
from pipeline.lake.watermark import Watermark, read_watermarks
from pipeline.schema.facts import AccountDay
from pipeline.storage import Entry, LakeError, Missing, Storage

#: How often loading a view starts again where a file was swept or expired meanwhile.
_TRIES = 5
_TABLES = [table.name for table in schema.DATA_TABLES]

Closed = dict[AccountDay, list[LakeFile]]


class Catalog:
    """Finds the committed files of a lake; they never change, so each is read once."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.manifests = Manifests(storage)
        self._rows: dict[str, LedgerRow] = {}
        self._ledgers: dict[tuple[str, str], tuple[LedgerFile, tuple[str, ...]]] = {}

    def landed_row(self, snapshot_id: str) -> LedgerRow | None:
        """The ledger row of a snapshot in landing; None where it was swept meanwhile.

        Raises:
            LakeError: the file is not the ledger file of that snapshot.
        """
        if snapshot_id not in self._rows:
            try:
                self._rows[snapshot_id] = read_landing_ledger(self.storage, snapshot_id)
            except Missing:
                return None
        return self._rows[snapshot_id]

    def ids(self, file: LakeFile) -> tuple[str, ...]:
        """The snapshots of a committed file, sorted."""
        return self._ledger(file)[1]

    def ledger(self, file: LakeFile) -> LedgerFile:
        """The snapshots and data files that a committed file commits."""
        return self._ledger(file)[0]

    def _ledger(self, file: LakeFile) -> tuple[LedgerFile, tuple[str, ...]]:
        known = file.key, file.entry.etag
        if known not in self._ledgers:
            self._ledgers[known] = read_day_ledger(self.storage, file)
        return self._ledgers[known]

    def is_committed(self, snapshot_id: str) -> bool:
        """Whether the snapshot exists for readers, in landing or compacted."""
        if self.storage.find(paths.landing_key("snapshots", snapshot_id)):
            return True
        folder = f"compacted/snapshots/date={paths.date_of(snapshot_id).isoformat()}"
        return any(snapshot_id in self.ids(file) for file in list_files(self.storage, folder))

    def closed(self) -> Closed:
        """The ledger files of every account-day that is closed."""
        found: Closed = defaultdict(list)
        for file in list_files(self.storage, "compacted/snapshots"):
            found[file.account, file.day].append(file)
        return found

    def load(self) -> View:
        """The view of the lake as it is now.

        A snapshot that commits, or a day that closes or expires meanwhile, is in it whole or not at all.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._load()
            except Missing:
                continue
        return self._load()

    def _load(self) -> View:
        paths.refuse_old_layout(self.storage)
        # A snapshot moves from landing to compacted: this order of listings finds it in one of them.
        landed = list_landing(self.storage, "snapshots")
        closed = self.closed()
        in_landing = {table: list_landing(self.storage, table) for table in _TABLES}
        there = {file.key: file for files in closed.values() for file in files}
        beside = [file.beside(table) for file in there.values() for table in _TABLES]
        data = {entry.key: entry for entry in self.storage.entries("compacted", beside)}
        data |= {key: file.entry for key, file in there.items()}
        manifests = self.manifests.load()
        facts = {
            paths.history_key(fact, m.date, m.account): (fact, m.whose)
            for m, _ in manifests.values()
            for fact in m.files
        }
        built = {entry.key: entry for entry in self.storage.entries("history", facts)}
        every_day = {*manifests}
        for whose in self.manifests.changed(manifests):
            del manifests[whose]
        # Last: an expiry writes the watermark before it deletes data.
        watermarks = read_watermarks(self.storage)
        expired = {w for w in {*closed, *manifests} if w[0] in watermarks}
        expired = {(who, day) for who, day in expired if watermarks[who].has_expired(day)}
        for whose in expired & closed.keys():
            del closed[whose]
        missing = damage.missing_keys(manifests, every_day, built, there.keys(), closed, watermarks)
        ledgers, broken = self._ledgers_of(closed, landed, data, manifests, missing)

        waiting = self._waiting(landed, closed)
        final = final_until(manifests.values())
        late: dict[AccountDay, set[str]] = defaultdict(set)
        refused = set()
        touched = {day for _, day in (*closed, *manifests)}
        latest = max(
            (*final.values(), *(w.sealed_until for w in watermarks.values())), default=None
        )
        for id_, file in [*waiting.items()]:
            if file.day in touched or (latest and moment_of(id_) <= latest):
                try:
                    row = self.landed_row(id_)
                except LakeError:
                    continue  # a query names it
                if row is None:
                    raise Missing(id_)
                until, watermark = final.get(row.account), watermarks.get(row.account, Watermark())
                if watermark.has_expired(file.day) or (until and row.earliest(id_) <= until):
                    refused.add(id_)  # its writer withdraws it
                    del waiting[id_]
                else:
                    late[row.account, file.day].add(id_)

        visible = {file.key for files in closed.values() for file in files}
        visible |= {file.key for file in waiting.values()}
        versions = fact_versions()
        fixed = {w for w, (m, _) in manifests.items() if m.is_final or w in expired}
        complete = {w for w, (m, _) in manifests.items() if m.state == "complete"}
        intact = {
            whose
            for whose in complete - fixed
            if manifests[whose].manifest.facts == versions
            and not damage.absent(manifests[whose].manifest, built)
        }
        current = complete & fixed | {
            whose
            for whose in intact - late.keys()
            if own_bytes(closed.get(whose, ())) == manifests[whose].manifest.own_bytes
            and visible.issuperset(manifests[whose].manifest.ledger_files)
        }
        files: dict[str, list[Entry]] = {}
        for table, landing in {"snapshots": landed, **in_landing}.items():
            files[table] = [file.entry for id_, file in landing.items() if id_ in waiting]
            committed = [
                k for k, led in ledgers.items() if table == "snapshots" or table in led.data
            ]
            keys = [there[key].beside(table) for key in committed]
            files[table] += [data[key] for key in keys if key in data]
        history: dict[str, list[Entry]] = defaultdict(list)
        for key, entry in built.items():
            fact, whose = facts[key]
            if whose in current and entry.size == manifests[whose].manifest.files[fact]:
                history[fact].append(entry)
        return View(
            waiting=tuple(sorted(waiting)),
            files={table: self._urls(found) for table, found in files.items()},
            closed={whose: tuple(found) for whose, found in closed.items()},
            late={whose: frozenset(ids) for whose, ids in late.items()},
            spans=tuple(listing_spans(closed, waiting.values(), manifests)),
            ids_of=self.ids,
            ledgers=ledgers,
            broken=broken,
            refused=frozenset(refused),
            manifests=manifests,
            watermarks=watermarks,
            intact=frozenset(intact),
            history={fact: self._urls(entries) for fact, entries in history.items()},
            history_days=tuple(sorted(current)),
            final_days=tuple(sorted((current & fixed) - expired)),
            missing_facts=tuple(
                sorted(damage.missing_facts([manifests[whose].manifest for whose in fixed]))
            ),
            versions={self.storage.url(e.key): e.etag for es in history.values() for e in es},
            missing={
                name: tuple(sorted({self.storage.url(key) for key in keys}))
                for name, keys in missing.items()
                if keys
            },
            without_rows={t: tuple(sorted(waiting.keys() - ids)) for t, ids in in_landing.items()},
            older=frozenset(t for t, es in files.items() if not has_columns(self.storage, t, es)),
        )

    def _ledgers_of(
        self,
        closed: Closed,
        landed: Collection[str],
        data: Mapping[str, Entry],
        manifests: Mapping[AccountDay, Versioned],
        missing: dict[str, list[str]],
    ) -> tuple[dict[str, LedgerFile], dict[str, LakeFile]]:
        """What each closed file commits, and the ledger files whose data files are not theirs.

        A ledger file with data files of another compaction is removed from ``closed`` while landing has
        all its snapshots; otherwise its data files join ``missing``.
        """
        ledgers: dict[str, LedgerFile] = {}
        unknown: list[LakeFile] = []
        for whose, files in closed.items():
            own = manifests[whose].manifest.own if whose in manifests else {}
            for file in files:
                # from the manifest if it is about these bytes, else from the file
                known = own.get(file.stem)
                if known and known.bytes == file.entry.size:
                    ledgers[file.key] = known
                else:
                    unknown.append(file)
        read_now = self.storage.many(self.ledger, unknown)
        ledgers.update(zip((file.key for file in unknown), read_now, strict=True))
        broken = {}
        for whose, files in [*closed.items()]:
            for file in [*files]:
                sizes = {file.beside(t): size for t, size in ledgers[file.key].data.items()}
                torn = [
                    k for k, n in sizes.items() if k not in data or n not in (None, data[k].size)
                ]
                if torn:
                    broken[file.key] = file
                    if all(id_ in landed for id_ in self.ids(file)):
                        files.remove(file)
                        del ledgers[file.key]
                    else:
                        for key in torn:
                            missing[key.split("/")[1]].append(key)
            if not files:
                del closed[whose]
        return ledgers, broken

    def _waiting(self, landed: Mapping[str, LakeFile], closed: Closed) -> dict[str, LakeFile]:
        """Snapshots that are only in landing; reads ids of compacted files for its days only."""
        days = {file.day for file in landed.values()}
        files = [file for (_, day), found in closed.items() if day in days for file in found]
        compacted: set[str] = set().union(*self.storage.many(self.ids, files))
        return {id_: file for id_, file in landed.items() if id_ not in compacted}

    def _urls(self, entries: Iterable[Entry]) -> tuple[str, ...]:
        return tuple(self.storage.url(key) for key in sorted(entry.key for entry in entries))
