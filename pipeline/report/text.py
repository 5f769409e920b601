"""How the report words things: moments, spans of time, numbers, and what the service says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

#: What stands where there is no number.
NOTHING = "-"


def plain(text: str) -> str:
    """Text of the service with what is not printable made visible: it must not steer a page.

    That takes in control characters, line separators and marks that turn the direction of text; an
    SVG cannot even hold some of them.
    """
    return "".join(
        letter
        if letter.isprintable() or letter == "\u00a0"
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def plain_lines(text: str) -> str:
    """The same of a text of several lines, which stay lines; so do the tabs in them."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(map(plain, line.split("\t"))) for line in lines)


def cut(text: str, width: int) -> str:
    """At most so many characters, the middle left out: ids differ at either end."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 3
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def short_id(node_id: object) -> str:
    """A node's id as a sentence has it: printable, its middle left out."""
    return cut(plain(str(node_id)), 24)


def moment(at: datetime) -> str:
    """``21 Nov 2026 13:05``, UTC."""
    return f"{at.astimezone(UTC):%-d %b %Y %H:%M}"


def short(at: datetime) -> str:
    """``21 Nov 13:05``, UTC."""
    return f"{at.astimezone(UTC):%-d %b %H:%M}"


def stretch(start: datetime, end: datetime) -> str:
    """``21 Nov 13:00 to 15:00``: the second date is shown where it differs."""
    if start.date() == end.date():
        return f"{short(start)} to {end:%H:%M}"
    return f"{short(start)} to {short(end)}"


def duration(span: timedelta) -> str:
    """``3 days``, ``7 hours``, ``1 day 4 hours``, ``25 minutes``."""
    minutes = round(span.total_seconds() / 60)
    days, minutes = divmod(minutes, 1440)
    hours, minutes = divmod(minutes, 60)
    parts = [(days, "day"), (hours, "hour"), (minutes, "minute")]
    texts = [count(number, name) for number, name in parts if number]
    return " ".join(texts[:2]) or "0 minutes"


def short_number(number: float) -> str:
    """``6,998``, ``160,070``, ``3.50 M``."""
    return f"{number / 1e6:,.2f} M" if number >= 999_999.5 else f"{number:,.0f}"


def each(step: timedelta) -> str:
    """``hour``, ``3 hours``: what stands after "every"."""
    text = duration(step)
    return text.removeprefix("1 ") if " " not in text.removeprefix("1 ") else text


def count(number: float, name: str, many: str | None = None) -> str:
    """``1 node``, ``3 nodes``, ``1,204 nodes``."""
    return f"{number:,.0f} {name if number == 1 else many or name + 's'}"


def percent(part: float, whole: float) -> str:
    """``12 %``, ``0.4 %``, never broken over two lines; a dash of nothing."""
    if not whole:
        return NOTHING
    share = 100 * part / whole
    if 0 < share < 0.05:
        return "under 0.1\u00a0%"
    return f"{share:.1f}\u00a0%" if 0 < share < 9.95 else f"{share:.0f}\u00a0%"


def listed(words: Iterable[str], most: int = 3) -> str:
    """``a, b and c``; of more than so many, ``a, b, c and 4 more``."""
    given = list(words)
    if len(given) > most:
        given = [*given[:most], f"{len(given) - most} more"]
    if len(given) < 2:
        return "".join(given)
    return f"{', '.join(given[:-1])} and {given[-1]}"


def cell(value: object) -> str:
    """A value as it stands in a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 and value == int(value) else f"{value:,.2f}"
    return plain(str(value))
