"""Core-hours of a pool in half hours, as ``/poolusagemetrics`` gives them.

A node counts while it has a machine: in every state but preempted and deallocated.
"""

from collections.abc import Iterator

from ..times import DAY, MINUTE

INTERVAL = 30 * MINUTE
_KEPT = 60 * DAY


class Usage:
    """Machine time of one pool, in microseconds per half hour (by its start)."""

    def __init__(self, oldest: int) -> None:
        """Count nothing before ``oldest``."""
        self.total = 0
        self._oldest = oldest
        self._intervals: dict[int, int] = {}

    def add(self, started_at: int, ended_at: int, machines: int = 1) -> None:
        """Count machines in use from one time to another."""
        at = max(started_at, self._oldest)
        while at < ended_at:
            interval = at // INTERVAL * INTERVAL
            until = min(interval + INTERVAL, ended_at)
            micros = (until - at) * machines
            self._intervals[interval] = self._intervals.get(interval, 0) + micros
            self.total += micros
            at = until

    def drop_before(self, now: int) -> None:
        """Drop intervals that are too old to be requested: a fleet may run for years."""
        for interval in [i for i in self._intervals if i < now - _KEPT]:
            del self._intervals[interval]

    def between(self, started_at: int, ended_at: int) -> Iterator[tuple[int, int]]:
        """Yield (start of the half hour, machine time) of the half hours in an interval."""
        for interval in sorted(self._intervals):
            if started_at <= interval and interval + INTERVAL <= ended_at:
                yield interval, self._intervals[interval]

    def copy(self) -> "Usage":
        """Return a copy, to which open intervals can be added."""
        twin = Usage(self._oldest)
        twin.total = self.total
        twin._intervals = dict(self._intervals)
        return twin
