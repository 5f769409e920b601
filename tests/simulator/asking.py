"""What every worked-out question needs: its parameters, rounding, percentiles, grouping."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tests.simulator.facts import Table
from tests.simulator.record import Record

T = TypeVar("T")
Parameters = dict[str, Any]
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Question:
    """How a named question is worked out, and how its answer is compared."""

    answer: Callable[[Record, Parameters], Table]
    key: tuple[str, ...]
    asked: tuple[Parameters, ...] = ({},)
    """Parameters beside the pool and the range, a question each."""
    ignored: tuple[str, ...] = ()
    """Columns that depend on now, or tell texts."""
    needs_rows: tuple[str, ...] | bool = False
    """Whether it (or which columns of it) is told only of days whose rows are there."""
    has_moment: bool = False
    """Whether it takes a moment; without one it answers as of now, or of the end of the record."""


def within(parameters: Parameters, moment: datetime | None) -> bool:
    """Whether a moment is at or after ``from`` and before ``to``."""
    begins, ends = parameters.get("from"), parameters.get("to")
    if moment is None:
        return begins is None and ends is None
    return (begins is None or moment >= begins) and (ends is None or moment < ends)


def is_wanted(parameters: Parameters, pool_id: str) -> bool:
    """Whether the pool is asked for."""
    return parameters.get("pool") in (None, pool_id)


def grouped(rows: Iterable[T], key: Callable[[T], Hashable]) -> dict[Any, list[T]]:
    """Rows by what they have in common, in order."""
    found: dict[Any, list[T]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value below which a share of them lies, between two of them by distance."""
    ordered = sorted(values)
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


class Rounded(float):
    """A number that the answer rounds to so many digits; at a tie either is right."""

    digits: int


def rounded(value: float | None, digits: int) -> Rounded | None:
    """A number as it is before the answer rounds it."""
    if value is None:
        return None
    made = Rounded(value)
    made.digits = digits
    return made


def ratio(one: float | None, other: float | None) -> float | None:
    """A quotient; None where there is none."""
    return None if one is None or not other else one / other
