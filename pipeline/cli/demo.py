"""The command ``demo``, which needs no account."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from pipeline.cli import demo_lake
from pipeline.cli.console import escape, is_watched
from pipeline.cli.lakes import DEMO_LAKE
from pipeline.cli.options import lake_option, shared_value
from pipeline.cli.values import Day

if TYPE_CHECKING:
    from pipeline.config import Account
    from pipeline.emulator import Fleet
    from pipeline.lake import Lake

#: The demo's answers, in order: heading, question, and those of its columns that fit 80 columns.
_ANSWERS = (
    (
        "How was the day recorded?",
        "coverage",
        "day snapshots complete partial failed longest_gap_minutes",
    ),
    (
        "Where did the node-hours go?",
        "node_hours",
        "pool_id is_dedicated state hours certain_hours",
    ),
    (
        "In which states were the nodes of each pool at the day's end?",
        "latest_states",
        "pool_id is_dedicated state nodes running_tasks",
    ),
    (
        "Why did start tasks fail?",
        "start_task_failures",
        "pool_id failure_code exit_code runs nodes",
    ),
    ("Which nodes report errors?", "nodes_with_errors", "pool_id node_id state code"),
)
_ROWS_SHOWN = 16


@click.command(
    epilog="""\b
Examples:
  nodelake demo
  nodelake sql --lake data/demo-lake 'from nodes_latest limit 3'"""
)
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed, another fleet.")
@click.option(
    "--snapshots",
    type=click.IntRange(1, 1440),
    default=288,
    show_default=True,
    help="How many, spread over the day.",
)
@click.option(
    "--day",
    type=Day(),
    metavar="DATE",
    help="The day to simulate, UTC: the same day, seed and count give the same answers "
    "[yesterday].",
)
@click.option(
    "--capture-start-task-output",
    "captures",
    is_flag=True,
    help="Keep the end of what failed start tasks wrote, as `snapshot` does with this flag.",
)
@lake_option(
    "Directory of the demo's lake [data/demo-lake]. One that demos alone wrote is emptied."
)
def demo(seed: int, snapshots: int, day: date | None, captures: bool) -> None:
    """Record a made-up day and answer questions about it.

    Needs no account. Simulates a Batch account of three pools and some 300 nodes through one day,
    records it over a real socket, compacts the day and draws it as a page. Settings files and
    NODELAKE_LAKE have no effect on it. A lake that holds anything no demo wrote is refused.
    """
    from pipeline import query
    from pipeline.cli.output import show
    from pipeline.cli.pictures import write_report
    from pipeline.lake import Lake
    from pipeline.maintain import compact

    into = Lake(shared_value("lake") or DEMO_LAKE)
    with _writing(into), into.lock("demo", demo_lake.ACCOUNT):
        demo_lake.claim(into)
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        start = datetime.combine(day, time(), UTC) if day else midnight - timedelta(days=1)
        end = start + timedelta(days=1)
        begun = monotonic()
        nodes = _simulate(into, start, snapshots, seed, captures)
        seconds = monotonic() - begun
        click.echo(f"{snapshots} snapshots, {nodes:,} node rows, in {seconds:.0f} s: {_size(into)}")
        begun = monotonic()
        # Nothing reads this lake yet, so replaced files need no grace period.
        compact(into, grace=timedelta(0))
        seconds = monotonic() - begun
        where = escape(_shown(into))
        click.echo(f"compacted, with history, in {seconds:.0f} s: {_size(into)} in {where}")
        click.echo(f"\nThe day: {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
        with query.connect(into) as connection:
            for heading, name, columns in _ANSWERS:
                asked = {each.name for each in query.question(name).parameters}
                span = {"from": start, "to": end}
                rows = connection.ask(name, **{k: v for k, v in span.items() if k in asked})
                rows = rows.select(columns.split())
                of = f", first {_ROWS_SHOWN} of {len(rows)} rows" if len(rows) > _ROWS_SHOWN else ""
                click.echo(f"\n{heading}  (nodelake ask {name}{of})\n")
                show(rows.slice(0, _ROWS_SHOWN), "table")
            write_report(connection, into.root / demo_lake.REPORT, start, end)
        demo_lake.note_report(into.root)
    click.echo(f"\nThe day in pictures, a page for any browser: {where}/{demo_lake.REPORT}")
    here = escape(shlex.quote(_shown(into)))
    click.echo("\nAsk your own:")
    click.echo(f"  nodelake sql --lake {here} 'from nodes_latest limit 3'")
    click.echo(f"  nodelake ask idle_cost --lake {here}\n  nodelake questions")


@contextmanager
def _writing(lake: Lake) -> Iterator[None]:
    """Turns errors of a place where no lake can be made into usage errors that say what to do."""
    from pipeline.lake import LakeError, Locked

    try:
        if lake.root.is_dir():
            demo_lake.refuse_foreign(lake)  # before even a lock is written
        yield
    except Locked:
        raise
    except LakeError as error:
        raise click.UsageError(f"no demo can be made here: {error}") from None
    except OSError as error:
        if error.filename is None:
            raise  # stdout
        raise click.UsageError(
            f"no demo can be made here: {error.filename}: {error.strerror}"
        ) from None


def _size(lake: Lake) -> str:
    files = [file.stat().st_size for file in lake.root.rglob("*.parquet")]
    return f"{len(files):,} Parquet files, {sum(files) / 1e6:.1f} MB"


def _shown(lake: Lake) -> str:
    """The lake's path, relative if it is below the working directory."""
    here = Path.cwd()
    return str(lake.root.relative_to(here) if lake.root.is_relative_to(here) else lake.root)


def _simulate(lake: Lake, start: datetime, snapshots: int, seed: int, captures: bool) -> int:
    """Records a day of the emulated fleet, moving its clock before each snapshot; returns node rows."""
    from pipeline.emulator import Emulator, Fleet, load_fleet_config

    fleet = Fleet(load_fleet_config(None), seed=seed, start=start)
    nodes = 0
    with Emulator(fleet, account="demo").serve() as server:
        account = _account(server.settings)
        demo_lake.note_begun(lake.root, account.endpoint, start.date())
        with _bar(snapshots) as advance:
            for number in range(snapshots):
                fleet.advance(start + number * timedelta(days=1) / snapshots)
                nodes += int(str(_one(account, lake, fleet, captures)["nodes_rows"]))
                advance()
    return nodes


def _account(settings: Mapping[str, str]) -> Account:
    """The emulated account; settings files do not affect it."""
    from pipeline.config import Account, Secret

    return Account(
        endpoint=settings["AZURE_BATCH_ENDPOINT"],
        name=settings["AZURE_BATCH_ACCOUNT"],
        label=demo_lake.ACCOUNT,
        key=Secret(settings["AZURE_BATCH_ACCESS_KEY"]),
    )


def _one(account: Account, lake: Lake, fleet: Fleet, captures: bool) -> dict[str, object]:
    from pipeline import snapshot
    from pipeline.extract import BatchClient

    with BatchClient(account, local_now=lambda: fleet.now) as client:
        outcome = snapshot.run(
            account, lake, client, clock=lambda: fleet.now, capture_start_task_output=captures
        )
        return outcome.row


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    """A progress bar of snapshots, on a terminal only."""
    if not is_watched():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("a day of snapshots", total=total)
        yield lambda: bar.advance(task)


COMMANDS = (demo,)
