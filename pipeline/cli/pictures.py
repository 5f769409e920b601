"""The command that draws a lake in the terminal: heatmap."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import datetime, timedelta

import click

from pipeline.cli.collect import _time
from pipeline.cli.console import escape, say
from pipeline.cli.options import connect, lake_option


@click.command(
    epilog="""\b
Examples:
  nodelake heatmap                                the last day, every pool
  nodelake heatmap --pool render --from 2026-11-21T06:00 --to 2026-11-21T12:00
  nodelake heatmap --rows 500 | less              more nodes than the terminal has lines"""
)
@click.option("--pool", metavar="ID", help="Only this pool [all].")
@click.option("--from", "start", metavar="TIME", help="Begin here (UTC) [a day before the end].")
@click.option("--to", "end", metavar="TIME", help="End before this [after the last listing].")
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most so many lines [the terminal's; all where it is none].",
)
@lake_option
def heatmap(
    pool: str | None, start: str | None, end: str | None, rows: int | None, lake: str | None
) -> int:
    """Draw nodes x time, a letter a state; the most troubling of each bin of time.

    Wide as the terminal (or COLUMNS), in colour where the terminal has it and NO_COLOR is not set.
    Of more nodes than there are lines the most eventful come first.
    """
    from pipeline import heatmap as picture
    from pipeline.sql_files import sql_directory

    folder = sql_directory() / "heatmap"
    first = _time("--from", start) if start else None
    last = _time("--to", end) if end else None
    with connect(lake) as connection:

        def ask(name: str, **parameters: object) -> list[dict[str, object]]:
            sql = (folder / f"{name}.sql").read_text("utf-8").rstrip().removesuffix(";")
            found: list[dict[str, object]] = connection.table(sql, parameters).to_pylist()
            return [
                {
                    key: escape(value) if isinstance(value, str) else value
                    for key, value in row.items()
                }
                for row in found
            ]

        def listings(begin: datetime | None, until: datetime | None) -> list[picture.Poll]:
            found = ask("polls", **{"from": begin, "to": until, "pool": pool})
            return [picture.Poll(**row) for row in found]  # type: ignore[arg-type]  # its columns

        polls = listings(first, last)
        if not polls:
            say("no pool was listed then" if start or end or pool else "no pool was listed yet")
            return 1
        begin, until = _window(first, last, [poll.listed_at for poll in polls])
        size = shutil.get_terminal_size()
        wanted = [poll for poll in polls if begin <= poll.listed_at]
        bins = picture.choose_bins(wanted, begin, until, size.columns)
        # the first bin begins at a round time: what was listed in it before `begin` is drawn too
        polls = listings(bins.start, until)
        cells = [
            picture.Cell(**row)  # type: ignore[arg-type]  # the query's columns
            for row in ask(
                "cells",
                **{"from": bins.start, "to": until, "pool": pool},
                step=bins.step.total_seconds(),
            )
        ]
    is_terminal = sys.stdout.isatty()
    has_colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    lines = picture.draw(
        polls,
        cells,
        bins,
        columns=size.columns,
        # the prompt that comes after has a line too
        lines=rows or (size.lines - 1 if is_terminal else None),
        is_coloured=has_colour,
    )
    click.echo("\n".join(lines), color=has_colour)
    return 0


def _window(
    first: datetime | None, last: datetime | None, listed: list[datetime]
) -> tuple[datetime, datetime]:
    """From when to when, exclusive: the day before the last listing, unless told otherwise."""
    until = last or max(listed) + timedelta(microseconds=1)
    return first or max(min(listed), until - timedelta(days=1)), until


COMMANDS = (heatmap,)
