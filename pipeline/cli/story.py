"""Lays out the rows of the question ``node_story`` as lines for a terminal; pure.

Readable without colour: trouble begins with ``!``, a time without listings with ``?``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipeline.cli.console import escape
from pipeline.report.palette import STATES, look_of

if TYPE_CHECKING:
    from rich.text import Text

Row = Mapping[str, Any]

#: Events with a beginning and no end.
MOMENTS = ("life", "boot", "config")
_STYLES = {"life": "bold", "boot": "cyan", "start task": "", "work": "green", "task": "green"}
_STYLES |= {"config": "magenta", "error": "bold red", "pool error": "", "gap": "dim"}
_KIND = max(len(kind) for kind in _STYLES)
_SPAN = 13
_INDENT = 1 + 9 + 1 + _SPAN + 2 + _KIND + 2
_LEGEND = (
    "! trouble; ? not watched; ~ it began after the listing before and by this time; "
    "4m-9m: between these; >2h: not seen to end"
)


def span(length: timedelta) -> str:
    """A duration in at most 6 characters: ``42s``, ``9m30s``, ``3h05m``, ``12d04h``."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02}s" if minutes < 10 and seconds else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02}h"


def length_of(row: Row) -> str:
    """How long an event lasted: one duration where it is known, else its bounds."""
    if row["kind"] in MOMENTS:
        return ""
    began, after = row["began_at"], row["ended_after"]
    least = span(after - began) if after else "0s"
    if row["ended_before"] is None:
        return f">{least}"
    most = span(row["ended_before"] - (row["began_after"] or began))
    return least if least == most else f"{least}-{most}"


def is_trouble(row: Row) -> bool:
    """Whether an event is trouble, which an operator should look at."""
    kind, what = row["kind"], row["what"]
    if kind == "state":
        return look_of(what).group == "trouble" or what == "preempted"
    if kind == "work":
        return "exit code" in row["detail"] or "failed" in row["detail"]
    if kind == "task":
        return str(row["detail"]).startswith("failed")
    return bool(kind in ("error", "pool error") or (kind == "start task" and what == "failed"))


def lines(rows: Iterable[Row], width: int) -> Iterator[Text]:
    """The story, at most ``width`` columns wide: a heading for each day, lines for each event."""
    from rich.text import Text

    events = [*rows]
    if not events:
        return
    machines = {(row["account"], row["life"]) for row in events}
    of: object = None
    for row in events:
        if (row["account"], row["life"]) != of:
            of = row["account"], row["life"]
            day = None
            name = f"{escape(row['node_id'])} of pool {escape(row['pool_id'])}"
            if len(machines) > 1:
                name = f"machine {row['life']}: {name}"
            yield Text()
            for line in _wrapped(f"{name} ({escape(row['account'])})", width):
                yield Text(line, style="bold underline")
        at = row["began_at"].astimezone(UTC)
        if at.date() != day:
            day = at.date()
            yield Text(f"{day:%Y-%m-%d}", style="bold")
        yield from _event(row, at, max(width, _INDENT + 20))
    if any(row["began_after"] or row["ended_after"] for row in events):
        yield Text()
        yield from (Text(line, style="dim") for line in _wrapped(_LEGEND, width))


def _event(row: Row, at: datetime, width: int) -> Iterator[Text]:
    from rich.text import Text

    kind = str(row["kind"])
    trouble = is_trouble(row)
    mark = "!" if trouble else "?" if kind == "gap" else " "
    when = f"{'~' if row['began_after'] else ' '}{at:%H:%M:%S}"
    style = _style(row) if not trouble or kind == "state" else "bold red"
    said = str(row["what"]) + (f": {row['detail']}" if row["detail"] else "")
    first, *more = _wrapped(escape(said), width - _INDENT)
    yield Text.assemble(
        (mark, "bold red" if trouble else ""),
        f"{when} {length_of(row):>{_SPAN}}  ",
        (f"{kind:<{_KIND}}  ", "" if kind == "state" else style),
        (first, style),
    )
    for line in more:
        yield Text.assemble(" " * _INDENT, (line, style))


def _style(row: Row) -> str:
    if row["kind"] != "state":
        return _STYLES.get(str(row["kind"]), "")
    group = look_of(row["what"]).group
    styles = {"trouble": "bold red", "gone": "yellow", "passing": "blue", "idle": "yellow"}
    return styles.get(group, "green") if row["what"] in STATES else "bold red"


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]
