"""Builds the history of closed days: finds stale days, and replaces their files safely."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import msgspec

from pipeline.lake import FACTS_FROM, Lake, date_of, history_key
from pipeline.lake.day_file import put_rows
from pipeline.lake.manifest import Manifest, Versioned, fact_versions, put_manifest
from pipeline.lake.paths import end_of, landing_key, manifest_key
from pipeline.lake.watermark import Watermark
from pipeline.maintain.facts import MEMORY_ADVICE, FactBuilder, connect, default_builder, listed
from pipeline.storage import Changed, LakeError, Lock, Locked, Over

if TYPE_CHECKING:
    from pipeline.query import Connection

log = logging.getLogger("nodelake.compact")


class Stale(NamedTuple):
    """A day whose manifest does not match the files that a reader sees."""

    day: date
    ids: frozenset[str]
    """The snapshots of its window, and those of the day."""
    ledger_files: tuple[str, ...]
    old: Versioned | None
    is_renamed: bool
    """The snapshots are the same, but in other files."""


class HistoryBuild:
    """Builds the history of one account while it holds the compaction lock.

    ``built`` counts the rebuilt days; ``waits`` is the reason where history has to wait.
    """

    def __init__(
        self, lake: Lake, account: str, lock: Lock, builder: FactBuilder | None = None
    ) -> None:
        self.lake = lake
        self.storage = lake.storage
        self.account = account
        self.lock = lock
        self.builder = builder or default_builder()
        self.built = 0
        self.waits: list[str] = []

    def run(self, is_closed: Callable[[date], bool], tries: int = 3) -> None:
        """Builds every closed day whose history is stale.

        A day in a gap of the record has history too, but no snapshots. ``tries``: how often the build
        starts again where files are replaced meanwhile.
        """
        missed = self.storage.missed
        try:
            with connect(self.lake) as connection:
                stale = [each for each in self.stale(connection) if is_closed(each.day)]
                # All manifests before the first build: no day may be current while a neighbour is stale.
                begun = [self._begin(connection, each) for each in stale]
                missing = [*self.lake.missing(connection.view, {"snapshots", *FACTS_FROM})]
                for each, over in zip(stale, begun, strict=True):
                    if not each.is_renamed:
                        self._build(connection, each, over, missing)
        except (Changed, Locked):
            raise
        except duckdb.OutOfMemoryException:
            self._wait(MEMORY_ADVICE)
        except duckdb.Error as error:
            # a rewritten import has the same rows in another version
            if self.storage.missed > missed and tries > 1:
                self.run(is_closed, tries - 1)
            else:
                self._wait(str(error))
        except LakeError as error:
            self._wait(str(error))  # a damaged file: the days that depend on it are unknown

    def stale(self, connection: Connection) -> list[Stale]:
        """The days with stale history, sorted, without final ones."""
        view = connection.view
        windows = self.windows = self.builder.windows(connection, self.account)
        closed = {day for who, day in view.closed if who == self.account and self.builder.FACTS}
        watermark = view.watermarks.get(self.account, Watermark())
        found = []
        for day in sorted(closed | windows.keys()):
            ids = {*windows.get(day, ()), *view.compacted_on(self.account, day)}
            old = view.manifests.get((self.account, day))
            if old and old.manifest.is_final:
                continue
            if day not in closed and any(date_of(id_) == day for id_ in ids):
                continue  # its rows are only in landing
            if old is None and watermark.is_final(end_of(day)):
                key = manifest_key(day, self.account)
                self._wait(
                    f"{self.storage.url(key)}: the file is missing: restore it from a backup"
                )
                continue
            names = view.ledger_keys(self.account, ids)
            files = tuple(sorted({*names.values()}))
            known = {*old.manifest.ledger_files} if old else set()
            is_current = (self.account, day) in view.history_days
            if is_current and known == {*files}:
                continue
            is_renamed = (
                (self.account, day) in view.intact
                and {key for key in known if key.startswith("compacted/")} <= {*files}
                and all(
                    name in known or landing_key("snapshots", id_) in known
                    for id_, name in names.items()
                )
            )
            found.append(Stale(day, frozenset(ids), files, old, is_renamed))
        return found

    def _begin(self, connection: Connection, stale: Stale) -> Over:
        """Updates a manifest whose files only moved; marks other days "being rebuilt".

        Returns the version that the manifest of the rebuilt day replaces.
        """
        if stale.old is None:
            return "nothing"
        self.lock.check()
        manifest = msgspec.structs.replace(stale.old.manifest, state="being rebuilt")
        if stale.is_renamed:
            manifest = self._manifest(connection, stale, stale.old.manifest.files)
        return put_manifest(self.storage, manifest, stale.old.entry)

    def _build(
        self, connection: Connection, stale: Stale, begun: Over, missing: Iterable[str]
    ) -> None:
        """Writes the files of a day's facts, then the manifest that names them."""
        day = stale.day
        days = {day, *map(date_of, stale.ids)}
        days |= {each + timedelta(step) for each in (min(days), max(days)) for step in (-1, 1)}
        names = {f"date={each}/{self.account}{end}" for each in days for end in (".", "-late-")}
        for url in missing:  # with fewer rows the facts would be incomplete
            if any(name in url for name in names) or url.rpartition("/")[2][:-8] in stale.ids:
                self._wait(f"{day}: {url}: the file is missing: restore it from a backup")
                return
        files = {}
        for fact, rows in self.builder.build_day(connection, self.account, day):
            key = history_key(fact, day, self.account)
            over: Over = self.storage.find(key) or "nothing"
            files[fact] = put_rows(self.storage, key, rows, over, self.lock.check).size
        for fact in {*self.builder.FACTS} - files.keys():
            there = self.storage.find(history_key(fact, day, self.account))
            if there:
                self.lock.check()
                self.storage.delete(there)
        self.lock.check()
        put_manifest(self.storage, self._manifest(connection, stale, files), begun)
        self.built += 1

    def _manifest(self, connection: Connection, stale: Stale, files: Mapping[str, int]) -> Manifest:
        view, day = connection.view, stale.day
        own = {f.stem: view.ledgers[f.key] for f in view.closed.get((self.account, day), ())}
        first, last = listed(connection, self.account, view.compacted_on(self.account, day))
        _, latest = listed(connection, self.account, stale.ids)
        return Manifest(
            account=self.account,
            date=day,
            ledger_files=stale.ledger_files,
            own=own,
            facts=fact_versions(),
            files={**files},
            first_listing_at=first,
            last_listing_at=last,
            latest_listing_at=latest,
        )

    def _wait(self, why: str) -> None:
        log.error("no history of %s: %s", self.account, why)
        self.waits.append(why)
