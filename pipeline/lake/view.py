"""A view of a lake: the files that a reader opens, as they were at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property

from pipeline.lake.damage import MissingFact
from pipeline.lake.manifest import LedgerFile, Versioned
from pipeline.lake.paths import LakeFile, date_of, landing_key
from pipeline.lake.watermark import Watermark
from pipeline.schema.facts import AccountDay

ListingSpan = tuple[str | None, date, datetime | None, datetime | None]
"""An account, a day, and the times when the first and last listings in a file ended.

Times are None, and for landing the account too, where only the files have them.
"""


@dataclass(frozen=True)
class View:
    """A lake as it was at one moment.

    ``files`` are what DuckDB opens, by table: none of a snapshot that is not committed, and no
    snapshot twice.
    """

    waiting: tuple[str, ...]
    """The snapshots that are in landing only, sorted."""
    files: Mapping[str, tuple[str, ...]]
    closed: Mapping[AccountDay, tuple[LakeFile, ...]]
    """The committed files of ``compacted/snapshots`` of every closed account-day."""
    late: Mapping[AccountDay, frozenset[str]]
    """The snapshots of closed days, or of days with history, that are in landing only."""
    spans: tuple[ListingSpan, ...]
    ids_of: Callable[[LakeFile], tuple[str, ...]]
    """Reads the snapshots of a committed file."""
    ledgers: Mapping[str, LedgerFile] = field(default_factory=dict)
    """What each of the ``closed`` files commits, by key."""
    broken: Mapping[str, LakeFile] = field(default_factory=dict)
    """By key, the committed ledger files whose data files are not those they name."""
    refused: frozenset[str] = frozenset()
    """Snapshots in landing below the seal: their writers withdraw them."""
    manifests: Mapping[AccountDay, Versioned] = field(default_factory=dict)
    intact: frozenset[AccountDay] = frozenset()
    """The days with a complete manifest of today's facts and without missing files."""
    history: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Files of facts, by fact, for the ``history_days`` only."""
    history_days: tuple[AccountDay, ...] = ()
    """The account-days whose history is current, or final."""
    final_days: tuple[AccountDay, ...] = ()
    """Those above the expiry watermark that depend on expired rows, and are never rebuilt."""
    watermarks: Mapping[str, Watermark] = field(default_factory=dict)
    missing_facts: tuple[MissingFact, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    """The version of each file of ``history``."""
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By table or fact, missing files that a ledger file or a manifest names."""
    without_rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Snapshots in landing, by table, that have no file: their ledger rows say whether they should."""
    older: frozenset[str] = frozenset()
    """Tables with files that lack a column of today's schema: read them by name."""

    def since(self, day: date) -> View:
        """The same without the files of earlier days: a reader sees a record that began then."""
        first = f"/date={day}/"

        def kept(files: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
            return {
                name: tuple(file for file in each if file[file.rindex("/date=") :] >= first)
                for name, each in files.items()
            }

        return replace(
            self,
            files=kept(self.files),
            history=kept(self.history),
            history_days=tuple(whose for whose in self.history_days if whose[1] >= day),
            final_days=tuple(whose for whose in self.final_days if whose[1] >= day),
            spans=tuple(span for span in self.spans if span[1] >= day),
        )

    @property
    def is_empty(self) -> bool:
        """Whether the lake is empty."""
        return not (self.waiting or self.closed or self.history_days)

    @cached_property
    def count(self) -> int:
        """The number of committed snapshots."""
        return len(self.waiting) + sum(each.snapshots for each in self.ledgers.values())

    def compacted_on(self, account: str, day: date) -> set[str]:
        """The snapshots of a closed account-day; late ones still in landing included."""
        files = self.closed.get((account, day), ())
        return {*self.late.get((account, day), ()), *(id_ for f in files for id_ in self.ids_of(f))}

    def ledger_keys(self, account: str, ids: Iterable[str]) -> dict[str, str]:
        """The key of the ledger file that commits each of these snapshots of an account."""
        waiting, found = {*self.waiting}, {}
        for id_ in ids:
            files = self.closed.get((account, date_of(id_)), ())
            if id_ in waiting or not files:
                found[id_] = landing_key("snapshots", id_)
            elif len(files) == 1:
                found[id_] = files[0].key
            else:
                found[id_] = next(f.key for f in files if id_ in self.ids_of(f))
        return found

    @cached_property
    def compacted(self) -> Mapping[AccountDay, tuple[str, ...]]:
        """The snapshots of each closed account-day, sorted; late ones still in landing included."""
        return {whose: tuple(sorted(self.compacted_on(*whose))) for whose in self.closed}

    @cached_property
    def snapshot_ids(self) -> tuple[str, ...]:
        """Every committed snapshot, sorted."""
        return tuple(sorted({*self.waiting, *(i for ids in self.compacted.values() for i in ids)}))


def own_bytes(files: Iterable[LakeFile]) -> dict[str, int]:
    """The bytes of ledger files by name, in the form of a manifest."""
    return {file.stem: file.entry.size for file in files}


def listing_spans(
    closed: Mapping[AccountDay, Iterable[LakeFile]],
    waiting: Iterable[LakeFile],
    manifests: Mapping[AccountDay, Versioned],
) -> Iterator[ListingSpan]:
    """When the listings of each day ended, from manifests that match these files."""
    for (account, day), files in sorted(closed.items()):
        m = manifests[account, day].manifest if (account, day) in manifests else None
        if m is None or own_bytes(files) != m.own_bytes:
            yield account, day, None, None
        elif m.first_listing_at:
            yield account, day, m.first_listing_at, m.last_listing_at
    for day in sorted({file.day for file in waiting}):
        yield None, day, None, None
