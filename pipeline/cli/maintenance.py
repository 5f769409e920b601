"""The commands ``compact`` and ``expire``."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

import click

from pipeline.cli.options import lake_to_read
from pipeline.cli.runs import close
from pipeline.cli.values import Day


@click.command(
    epilog="""\b
Examples:
  nodelake compact                         every day that is over
  nodelake compact --through 2026-11-20    no day after that one
  nodelake compact --grace 0               sweep at once: no query runs
  30 0 * * * nodelake compact --lake /srv/lake 2>> /var/log/nodelake.jsonl"""
)
@click.option("--through", type=Day(), metavar="DATE", help="Close no day after this one, UTC.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="MIN",
    help="Minutes for which replaced files stay: queries may still read them.",
)
def compact(through: date | None, grace: float) -> int:
    """Turn days that are over into few small files and history.

    A day is over 19 minutes after midnight UTC. Safe beside snapshots, imports and queries, and
    after a crash: run it again. Exit codes: 0 done; 1 failed; 2 no lake; 3 some day stays open (it
    is named); 4 another compaction is running.
    """
    from pipeline.maintain import compact as run

    into = lake_to_read()
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
    summary = (
        f"{report.days} days closed, {report.late} late snapshots, {report.rows:,} rows; history of "
        f"{report.history_days} days; {report.swept} snapshots swept from landing, "
        f"{report.orphans} orphans deleted"
    )
    if report.open_days:
        summary += f"; {len(report.open_days)} stay open"
    seconds = time.monotonic() - begun
    close("compact", f"{summary} in {seconds:.1f} s", figures, seconds)
    return report.exit_code


@click.command(
    epilog="""\b
Examples:
  nodelake expire --compacted 90           history is kept
  nodelake expire --compacted 90 --history 1000"""
)
@click.option(
    "--compacted",
    type=click.IntRange(min=1),
    metavar="DAYS",
    help="Delete the rows of days older than this; their history stays.",
)
@click.option(
    "--history",
    type=click.IntRange(min=1),
    metavar="DAYS",
    help="Delete the history of days older than this, once their rows are gone.",
)
def expire(compacted: int | None, history: int | None) -> int:
    """Delete old days.

    An expired day takes no more imports. Exit codes: 0 done; 1 failed; 2 no lake; 3 something old
    was kept (with the reason); 4 a compaction is running.
    """
    from pipeline.maintain import expire as run

    if compacted is None and history is None:
        raise click.UsageError("nothing to expire: give --compacted DAYS, --history DAYS, or both")
    into = lake_to_read()
    begun = time.monotonic()
    report = run(
        into, clock=lambda: datetime.now(UTC), compacted_days=compacted, history_days=history
    )
    figures = {
        "days": report.days,
        "history_days": report.history_days,
        "kept": len(report.kept),
    }
    summary = f"{report.days} days expired, history of {report.history_days} days deleted"
    if report.kept:
        summary += f", {len(report.kept)} days kept:\n  " + "\n  ".join(report.kept[:10]) + "\n"
    seconds = time.monotonic() - begun
    close("expire", f"{summary} in {seconds:.1f} s", figures, seconds)
    return report.exit_code


COMMANDS = (compact, expire)
