"""What a reader sees of a lake: every committed snapshot exactly once, from landing or from compacted.

Only listings decide, in an order that makes rival writers harmless: landing before compacted, the
ledger before the data, the marks of expired days last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from pipeline import facts, schema
from pipeline.storage import Missing
from pipeline.tablefile import read, read_names

if TYPE_CHECKING:
    from pipeline.lake import Lake, Place

#: How often a look that found a file gone is begun anew: a day expires, or is swept, once.
_LOOKS = 5

AccountDay = tuple[str, date]


@dataclass(frozen=True)
class View:
    """The lake as it stood at one moment: the files of every table that committed snapshots have.

    ``snapshot_ids`` are sorted; ``files`` are what DuckDB opens, by table, none of a snapshot that
    is not committed, and no snapshot twice.
    """

    snapshot_ids: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]
    compacted: Mapping[AccountDay, tuple[str, ...]] = field(default_factory=dict)
    """The account-days that are closed: the ids seen of each, late ones still in landing included."""
    history: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Files of facts, by fact: of the ``history_days`` only."""
    history_days: tuple[AccountDay, ...] = ()
    """The account-days whose history holds: made from the very ids seen of that day, or expired."""
    standing: tuple[AccountDay, ...] = ()
    """Of those, the days made with rows that have expired since: from rows they would tell less."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """What names the version of each of those files."""
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Compacted files, by table, that the ledger has rows for and that are not there."""
    without_rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Snapshots in landing, by table, that have no file: their ledger rows tell whether they should."""
    older: frozenset[str] = frozenset()
    """Tables with files that lack a column of today's schema: read them by name."""


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
    closed = [*lake.places("compacted/snapshots")]
    data = {
        table.name: (lake.landed(table.name), [*lake.places(f"compacted/{table.name}")])
        for table in schema.DATA_TABLES
    }
    days = [*lake.places("history/days")]
    made = _facts(lake)
    again = {place.key: place.etag for place in lake.places("history/days")}
    # Last: whose data an expiry has begun to delete has its mark by now.
    marks = lake.marks()

    closed = [place for place in closed if (place.account, place.day) not in marks]
    ids: dict[AccountDay, set[str]] = defaultdict(set)
    for place in closed:
        ids[place.account, place.day].update(lake.compacted_ids(place))
    compacted = set().union(*ids.values())
    waiting = {key: place for key, place in landed.items() if key not in compacted}
    seen = defaultdict(set, {whose: set(found) for whose, found in ids.items()})
    touched = {day for _, day in (*ids, *marks)} | {place.day for place in days}
    for key, place in list(waiting.items()):
        if place.day not in touched:
            continue
        whose = lake.ledger_row(key).account, place.day
        if whose in marks:
            del waiting[key]
        else:
            seen[whose].add(key)

    committed = {(place.day, place.stem) for place in closed}
    chosen = {"snapshots": [*waiting.values(), *closed]}
    for table, (in_landing, in_compacted) in data.items():
        chosen[table] = [place for key, place in in_landing.items() if key in waiting]
        chosen[table] += [place for place in in_compacted if (place.day, place.stem) in committed]
    there: dict[AccountDay, set[str]] = defaultdict(set)
    for fact, places in made.items():
        for place in places:
            there[place.stem, place.day].add(fact)
    current, standing = set(), set()
    for place in days:
        whose = place.stem, place.day
        if again.get(place.key) != place.etag:
            continue
        if whose in marks:
            current.add(whose)
        elif by := made_from(lake, place.key):
            if by.leans_on(marks, place.stem):
                standing.add(whose)
            elif by.files <= there[whose] and _is_current(by, place.day, seen.get(whose, set())):
                current.add(whose)
    current |= standing
    holding = {
        fact: [place for place in places if (place.stem, place.day) in current]
        for fact, places in made.items()
    }
    return View(
        tuple(sorted(compacted | waiting.keys())),
        {table: _urls(lake, places) for table, places in chosen.items()},
        {whose: tuple(sorted(seen[whose])) for whose in ids},
        {fact: _urls(lake, places) for fact, places in holding.items()},
        tuple(sorted(current)),
        tuple(sorted(standing)),
        {lake.storage.url(each.key): each.etag for places in holding.values() for each in places},
        _lacking(lake, closed, chosen),
        {
            table: tuple(sorted(waiting.keys() - in_landing.keys()))
            for table, (in_landing, _) in data.items()
        },
        frozenset(table for table, places in chosen.items() if _is_older(lake, table, places)),
    )


def _urls(lake: Lake, places: Iterable[Place]) -> tuple[str, ...]:
    return tuple(lake.storage.url(key) for key in sorted(place.key for place in places))


def _lacking(
    lake: Lake, closed: list[Place], chosen: Mapping[str, list[Place]]
) -> dict[str, tuple[str, ...]]:
    lacking: dict[str, list[str]] = defaultdict(list)
    there = {place.key for places in chosen.values() for place in places}
    for place in closed:
        for table in sorted(lake.compacted_tables(place)):
            key = place.key.replace("/snapshots/", f"/{table}/", 1)
            if key not in there:
                lacking[table].append(lake.storage.url(key))
    return {table: tuple(sorted(urls)) for table, urls in lacking.items()}


def _facts(lake: Lake) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = defaultdict(list)
    for place in lake.places("history"):
        fact = place.key.split("/")[1]
        if fact != "days":
            found[fact].append(place)
    return found


def _is_current(made: MadeFrom, day: date, seen: set[str]) -> bool:
    """Whether the history of a day was made from the snapshots seen of it.

    A day within a gap has history and no snapshot.
    """
    own = {id_ for id_ in made.ids if id_.startswith(f"{day:%Y%m%d}")}
    return made.facts == facts.versions() and own == seen


@dataclass(frozen=True)
class MadeFrom:
    """What a day's history was made from: snapshots, those around the day too, and by which facts."""

    ids: frozenset[str]
    facts: str
    files: frozenset[str] = frozenset()
    """The facts that have a file of that day; empty where an older version did not tell."""

    def leans_on(self, marks: Iterable[AccountDay], account: str) -> str | None:
        """An expired day whose rows it was made from: it stands, made anew it would tell less."""
        days = {f"{day:%Y%m%d}": f"{day}" for whose, day in marks if whose == account}
        return next((days[id_[:8]] for id_ in sorted(self.ids) if id_[:8] in days), None)


def made_from(lake: Lake, key: str) -> MadeFrom | None:
    """What a file of ``history/days`` tells; None where there is none."""
    try:
        rows = read(lake.storage, key, ["snapshot_id"])
    except Missing:
        return None
    told = rows.schema.metadata or {}
    by, files = (told.get(key.encode(), b"").decode() for key in (facts.MADE, facts.FILES))
    return MadeFrom(frozenset(rows["snapshot_id"].to_pylist()), by, frozenset(files.split()))


def _is_older(lake: Lake, table: str, places: list[Place]) -> bool:
    """Whether some file lacks a column: the one that was written first tells for all."""
    if not places:
        return False
    oldest = min(places, key=lambda place: place.modified)
    names = {column.name for column in schema.TABLES[table].stored}
    return bool(names - read_names(lake.storage, oldest.key))
