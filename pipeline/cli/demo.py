"""The commands that need no account: demo and emulate."""

from __future__ import annotations

import logging
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import is_watched
from pipeline.cli.options import lake_option

if TYPE_CHECKING:
    from pipeline.config import Account
    from pipeline.emulator import Fleet
    from pipeline.lake import Lake

log = logging.getLogger("nodelake")

#: The demo's answers, in the order they are printed: a heading, a question, and of its columns those
#: that fit a narrow terminal.
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
_DEMO_LAKE = "data/demo-lake"
_MARK = ".nodelake-demo"
_REPORT = "report.html"


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
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The day to live through, UTC: the same day, seed and count give the same answers [yesterday].",
)
@lake_option
def demo(seed: int, snapshots: int, day: datetime | None, lake: str | None) -> None:
    """Record a made-up day and answer questions from it; no account needed.

    An emulated Batch account of three pools and some 300 nodes lives through yesterday while
    nodelake takes 288 snapshots of it over a real socket, into data/demo-lake; then the day is
    compacted, and drawn as a page.
    """
    from pipeline import query
    from pipeline.cli.output import show
    from pipeline.cli.pictures import write_report
    from pipeline.lake import Lake
    from pipeline.maintain import compact

    into = Lake(lake or _shared_lake() or _DEMO_LAKE)
    _make_fresh(into)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = day.replace(tzinfo=UTC) if day else today - timedelta(days=1)
    begun = time.monotonic()
    nodes = _simulate(into, start, snapshots, seed)
    seconds = time.monotonic() - begun
    click.echo(f"{snapshots} snapshots, {nodes:,} node rows, in {seconds:.0f} s: {_size(into)}")
    begun = time.monotonic()
    # Nothing reads this lake yet, so what compaction replaces need not stay.
    compact(into, grace=timedelta(0))
    seconds = time.monotonic() - begun
    click.echo(f"compacted, history made, in {seconds:.0f} s: {_size(into)} in {_shown(into)}")
    with query.connect(into) as connection:
        for heading, name, columns in _ANSWERS:
            rows = connection.ask(name).select(columns.split())
            of = f", first {_ROWS_SHOWN} of {len(rows)} rows" if len(rows) > _ROWS_SHOWN else ""
            click.echo(f"\n{heading}  (nodelake ask {name}{of})\n")
            show(rows.slice(0, _ROWS_SHOWN), "table")
        # in the lake's own directory, which the next demo empties: it overwrites nothing else
        write_report(connection, into.root / _REPORT)
    page = Path(_shown(into)) / _REPORT
    click.echo(f"\nThe day in pictures, a page for any browser: {page}")
    here = shlex.quote(_shown(into))
    click.echo("\nAsk your own:")
    click.echo(f"  nodelake sql --lake {here} 'from nodes_latest limit 3'")
    click.echo(f"  nodelake ask idle_cost --lake {here}\n  nodelake questions")


def _size(lake: Lake) -> str:
    files = [file.stat().st_size for file in lake.root.rglob("*.parquet")]
    return f"{len(files):,} Parquet files, {sum(files) / 1e6:.1f} MB"


def _shown(lake: Lake) -> str:
    """The lake as a person would type it: relative to where they stand, if it is below."""
    here = Path.cwd()
    return str(lake.root.relative_to(here) if lake.root.is_relative_to(here) else lake.root)


def _shared_lake() -> str | None:
    shared = click.get_current_context().find_root().obj or {}
    value: str | None = shared.get("lake")
    return value


def _make_fresh(lake: Lake) -> None:
    """Empties a lake that a demo made before; refuses any other that has something in it."""
    from pipeline.lake import make_directories

    mark = lake.root / _MARK
    if lake.root.exists() and any(lake.root.iterdir()):
        if not mark.exists():
            raise click.UsageError(
                f"{lake} holds something that is no demo's: choose another --lake"
            )
        shutil.rmtree(lake.root)
    make_directories(lake.root)
    mark.touch(mode=0o600)


def _simulate(lake: Lake, start: datetime, snapshots: int, seed: int) -> int:
    """A day of the emulated fleet, its clock moved on before each snapshot; returns node rows."""
    from pipeline import config
    from pipeline.emulator import Emulator, Fleet, load_fleet_config

    fleet = Fleet(load_fleet_config(None), seed=seed, start=start)
    nodes = 0
    with Emulator(fleet, account="demo").serve() as server:
        account = config.load(None, server.settings, lake=str(lake)).require_accounts()[0]
        with _bar(snapshots) as advance:
            for number in range(snapshots):
                fleet.advance(start + number * timedelta(days=1) / snapshots)
                nodes += int(str(_one(account, lake, fleet)["nodes_rows"]))
                advance()
    return nodes


def _one(account: Account, lake: Lake, fleet: Fleet) -> dict[str, object]:
    from pipeline import snapshot
    from pipeline.extract import BatchClient

    with BatchClient(account, local_now=lambda: fleet.now) as client:
        return snapshot.run(account, lake, client, clock=lambda: fleet.now).row


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    """A progress bar of snapshots on a terminal; nothing without one."""
    if not is_watched():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("a day of snapshots", total=total)
        yield lambda: bar.advance(task)


@click.command(
    epilog="""\b
Examples:
  nodelake emulate --port 8080 --speed 60 > emulated.env &    an hour a minute
  sleep 2; . ./emulated.env; nodelake snapshot
  nodelake emulate --fleet fleet.toml --fault 'throttle route=nodes rate=0.1 retry_after=2'"""
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="TCP port [any free one].")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--fleet", type=click.Path(dir_okay=False), help="Fleet file, TOML [3 pools, 300 nodes]."
)
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed, another fleet.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Seconds of the fleet's time in a second; 0: only /_emulator/advance moves it.",
)
@click.option("--tls", is_flag=True, help="Serve https with a certificate made on the spot.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="'KIND K=V …'",
    help="A fault to put in force, with its parameters; repeatable.",
)
@click.option(
    "--refuse-version",
    "refused_versions",
    multiple=True,
    metavar="V",
    help="An api-version to refuse as unsupported; repeatable.",
)
def emulate(
    port: int,
    host: str,
    fleet: str | None,
    seed: int,
    speed: float,
    tls: bool,
    faults: tuple[str, ...],
    refused_versions: tuple[str, ...],
) -> None:
    """Serve a made-up Batch account, until Ctrl-C.

    Prints the settings that make nodelake (or any Batch client) use it, as export lines. It listens
    on this machine only, unless --host says otherwise. Ctrl-C ends it with exit code 0.
    """
    from pipeline.emulator import (
        Emulator,
        Faults,
        Fleet,
        FleetFileError,
        load_fleet_config,
        read_fault,
    )

    try:
        made = load_fleet_config(Path(fleet) if fleet else None)
        ordered = Faults([read_fault(line) for line in faults], seed=seed)
    except (FleetFileError, ValueError, OSError) as error:
        raise click.UsageError(str(error)) from None
    living = Fleet(made, seed=seed, start=datetime.now(UTC).replace(microsecond=0))
    emulator = Emulator(
        living,
        account="emulated",
        faults=ordered,
        speed=speed or None,
        refused_versions=refused_versions,
    )
    try:
        served = emulator.serve(port=port, host=host, tls=tls)
        # Ctrl-C is how serving ends: no failure
        with suppress(KeyboardInterrupt), served as server:
            for name, value in server.settings.items():
                click.echo(f"export {name}={shlex.quote(value)}")
            for name, value in server.identity_settings.items():
                # with these, and without the key, azure-identity signs in
                click.echo(f"# export {name}={shlex.quote(value)}")
            if server.ca_file:
                click.echo(f"export SSL_CERT_FILE={shlex.quote(str(server.ca_file))}")
            log.info("serving a made-up account at %s; Ctrl-C ends it", server.endpoint)
            while True:
                time.sleep(3600)
        log.info("stopped")
    except OSError as error:
        raise click.UsageError(f"cannot listen on {host}:{port}: {error.strerror}") from None


COMMANDS = (demo, emulate)
