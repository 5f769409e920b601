"""The commands ``heatmap``, in the terminal, and ``report``, an HTML page."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import escape, say
from pipeline.cli.files import naming, replacement
from pipeline.cli.options import connect, pools_like, prices_option, use_prices
from pipeline.cli.values import span_of
from pipeline.report.palette import STATES

if TYPE_CHECKING:
    from pipeline.query import Connection


@click.command(
    epilog="""\b
Examples:
  nodelake heatmap                    the last day, every pool
  nodelake heatmap --pool render --from 2026-11-21T06:00 --to 2026-11-21T12:00
  nodelake heatmap --node 0a1b --node 77f    nodes with either in their id
  nodelake heatmap --state unusable   nodes that were in that state
  nodelake heatmap --rows 500 | less  more nodes than the terminal has lines"""
)
@click.option("--pool", metavar="ID", help="Only this pool [all].")
@click.option(
    "--node",
    "fragments",
    multiple=True,
    metavar="PART",
    help="Only nodes with this in their id; repeatable [all].",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([*STATES], case_sensitive=False),
    metavar="STATE",
    help="Only nodes that were in this state meanwhile; repeatable [any].",
)
@click.option("--from", "start", metavar="TIME", help="Start (UTC) [a day before the end].")
@click.option("--to", "end", metavar="TIME", help="End, exclusive [after the last listing].")
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most this many lines [the terminal's; all without one].",
)
def heatmap(
    pool: str | None,
    fragments: tuple[str, ...],
    states: tuple[str, ...],
    start: str | None,
    end: str | None,
    rows: int | None,
) -> int:
    """Draw nodes by time in the terminal, one letter a state.

    The letter is that of the most troubling state of its bin of time. As wide as the terminal (or
    COLUMNS), in colour where the terminal has it and NO_COLOR is not
    set. Where there are more nodes than lines the most eventful ones come first.
    """
    from pipeline.query.sql_files import sql_directory
    from pipeline.report import heatmap as picture

    folder = sql_directory() / "heatmap"
    first, last = span_of(start, end)
    with connect() as connection:

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
            say(_nothing(connection, pool, bool(start or end)))
            return 1
        begin, until = _window(first, last, [poll.listed_at for poll in polls])
        size = shutil.get_terminal_size()
        wanted = [poll for poll in polls if begin <= poll.listed_at]
        bins = picture.choose_bins(wanted, begin, until, size.columns)
        # the first bin begins at a round time, so listings before `begin` may be drawn too
        polls = listings(bins.start, until)
        cells = [
            picture.Cell(**row)  # type: ignore[arg-type]  # the query's columns
            for row in ask(
                "cells",
                **{"from": bins.start, "to": until, "pool": pool},
                step=bins.step.total_seconds(),
            )
        ]
    if fragments or states:
        cells = picture.chosen(cells, fragments, states)
        if not cells:
            parts = [f"with {' or '.join(fragments)} in its id"] if fragments else []
            parts += [f"that was {' or '.join(states)}"] if states else []
            span = f"{begin:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
            say(f"no node {' '.join(parts)} was listed from {span}")
            return 1
        there = {(cell.account, cell.pool_id) for cell in cells}
        polls = [poll for poll in polls if (poll.account, poll.pool_id) in there]
    is_terminal = sys.stdout.isatty()
    has_colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    lines = picture.draw(
        polls,
        cells,
        bins,
        columns=size.columns,
        # one line for the prompt
        lines=rows or (size.lines - 1 if is_terminal else None),
        is_coloured=has_colour,
    )
    click.echo("\n".join(lines), color=has_colour)
    return 0


def _nothing(connection: Connection, pool: str | None, has_range: bool) -> str:
    """Reports that nothing was listed: the pool, the range, and what the lake has."""
    which = "no pool" if pool is None else f"no pool {pool}"
    message = f"{which} was listed {'then' if has_range else 'yet'} in {connection.lake}"
    pools = pools_like(connection, pool)
    if pool is not None and pool not in pools:
        return f"{message}; there are: {', '.join(pools) or 'none'}"
    span = connection.table("select min(snapshot_at) as a, max(snapshot_at) as b from snapshots")
    first, last = span["a"][0].as_py(), span["b"][0].as_py()
    if first is None:
        return message
    return f"{message}; it has snapshots from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"


def _window(
    first: datetime | None, last: datetime | None, listed: list[datetime]
) -> tuple[datetime, datetime]:
    """Begin and end (exclusive) of the range; by default the day before the last listing."""
    until = last or max(listed) + timedelta(microseconds=1)
    return first or max(min(listed), until - timedelta(days=1)), until


@click.command(
    epilog="""\b
Examples:
  nodelake report -o fleet.html       the last seven days, every pool
  nodelake report -o night.html --from 2026-11-20T18:00 --to 2026-11-21T06:00
  nodelake report -o costs.html --from 2026-11-01 --prices prices.csv"""
)
@click.option(
    "-o",
    "--output",
    "file",
    required=True,
    metavar="FILE.html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The page to write; replaces one that exists.",
)
@click.option("--from", "start", metavar="TIME", help="Start (UTC) [7 days before the end].")
@click.option("--to", "end", metavar="TIME", help="End, exclusive [after the last listing].")
@click.option("--pool", metavar="ID", help="Only this pool [all].")
@prices_option
def report(
    file: Path,
    start: str | None,
    end: str | None,
    pool: str | None,
    prices: str | None,
) -> int:
    """Write one HTML page about the fleet, in pictures and tables.

    The page needs no script and no network; it opens from disk and prints. The range is in whole
    hours. Where nothing was listed, nothing is written, exit 1.
    """
    first, last = span_of(start, end)
    if not file.absolute().parent.is_dir():
        raise click.BadParameter(f"{file.parent} is not a directory", param_hint="-o")
    with connect() as connection:
        use_prices(connection, prices)
        written = write_report(connection, file, first, last, pool)
        if written is None:
            say(_nothing(connection, pool, bool(start or end)))
            return 1
    is_stream = file.exists() and not file.is_file()  # the page went to /dev/stdout
    click.echo(escape(written), err=is_stream)
    return 0


def write_report(
    connection: Connection,
    file: Path,
    start: datetime | None = None,
    end: datetime | None = None,
    pool: str | None = None,
) -> str | None:
    """Writes the page whole or not at all; returns a line about it, None where nothing was listed.

    A special file (``/dev/stdout``, a pipe) is written to, never replaced.
    """
    import polars as pl

    from pipeline import report as page
    from pipeline.report.text import duration

    is_plain = file.is_file() or not file.exists()
    with replacement(file, is_private=True) if is_plain else _onto(file) as write:
        try:
            found = page.gather(connection, start, end, pool, page.QUESTIONS)
        except page.NothingListed:
            return None
        prices = pl.DataFrame(pl.from_arrow(connection.table("from prices")))
        text = page.render(found, prices if prices.height else None)
        write(text)
    span = found.span
    size = f"{len(text.encode()) / 1e6:.1f} MB"
    return f"{file}: {duration(span.end - span.start)} to {span.end:%Y-%m-%d %H:%M} UTC, {size}"


@contextmanager
def _onto(file: Path) -> Iterator[Callable[[str], None]]:
    """What writes a text to a device or a pipe."""

    def write(text: str) -> None:
        with naming(file):
            file.write_text(text, "utf-8")

    yield write


COMMANDS = (heatmap, report)
