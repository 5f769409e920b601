"""What closed days hold, told by the footers of their files: which snapshots, rows of which tables.

A year has a hundred thousand snapshots. Nobody reads their ids to open a lake: a set of them has a
sum, and a day's file of ``history/days`` tells the sums of the files it was made from.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.lake.table_file import read, read_metadata, read_range
from pipeline.schema import facts
from pipeline.schema.facts import AccountDay
from pipeline.storage import LakeError, Missing, Storage

if TYPE_CHECKING:
    from pipeline.lake.lake import Place

#: Under this key a committed file of ``compacted/snapshots`` tells what it holds.
HELD = b"nodelake.held"
_BITS = 256
#: Where it is told when a listing ended.
_LISTINGS = (("snapshots", "pool_listing_finished_at"), ("pools", "listing_finished_at"))

_Told = TypeVar("_Told")


def sum_of(ids: Iterable[str]) -> int:
    """A number that tells a set of snapshots from every other; those of disjoint sets add up."""
    return added(int.from_bytes(sha256(id_.encode()).digest(), "big") for id_ in ids)


def added(sums: Iterable[int]) -> int:
    """The sum of the union of disjoint sets."""
    return sum(sums) % (1 << _BITS)


Span = tuple[datetime, datetime]
"""When the first and the last listing of some snapshots ended, by the service's clock."""


@dataclass(frozen=True)
class Held:
    """What a committed file of ``compacted/snapshots`` holds.

    ``count`` snapshots, their ids of this ``sum``, with rows in these ``tables``.
    """

    count: int
    sum: int
    tables: frozenset[str]
    span: Span | Literal["unknown"] | None = "unknown"
    """Of their listings, of the account and of its pools; None where none tells its time."""

    @classmethod
    def of(cls, ids: Iterable[str], rows: Mapping[str, int | None]) -> Held:
        """Of snapshots and how many rows they have by table."""
        named = {*ids}
        tables = frozenset(table for table, count in rows.items() if count)
        return cls(len(named), sum_of(named), tables)

    def within(self, columns: pa.Schema) -> pa.Schema:
        """A schema of the ledger whose file tells it."""
        return columns.with_metadata({**(columns.metadata or {}), HELD: json.dumps(self.told())})

    def told(self) -> list[Any]:
        """As JSON has it."""
        span = (
            [each.isoformat() for each in self.span] if isinstance(self.span, tuple) else self.span
        )
        return [self.count, f"{self.sum:x}", " ".join(sorted(self.tables)), span]

    @classmethod
    def read(cls, told: list[Any]) -> Held:
        """The same back."""
        count, total, tables, span = told
        if isinstance(span, list):
            first, last = map(datetime.fromisoformat, span)
            span = first, last
        return cls(count, int(total, 16), frozenset(tables.split()), span)


class Committed:
    """What the committed files of ``compacted/snapshots`` say; they never change, each is read once."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._ids: dict[str, tuple[str, ...]] = {}
        self._held: dict[str, Held] = {}

    def held(self, place: Place) -> Held:
        """What a file holds; of one that an older version wrote the ledger's columns are read.

        Raises:
            LakeError: it is of another account: a copy, or renamed. Its snapshots would be seen twice.
        """
        if place.key not in self._held:
            self._refuse_copy(place)
            told = _parsed(read_metadata(self.storage, place.key).get(HELD), Held.read)
            told = told or self._read(place.key)
            self._held[place.key] = replace(told, span=self._span(place.key))
        return self._held[place.key]

    def _refuse_copy(self, place: Place) -> None:
        try:
            accounts = {str(each) for each in read_range(self.storage, place.key, "account") or ()}
        except ValueError:  # the footer does not tell
            return
        if accounts and accounts != {place.account}:
            url, whose = self.storage.url(place.key), " and ".join(sorted(accounts))
            raise LakeError(
                f"{url}: by its name it is of account {place.account}, its rows are of {whose}: a copy? "
                "Give it its name back, or move it out of the lake"
            )

    def _span(self, key: str) -> Span | Literal["unknown"] | None:
        ends: list[datetime] = []
        for table, column in _LISTINGS:
            with contextlib.suppress(Missing):  # it had no rows
                try:
                    beside = key.replace("/snapshots/", f"/{table}/", 1)
                    ends += read_range(self.storage, beside, column) or ()
                except ValueError:
                    return "unknown"
        return (min(ends), max(ends)) if ends else None

    def ids(self, place: Place) -> tuple[str, ...]:
        """The snapshots of a file, sorted."""
        if place.key not in self._ids:
            self._read(place.key)
        return self._ids[place.key]

    def _read(self, key: str) -> Held:
        names = {table.name: f"{table.name}_rows" for table in schema.DATA_TABLES}
        rows = read(self.storage, key, ["snapshot_id", *names.values()])
        there = {name: rows[c] for name, c in names.items() if c in rows.column_names}
        counts = {name: pc.sum(each).as_py() or 0 for name, each in there.items()}
        self._ids[key] = tuple(sorted(rows["snapshot_id"].to_pylist()))
        return Held.of(self._ids[key], counts)


Why = Literal["added later", "made otherwise", "missing", "rows missing", "unmarked"]
"""Why history of a day whose rows have expired does not tell a fact: its days came before the fact,
or before its SQL of today, or the file is gone; or the day is answered from those of its rows that
are left; or its rows are gone, and no expiry has given them up."""

Untold = tuple[str, date, str, Why]
"""An account, a day, a fact, and why; fact ``days`` where what tells of that day's history is gone."""


@dataclass(frozen=True)
class MadeFrom:
    """What a day's history was made from: snapshots, those around the day too, and by which facts."""

    facts: str
    days: tuple[date, ...]
    """The days of the snapshots, sorted."""
    sum: int
    """Of all their ids."""
    own: int
    """Of the ids of the day itself."""
    files: frozenset[str] = frozenset()
    """The facts that have a file of that day; empty where an older version did not tell."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """The bytes of each of those files; empty where an older version did not tell."""
    held: Mapping[str, tuple[str, Held]] = field(default_factory=dict)
    """By name, the version of each compacted file of the day, and what that holds."""

    def leans_on(self, marks: Collection[AccountDay], account: str) -> date | None:
        """An expired day whose rows it was made from: it stands, made anew it would tell less."""
        return next((day for day in self.days if (account, day) in marks), None)

    def untold(self, there: Collection[str]) -> dict[str, Why]:
        """The facts that it does not tell as they are made today, and why; no rows can tell them.

        Args:
            there: the facts that have a file of that day.
        """
        made = dict(each.rpartition(":")[::2] for each in self.facts.split())
        files = self.files or made.keys()
        found: dict[str, Why] = {}
        for name, fact in facts.FACTS.items():
            if name not in made:
                found[name] = "added later"
            elif name in files and name not in there:
                found[name] = "missing"
            elif made[name] != str(fact.version):
                found[name] = "made otherwise"
        return found


#: Under this key a file of ``history/days`` tells the rest of it.
_MADE_FROM = b"nodelake.made_from"
_DAYS = pa.schema([pa.field("snapshot_id", pa.string()), pa.field("account", pa.string())])


def days_file(
    whose: AccountDay,
    ids: Collection[str],
    made: Mapping[str, int],
    held: Mapping[str, tuple[str, Held]],
) -> pa.Table:
    """The file of ``history/days`` of an account-day.

    Args:
        whose: the account-day whose facts were made.
        ids: the snapshots they were made from.
        made: the bytes of the file of each fact that has one of that day.
        held: as in ``MadeFrom``.
    """
    account, day = whose
    told = {
        "days": [each.isoformat() for each in _days(ids)],
        "sum": f"{sum_of({*ids}):x}",
        "own": f"{sum_of(_own(ids, day)):x}",
        "held": {stem: [etag, each.told()] for stem, (etag, each) in held.items()},
        "sizes": {**made},
    }
    footer = {
        facts.MADE: facts.versions(),
        facts.FILES: " ".join(sorted(made)),
        _MADE_FROM: json.dumps(told),
    }
    columns = [pa.array(sorted(ids), pa.string()), pa.array([account] * len(ids), pa.string())]
    return pa.Table.from_arrays(columns, schema=_DAYS.with_metadata(footer))


def made_from(storage: Storage, key: str, day: date) -> MadeFrom | None:
    """What a file of ``history/days`` tells; None where there is none."""
    try:
        footer = read_metadata(storage, key)
        by, files = (footer.get(name.encode(), b"").decode() for name in (facts.MADE, facts.FILES))
        made = _parsed(
            footer.get(_MADE_FROM), lambda told: _made_from(by, frozenset(files.split()), told)
        )
        if made is not None:
            return made
        # an older version told the ids only
        ids = {*read(storage, key, ["snapshot_id"])["snapshot_id"].to_pylist()}
    except Missing:
        return None
    own = sum_of(_own(ids, day))
    return MadeFrom(by, _days(ids), sum_of(ids), own, frozenset(files.split()))


def _made_from(by: str, files: frozenset[str], told: dict[str, Any]) -> MadeFrom:
    held = {stem: (etag, Held.read(each)) for stem, (etag, each) in told["held"].items()}
    days = tuple(map(date.fromisoformat, told["days"]))
    sums = int(told["sum"], 16), int(told["own"], 16)
    return MadeFrom(by, days, *sums, files, told.get("sizes", {}), held)


def _parsed(told: bytes | None, read: Callable[[Any], _Told]) -> _Told | None:
    """What a footer tells; None where it tells nothing, or something else."""
    if told is None:
        return None
    try:
        return read(json.loads(told))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _own(ids: Iterable[str], day: date) -> set[str]:
    return {id_ for id_ in ids if id_.startswith(f"{day:%Y%m%d}")}


def _days(ids: Iterable[str]) -> tuple[date, ...]:
    found = []
    for digits in sorted({id_[:8] for id_ in ids}):
        with contextlib.suppress(ValueError):  # a stray's
            found.append(date.fromisoformat(f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"))
    return tuple(found)
