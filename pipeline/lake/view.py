"""What a reader sees of a lake: every committed snapshot exactly once, from landing or from compacted.

Only listings decide, in an order that makes rival writers harmless: landing before compacted, the
ledger before the data, the marks of expired days last. Where the key of a file is known it is looked
up, not searched for: a year has seven thousand directories of one file each.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline import schema
from pipeline.lake.committed import Held, MadeFrom, Untold, added, made_from, sum_of
from pipeline.lake.table_file import read_names
from pipeline.schema import facts
from pipeline.schema.facts import AccountDay
from pipeline.storage import Entry, LakeError, Missing

if TYPE_CHECKING:
    from pipeline.lake.lake import Lake, Place

#: The fact that is deleted last where a day's history is given up.
_FIRST = max(facts.FACTS)
#: How often a look that found a file gone is begun anew: a day expires, or is swept, once.
_LOOKS = 5


ListingSpan = tuple[str | None, date, datetime | None, datetime | None]
"""An account and a day, and when the first and the last of its listings ended that a file holds.

No times, and where they are a landing's no account: only the file tells.
"""


@dataclass(frozen=True)
class View:
    """The lake as it stood at one moment: the files of every table that committed snapshots have.

    ``files`` are what DuckDB opens, by table, none of a snapshot that is not committed, and no
    snapshot twice.
    """

    count: int
    """How many snapshots are committed."""
    waiting: tuple[str, ...]
    """Those that are in landing only, sorted."""
    files: Mapping[str, tuple[str, ...]]
    closed: Mapping[AccountDay, tuple[Place, ...]]
    """The account-days that are closed: their committed files of ``compacted/snapshots``."""
    late: Mapping[AccountDay, frozenset[str]]
    """The snapshots of days that are closed, or have history, which are in landing only."""
    spans: tuple[ListingSpan, ...]
    """When the listings of each of those files ended, and of each day that landing has files of."""
    ids_of: Callable[[Place], tuple[str, ...]]
    """Reads the snapshots of a committed file."""
    history: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Files of facts, by fact: of the ``history_days`` only."""
    history_days: tuple[AccountDay, ...] = ()
    """The account-days whose history holds: made from the very ids seen of that day, or expired."""
    standing: tuple[AccountDay, ...] = ()
    """Of those, the days made with rows that have expired since: from rows they would tell less."""
    untold: tuple[Untold, ...] = ()
    """What history cannot tell of days whose rows have expired, or that lean on such: sorted."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """What names the version of each of those files."""
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Compacted files, by table, that the ledger has rows for and that are not there."""
    without_rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Snapshots in landing, by table, that have no file: their ledger rows tell whether they should."""
    older: frozenset[str] = frozenset()
    """Tables with files that lack a column of today's schema: read them by name."""

    @cached_property
    def compacted(self) -> Mapping[AccountDay, tuple[str, ...]]:
        """The ids seen of each closed account-day, sorted; late ones still in landing included."""
        return {
            whose: tuple(
                sorted({*self.late.get(whose, ()), *(i for p in places for i in self.ids_of(p))})
            )
            for whose, places in self.closed.items()
        }

    @cached_property
    def snapshot_ids(self) -> tuple[str, ...]:
        """Every committed snapshot, sorted."""
        return tuple(sorted({*self.waiting, *(i for ids in self.compacted.values() for i in ids)}))


def look(lake: Lake) -> View:
    """Looks at a lake; begins anew where a file was swept or expired while it looked."""
    for _ in range(_LOOKS - 1):
        try:
            return _look(lake)
        except Missing:
            continue
    return _look(lake)


def _look(lake: Lake) -> View:
    # A snapshot moves from landing to compacted: listed in this order it is in one of them.
    landed = lake.landed("snapshots")
    listed = [((place.account, place.day), place) for place in lake.places("compacted/snapshots")]
    in_landing = {table.name: lake.landed(table.name) for table in schema.DATA_TABLES}
    in_compacted = _beside(lake, listed)
    past = _Past.of(lake)
    # Last: whose data an expiry has begun to delete has its mark by now.
    marks = lake.marks()

    closed: dict[AccountDay, list[Place]] = defaultdict(list)
    for whose, place in listed:
        if whose not in marks:
            closed[whose].append(place)
    held = past.held(lake, closed)
    waiting = _waiting(lake, landed, closed)
    touched = {day for _, day in (*closed, *marks, *past.made)}
    late: dict[AccountDay, set[str]] = defaultdict(set)
    for id_, place in [*waiting.items()]:
        if place.day not in touched:
            continue
        whose = lake.ledger_row(id_).account, place.day
        if whose in marks:
            del waiting[id_]
        else:
            late[whose].add(id_)
    alone = past.made.keys() - closed.keys() - late.keys() - marks
    rowless = rowless_of(lake, {w: by for w, (_, by) in past.made.items() if w in alone})
    current, standing = past.current(
        {
            whose: added([*(held[p.key].sum for p in closed.get(whose, ())), sum_of(late[whose])])
            for whose in {*closed, *late}
        },
        marks | rowless,
    )
    standing |= rowless & current

    files: dict[str, list[Place | Entry]] = {
        "snapshots": [*waiting.values(), *(p for places in closed.values() for p in places)]
    }
    for table, places in in_landing.items():
        files[table] = [place for id_, place in places.items() if id_ in waiting]
        files[table] += [entry for whose, entry in in_compacted[table] if whose in closed]
    history = {
        fact: [entry for whose, entry in entries if whose in current and fact in past.there[whose]]
        for fact, entries in past.entries.items()
    }
    return View(
        sum(each.count for each in held.values()) + len(waiting),
        tuple(sorted(waiting)),
        {table: _urls(lake, found) for table, found in files.items()},
        {whose: tuple(places) for whose, places in closed.items()},
        {whose: frozenset(ids) for whose, ids in late.items()},
        tuple(_spans(held, closed, waiting)),
        lake.compacted_ids,
        {fact: _urls(lake, entries) for fact, entries in history.items()},
        tuple(sorted(current)),
        tuple(sorted(standing)),
        tuple(sorted([*past.untold(lake, marks, standing), *_unmarked(rowless & current)])),
        {lake.storage.url(each.key): each.etag for found in history.values() for each in found},
        _lacking(lake, held, files),
        {
            table: tuple(sorted(waiting.keys() - places.keys()))
            for table, places in in_landing.items()
        },
        frozenset(table for table, found in files.items() if _is_older(lake, table, found)),
    )


def rowless_of(lake: Lake, made: Mapping[AccountDay, MadeFrom | None]) -> set[AccountDay]:
    """Of days with history those whose rows are gone, though no expiry gave them up.

    What deleted them, or lost the mark, is not known: their history is all there is of them.
    """
    told = {whose for whose, by in made.items() if by and by.own}
    if not told:
        return told
    landed = lake.landed("snapshots")  # first: what is compacted meanwhile is seen there
    told -= {(place.account, place.day) for place in lake.places("compacted/snapshots")}
    told -= lake.marks()
    for snapshot_id, place in landed.items():
        those = {whose for whose in told if whose[1] == place.day}
        if those:
            with contextlib.suppress(LakeError):  # damaged: whose it is nobody knows
                told -= those & {(_account(lake, snapshot_id), place.day)}
    return told


def _account(lake: Lake, snapshot_id: str) -> str:
    """Whose a snapshot in landing is; of one that was swept meanwhile the compacted file tells."""
    try:
        return lake.ledger_row(snapshot_id).account
    except Missing:
        folder = f"compacted/snapshots/date={snapshot_id[:4]}-{snapshot_id[4:6]}-{snapshot_id[6:8]}"
        found = [p for p in lake.places(folder) if snapshot_id in lake.compacted_ids(p)]
        return found[0].account if found else ""


def _unmarked(rowless: Iterable[AccountDay]) -> Iterator[Untold]:
    return ((account, day, "days", "unmarked") for account, day in rowless)


def _urls(lake: Lake, files: Iterable[Place | Entry]) -> tuple[str, ...]:
    return tuple(lake.storage.url(key) for key in sorted(file.key for file in files))


def _of_table(key: str, table: str) -> str:
    """Where a table's rows lie of the snapshots that a file of ``compacted/snapshots`` commits."""
    return key.replace("/snapshots/", f"/{table}/", 1)


def _spans(
    held: Mapping[str, Held],
    closed: Mapping[AccountDay, list[Place]],
    waiting: Mapping[str, Place],
) -> Iterator[ListingSpan]:
    for (account, day), places in sorted(closed.items()):
        for span in (held[place.key].span for place in places):
            if span == "unknown":
                yield account, day, None, None
            elif span is not None:
                yield account, day, *span
    for day in sorted({place.day for place in waiting.values()}):
        yield None, day, None, None


def _beside(
    lake: Lake, listed: Iterable[tuple[AccountDay, Place]]
) -> dict[str, list[tuple[AccountDay, Entry]]]:
    """The files of the data tables that those of ``compacted/snapshots`` commit."""
    named = {
        _of_table(place.key, table.name): (table.name, whose)
        for whose, place in listed
        for table in schema.DATA_TABLES
    }
    found: dict[str, list[tuple[AccountDay, Entry]]] = {t.name: [] for t in schema.DATA_TABLES}
    for entry in lake.storage.entries("compacted", named.keys()):
        table, whose = named[entry.key]
        found[table].append((whose, entry))
    return found


def _waiting(
    lake: Lake, landed: Mapping[str, Place], closed: Mapping[AccountDay, list[Place]]
) -> dict[str, Place]:
    """What is in landing and not compacted; ids are read only of the days that landing has too."""
    days = {f"{place.day:%Y%m%d}" for place in landed.values()} | {id_[:8] for id_ in landed}
    beside = [p for (_, day), places in closed.items() if f"{day:%Y%m%d}" in days for p in places]
    compacted: set[str] = set().union(*lake.storage.many(lake.compacted_ids, beside))
    return {id_: place for id_, place in landed.items() if id_ not in compacted}


@dataclass(frozen=True)
class _Past:
    """The history that there is."""

    made: Mapping[AccountDay, tuple[Place, MadeFrom | None]]
    """The files of ``history/days``, and what they tell."""
    entries: Mapping[str, list[tuple[AccountDay, Entry]]]
    """The files of each fact."""
    again: Mapping[str, str]
    """The versions of the files of ``history/days`` after those were looked up."""

    @classmethod
    def of(cls, lake: Lake) -> _Past:
        """As it lies there now."""
        days = [*lake.places("history/days")]
        told = lake.storage.many(lambda place: made_from(lake.storage, place.key, place.day), days)
        made = {(p.stem, p.day): (p, by) for p, by in zip(days, told, strict=True)}
        named = {
            place.key.replace("/days/", f"/{fact}/", 1): (fact, whose)
            for whose, (place, by) in made.items()
            for fact in ((by and by.files) or facts.FACTS)  # an older version does not tell
        }
        entries: dict[str, list[tuple[AccountDay, Entry]]] = defaultdict(list)
        for entry in lake.storage.entries("history", named.keys()):
            fact, whose = named[entry.key]
            entries[fact].append((whose, entry))
        again = lake.storage.entries("history/days", [place.key for place in days])
        return cls(made, entries, {entry.key: entry.etag for entry in again})

    def held(self, lake: Lake, closed: Mapping[AccountDay, list[Place]]) -> dict[str, Held]:
        """What committed files hold: as history tells it of that very version, or as they tell it."""
        found: dict[str, Held] = {}
        others: list[Place] = []
        for whose, places in closed.items():
            _, by = self.made.get(whose, (None, None))
            for place in places:
                etag, told = (by.held.get(place.stem) if by else None) or ("", None)
                if told and etag == place.etag:
                    found[place.key] = told
                else:
                    others.append(place)
        found.update(
            zip((p.key for p in others), lake.storage.many(lake.held, others), strict=True)
        )
        return found

    def current(
        self, seen: Mapping[AccountDay, int], marks: Collection[AccountDay]
    ) -> tuple[set[AccountDay], set[AccountDay]]:
        """The days whose history holds, and of them those made with rows that have expired.

        Args:
            seen: the sum of the snapshots seen of each day: a day within a gap has history and none.
            marks: the days that have expired.
        """
        there = self.there
        current, standing = set(), set()
        versions = facts.versions()
        for whose, (place, by) in self.made.items():
            if self.again.get(place.key) != place.etag:
                continue
            if whose in marks:
                current.add(whose)
            elif by and by.leans_on(marks, place.stem):
                standing.add(whose)
            elif (
                by
                and by.files <= there[whose]
                and (by.facts, by.own) == (versions, seen.get(whose, 0))
            ):
                current.add(whose)
        return current | standing, standing

    @cached_property
    def there(self) -> Mapping[AccountDay, set[str]]:
        """The facts that have a file of each day: the one that was made, by its size."""
        there: dict[AccountDay, set[str]] = defaultdict(set)
        for fact, entries in self.entries.items():
            for whose, entry in entries:
                _, by = self.made[whose]
                if by is None or by.sizes.get(fact, entry.size) == entry.size:
                    there[whose].add(fact)
        return there

    def untold(
        self, lake: Lake, marks: Collection[AccountDay], standing: Collection[AccountDay]
    ) -> Iterator[Untold]:
        """What is not told of the days that rows cannot tell of any more."""
        for (account, day), (_, by) in self.made.items():
            if by and ((account, day) in marks or (account, day) in standing):
                for fact, why in by.untold(self.there[account, day]).items():
                    yield account, day, fact, why
        # history that was given up has no file; where some are there the one that tells of them is lost
        named = {
            f"history/{_FIRST}/date={day.isoformat()}/{account}.parquet": (account, day)
            for account, day in {*marks} - self.made.keys()
        }
        for entry in lake.storage.entries(f"history/{_FIRST}", named.keys()):
            yield *named[entry.key], "days", "missing"
        for account, day in lake.lost(marks, self.made.keys()):
            yield account, day, "days", "rows missing"


def _lacking(
    lake: Lake, held: Mapping[str, Held], files: Mapping[str, list[Place | Entry]]
) -> dict[str, tuple[str, ...]]:
    lacking: dict[str, list[str]] = defaultdict(list)
    there = {file.key for found in files.values() for file in found}
    for key, each in held.items():
        for table in sorted(each.tables):
            if (beside := _of_table(key, table)) not in there:
                lacking[table].append(lake.storage.url(beside))
    return {table: tuple(sorted(urls)) for table, urls in lacking.items()}


def _is_older(lake: Lake, table: str, files: list[Place | Entry]) -> bool:
    """Whether some file lacks a column: the one that was written first tells for all."""
    if not files:
        return False
    oldest = min(files, key=lambda file: file.modified)
    names = {column.name for column in schema.TABLES[table].stored}
    return bool(names - read_names(lake.storage, oldest.key))
