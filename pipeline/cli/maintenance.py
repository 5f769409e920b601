"""The commands that keep a lake small: compact and expire."""

from __future__ import annotations

import logging
import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.console import is_watched
from pipeline.cli.options import lake_option, open_lake

if TYPE_CHECKING:
    from pipeline.lake import Lake

log = logging.getLogger("nodelake")


class _Date(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    name = "date"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date, such as 2026-11-21", param, ctx)


@click.command(
    epilog="""\b
Examples:
  nodelake compact                           every day that is over
  nodelake compact --through 2026-11-20      no day after that one
  nodelake compact --grace 0                 no query is at work: sweep at once
  30 0 * * * nodelake compact --lake /srv/lake 2>> /var/log/nodelake.jsonl"""
)
@click.option("--through", type=_Date(), metavar="DATE", help="Close no day after this one, UTC.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="MIN",
    help="Minutes a replaced file stays for queries that may still read it.",
)
@lake_option
def compact(through: date | None, grace: float, lake: str | None) -> int:
    """Turn the days that are over into few, small, sorted files, and into history.

    A day is over 19 minutes after midnight UTC. Safe beside snapshots, imports and queries, and
    after a crash: run it again. Exit codes: 0 done, 3 some day stays open (it is named), 1 failed, 4
    another compaction is at work.
    """
    from pipeline.maintain import compact as run

    into = open_lake(lake)
    begun = time.monotonic()
    report = run(into, through=through, grace=timedelta(minutes=grace))
    figures = {
        "days": report.days,
        "late": report.late,
        "snapshots": report.snapshots,
        "rows": report.rows,
        "history_days": report.history_days,
        "swept": report.swept,
        "orphans": report.orphans,
        "open_days": len(report.open_days),
    }
    told = (
        f"{report.days} days closed, {report.late} late snapshots, {report.rows:,} rows; history of "
        f"{report.history_days} days; {report.swept} snapshots swept from landing, "
        f"{report.orphans} orphans deleted"
    )
    if report.open_days:
        told += f"; {len(report.open_days)} stay open"
    _warn_of_nothing(into)
    _close("compact", told, figures, time.monotonic() - begun)
    return report.exit_code


@click.command(
    epilog="""\b
Examples:
  nodelake expire --compacted 90                    rows for 90 days, history for ever
  nodelake expire --compacted 90 --history 1000"""
)
@click.option(
    "--compacted",
    type=click.IntRange(min=1),
    metavar="DAYS",
    help="Delete the rows of days more than so many days ago; their history stays.",
)
@click.option(
    "--history",
    type=click.IntRange(min=1),
    metavar="DAYS",
    help="Delete the history of such days, once their rows are gone.",
)
@lake_option
def expire(compacted: int | None, history: int | None, lake: str | None) -> int:
    """Give up old days.

    An expired day takes no import any more. Exit codes: 0 done, 3 something old was kept (with the
    reason), 1 failed, 4 a compaction is at work.
    """
    from pipeline.maintain import expire as run

    if compacted is None and history is None:
        raise click.UsageError("nothing to expire: give --compacted DAYS, --history DAYS, or both")
    into = open_lake(lake)
    begun = time.monotonic()
    report = run(
        into, clock=lambda: datetime.now(UTC), compacted_days=compacted, history_days=history
    )
    figures = {
        "days": report.days,
        "history_days": report.history_days,
        "kept": len(report.kept),
    }
    _warn_of_nothing(into)
    told = f"{report.days} days expired, history of {report.history_days} days deleted"
    if report.kept:
        told += f", {len(report.kept)} days kept:\n  " + "\n  ".join(report.kept[:10])
    _close("expire", told, figures, time.monotonic() - begun)
    return report.exit_code


def _warn_of_nothing(lake: Lake) -> None:
    """Says so where a lake holds, and ever held, nothing: its name may be mistyped."""
    if lake.view().is_empty:
        log.warning("no snapshots in %s", lake)


def _close(name: str, told: str, figures: dict[str, Any], seconds: float) -> None:
    """The one closing line of figures."""
    if is_watched():
        log.info("%s in %.1f s", told, seconds)
    else:
        log.info(name, extra=figures | {"seconds": round(seconds, 2)})


COMMANDS = (compact, expire)
