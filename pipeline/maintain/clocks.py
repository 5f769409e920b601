"""When a day is over, and how long what was replaced stays."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from pipeline.lake.paths import end_of

#: After midnight: the deadline of the last snapshot, and a quarter of an hour for clocks and disks.
CLOSES_AFTER = timedelta(seconds=240) + timedelta(minutes=15)
#: How long readers may still need a file that was replaced.
GRACE = timedelta(minutes=60)
#: Files that no run has committed by then are left over from a run that died.
ORPHANED_AFTER = timedelta(days=1)


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


def closes_at(day: date) -> datetime:
    """When a day is closed: no run that began in it can still be going."""
    return end_of(day) + CLOSES_AFTER
