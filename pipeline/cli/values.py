"""Parses values of the command line: times, days and numbers; errors give an example."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click

#: The allowed difference between clocks.
_CLOCKS_DIFFER = timedelta(minutes=15)


class Day(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """A UTC day: ``YYYY-MM-DD``."""

    name = "day"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The day as a ``date``."""
        if isinstance(value, date):
            return value
        try:
            return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).date()
        except ValueError:
            self.fail(f"{value!r} is not a day such as 2026-11-21", param, ctx)


def number(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A number of an option; refuses nan, which passes every comparison of a range."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("not a number", context, parameter)
    return value


def time_of(option: str, text: str) -> datetime:
    """A time of the command line: ISO 8601, UTC where it names no zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not an ISO 8601 time such as 2026-11-21T12:00:00Z", param_hint=option
        ) from None
    try:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        problem = f"{text!r} is outside the years 1 to 9999 of UTC"
        raise click.BadParameter(problem, param_hint=option) from None


def span_of(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """The times of --from and --to; refuses a range that ends before it begins."""
    first = time_of("--from", start) if start else None
    last = time_of("--to", end) if end else None
    if first and last and first >= last:
        raise click.UsageError("--to must be after --from")
    return first, last


def not_future(option: str, at: datetime) -> datetime:
    """The time; refuses one more than 15 minutes in the future.

    A listing in the future would stay its pool's latest until then.
    """
    if at > datetime.now(UTC) + _CLOCKS_DIFFER:
        problem = f"{at:%Y-%m-%d %H:%M:%S}Z lies in the future"
        raise click.BadParameter(problem, param_hint=option)
    return at
