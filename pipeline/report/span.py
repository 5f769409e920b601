"""The range of a report: whole hours, cut into equal bins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_STEPS = (*(HOUR * n for n in (1, 2, 3, 6, 12)), *(DAY * n for n in (1, 2, 7, 14, 28, 91, 364)))
_TICKS = (*_STEPS[:6], *(DAY * n for n in (2, 3, 4, 7, 14, 28, 91, 182, 364)))
#: The most bins of a picture.
_MOST_BINS = 192
_EPOCH = datetime(2001, 1, 1, tzinfo=UTC)  # a Monday


@dataclass(frozen=True)
class Span:
    """From a whole hour to a whole hour, UTC; ``step`` is a bin, the last one may be cut short."""

    start: datetime
    end: datetime
    step: timedelta

    @property
    def bins(self) -> int:
        """The number of bins."""
        return -((self.start - self.end) // self.step)

    def edges(self, place: int, until: int | None = None) -> tuple[datetime, datetime]:
        """Begin and end of a bin, or of a stretch of bins; ``until`` is exclusive."""
        last = place + 1 if until is None else until
        return self.start + place * self.step, min(self.start + last * self.step, self.end)

    def ticks(self, most: int) -> Iterator[datetime]:
        """At most this many round times in the range."""
        each = next((n for n in _TICKS if (self.end - self.start) / n <= most), _TICKS[-1])
        at = _EPOCH - ((_EPOCH - self.start) // each) * each
        while at <= self.end:
            if at >= self.start:
                yield at
            at += each

    def finer(self, apart: timedelta, most: int) -> Span:
        """The same time in at most so many bins, that need not be hours.

        None is narrower than snapshots lie apart.
        """
        wide = max(apart * 0.98, (self.end - self.start) / most)
        fine = (*(timedelta(minutes=n) for n in (1, 2, 5, 10, 15, 20, 30)), *_STEPS)
        return Span(self.start, self.end, next((n for n in fine if n >= wide), _STEPS[-1]))


def floor(at: datetime, step: timedelta) -> datetime:
    """The round moment at or before."""
    return _EPOCH + (at - _EPOCH) // step * step


def ceil(at: datetime, step: timedelta) -> datetime:
    """The round moment at or after."""
    return _EPOCH - (_EPOCH - at) // step * step


def choose(
    start: datetime | None,
    end: datetime | None,
    first: datetime,
    last: datetime,
    apart: timedelta,
) -> Span:
    """The span that was asked for, in whole hours; else the last seven UTC days of the record.

    Args:
        start: as asked for, or None.
        end: as asked for, or None; exclusive.
        first: the first listing there is.
        last: the last one.
        apart: how far snapshots usually lie apart: no bin is narrower.
    """
    until = ceil(end or last + timedelta(microseconds=1), HOUR)
    # six whole days and the day of the end
    begin = floor(start, HOUR) if start else max(ceil(until, DAY) - 7 * DAY, floor(first, DAY))
    begin = min(begin, until - HOUR)
    wide = max(apart * 1.02, (until - begin) / _MOST_BINS)
    # hourly polls sometimes skip an hour, as cron is not exact
    step = next((n for n in _STEPS if n >= wide), _STEPS[-1])
    return Span(begin, until, step)
