"""Simulated time: whole microseconds since 1970 inside the fleet, the service's text outside.

The service writes up to seven fractional digits and drops trailing zeros (shared recordings), so
a client has to read 0 to 7 of them.
"""

from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NEVER = 1 << 62

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # its isoformat has no offset to remove
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Return whole microseconds since 1970; ``ValueError`` for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"a time needs its zone: {moment!r}")
    return (moment - _EPOCH) // _MICROSECOND


def to_datetime(micros: int) -> datetime:
    """Return the UTC datetime of ``micros`` microseconds since 1970, exact."""
    return _EPOCH + timedelta(microseconds=micros)


def service_time(micros: int) -> str:
    """Return ``2024-04-18T19:13:10.45563Z``: up to six fractional digits, no trailing zeros."""
    text = (_NAIVE_EPOCH + timedelta(microseconds=micros)).isoformat()
    if len(text) > 19:  # isoformat writes no fraction at all for a whole second
        text = text.rstrip("0")
    return text + "Z"


def fine_service_time(micros: int) -> str:
    """Return the time with seven digits, the seventh made up from the value itself.

    Real allocation and pool times have a digit finer than a microsecond; cutting it off gives
    ``micros`` again.
    """
    text = (_NAIVE_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds")
    return f"{text}{micros // 7 % 9 + 1}Z"


def http_date(micros: int) -> str:
    """Return the RFC 1123 text of a time, cut to the second, as in a Date header."""
    moment = to_datetime(micros)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[moment.weekday()]
    month = (
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    )[moment.month - 1]  # fmt: skip
    return f"{day}, {moment:%d} {month} {moment:%Y %H:%M:%S} GMT"
