"""What is true of the planted fleet, worked out from its truth log in plain Python."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from math import floor

from tests.questions.planted import Key, Planted, incarnation

HOUR = timedelta(hours=1)

#: Times of the service and its Date header, which is cut to the second.
ALLOWED = timedelta(seconds=2)

UNBILLED = ("preempted", "deallocated")


def kinds(fleet: Planted) -> dict[Key, bool]:
    """Dedicated or not, by incarnation."""
    return {incarnation(each): each.is_dedicated for each in fleet.memberships}


def hours_in(
    fleet: Planted, states: Iterable[str], begin: datetime, end: datetime, *, nodes: Iterable[Key]
) -> float:
    """True hours that some nodes spent in some states between two moments."""
    wanted, among = set(states), set(nodes)
    return sum(
        max(min(each.ended_at or fleet.ended_at, end) - max(each.started_at, begin), timedelta(0))
        / HOUR
        for each in fleet.states
        if each.state in wanted and incarnation(each) in among
    )


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which a share of the values lies, between two of them in proportion."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    low = floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def seconds(later: datetime, earlier: datetime) -> float:
    """Seconds between two moments."""
    return (later - earlier).total_seconds()
