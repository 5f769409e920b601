"""When a day closes, and how long replaced files are kept."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from pipeline.lake.paths import end_of

#: After midnight: the default deadline of a snapshot, and 15 minutes for clocks and disks.
CLOSES_AFTER = timedelta(seconds=240) + timedelta(minutes=15)
#: How long readers may need a replaced file.
GRACE = timedelta(minutes=60)
#: The age at which an uncommitted file counts as left over from a killed run.
ORPHANED_AFTER = timedelta(days=1)


def utc_now() -> datetime:
    """The time of this machine's clock, UTC."""
    return datetime.now(UTC)


def closes_at(day: date) -> datetime:
    """When a day closes: every run that began in it has ended."""
    return end_of(day) + CLOSES_AFTER
