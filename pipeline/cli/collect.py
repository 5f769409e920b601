"""The commands that fill a lake with nodes: snapshot, import."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from pipeline.cli.console import is_watched, progress
from pipeline.cli.options import (
    account_option,
    api_version_option,
    lake_option,
    number,
    open_lake,
    pool_option,
    settings,
)

if TYPE_CHECKING:
    from pipeline.config import Account, Settings
    from pipeline.lake import Lake
    from pipeline.snapshot import Outcome

log = logging.getLogger("nodelake")

_keep_env = click.option(
    "--keep-env",
    multiple=True,
    metavar="NAME",
    help="Keep this environment setting's value; repeatable [all are masked].",
)


@click.command(
    epilog="""\b
Examples:
  nodelake snapshot                       every pool of every account
  nodelake snapshot --account render.westeurope --pool p1
  nodelake snapshot --dry-run             reads all, writes nothing
  */5 * * * * nodelake snapshot --lake /srv/lake 2>> /var/log/nodelake.jsonl"""
)
@account_option
@pool_option
@click.option("--dry-run", is_flag=True, help="Read all, write nothing.")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0.001, max=86_400),
    callback=number,
    metavar="SECONDS",
    help="All of an account's run ends within this time [240].",
)
@_keep_env
@api_version_option
@click.option(
    "--capture-start-task-output",
    is_flag=True,
    help="Keep the end of what start tasks wrote that failed since the last snapshot.",
)
@lake_option
def snapshot(
    accounts: tuple[str, ...],
    pools: tuple[str, ...],
    dry_run: bool,
    deadline: float | None,
    keep_env: tuple[str, ...],
    api_version: str | None,
    capture_start_task_output: bool,
    lake: str | None,
) -> int:
    """Record every node of every pool, once.

    Exit codes: 0 complete, 3 partial (some pool failed or some node was malformed; the rest is
    stored), 1 failed, 2 wrong settings, 4 another run holds the account's lock.
    """
    from pipeline.lake import Lake, Locked

    _share_memory()
    chosen = settings(lake, accounts, api_version)
    wanted = chosen.require_accounts()
    into = Lake(chosen.lake)
    codes = []
    for account in wanted:
        try:
            if capture_start_task_output:
                account = replace(account, capture_start_task_output=True)
            outcome, seconds = _snapshot(account, into, chosen, pools, dry_run, deadline, keep_env)
            _close(outcome, seconds, dry_run)
            codes.append(outcome.exit_code)
        except Locked as error:
            log.warning("%s: %s", account.label, error, extra={"account": account.label})
            codes.append(4)
        except Exception as error:
            if len(wanted) == 1:
                raise
            # one account's trouble must not keep the others from being recorded
            log.error("%s: %s", account.label, error, extra={"account": account.label})
            codes.append(1)
    return combined_exit_code(codes)


def _share_memory() -> None:
    """Lets threads share the memory that pages free: as many heaps as processors.

    glibc gives eight a processor, and what one thread frees the others do not get: on two processors
    a tenth more memory and processor time.
    """
    import ctypes
    import os

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and sys.platform == "linux":
        mallopt(-8, os.cpu_count() or 1)  # M_ARENA_MAX of malloc.h


def combined_exit_code(codes: list[int]) -> int:
    """The exit code of several accounts: 0 all complete, 4 all locked, 1 none stored, else 3."""
    if len(set(codes)) == 1:
        return codes[0]
    return 3 if any(code in (0, 3) for code in codes) else 1


def _snapshot(
    account: Account,
    lake: Lake,
    chosen: Settings,
    pools: tuple[str, ...],
    dry_run: bool,
    deadline: float | None,
    keep_env: tuple[str, ...],
) -> tuple[Outcome, float]:
    from pipeline.extract import BatchClient
    from pipeline.redact import Redactor
    from pipeline.snapshot import run

    begun = time.monotonic()
    with (
        BatchClient(account, deadline_seconds=deadline) as client,
        progress(account.label) as watch,
    ):
        outcome = run(
            account,
            lake,
            client,
            pools=pools,
            redactor=Redactor(keep_env),
            hash_key=chosen.hash_key.reveal().encode() if chosen.hash_key else None,
            dry_run=dry_run,
            watch=watch,
            capture_start_task_output=account.capture_start_task_output,
        )
    return outcome, time.monotonic() - begun


def _close(outcome: Outcome, seconds: float, dry_run: bool) -> None:
    """The one closing line of figures."""
    row = outcome.row
    names = (
        "account snapshot_id status pools_listed pools_failed nodes_rows recent_tasks_rows "
        "requests retries bytes_received malformed duplicates unknown_fields error_code"
    ).split()
    figures: dict[str, Any] = {name: row[name] for name in names}
    figures |= {"seconds": round(seconds, 2), "dry_run": dry_run}
    if not is_watched():
        log.info("import" if row["source"] == "import" else "snapshot", extra=figures)
        _tell_problems(row)
        return
    parts = [
        f"{row['pools_listed']} pools",
        f"{row['nodes_rows']} nodes",
        f"{row['recent_tasks_rows']} tasks",
        f"{row['requests']} requests",
        f"{float(str(row['bytes_received'])) / 1e6:.1f} MB",
        f"{seconds:.1f} s",
    ]
    for name in ("pools_failed", "malformed", "duplicates", "unknown_fields", "retries"):
        if row[name]:
            parts.append(f"{row[name]} {name.replace('_', ' ')}")
    where = "nothing written (dry run)" if dry_run else str(row["snapshot_id"])
    log.info("%s: %s: %s: %s", row["account"], row["status"], ", ".join(parts), where)
    _tell_problems(row)


def _tell_problems(row: Mapping[str, Any]) -> None:
    """What was malformed, by pool, node and field: the first five."""
    for problem in row["problems"][:5]:
        place = f"pool {problem['pool_id']}"
        if problem["node_id"] is not None:
            place += f", node {problem['node_id']}"
        what = f"{problem['path']}: {problem['problem']}"
        log.warning("%s: %s", place, what, extra={"account": row["account"]})
    if len(row["problems"]) > 5:
        log.warning("the first 100 are in the column problems of snapshots")


@click.command(
    "import",
    epilog="""\b
Examples:
  az batch node list --pool-id p1 > p1.json; nodelake import p1.json --pool p1 --complete
  nodelake import page1.json page2.json pools.json --at 2026-11-21T12:00:00Z
  curl … | nodelake import - --account render.westeurope""",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--at", metavar="TIME", help="When they were saved, ISO 8601 [newest file's time].")
@click.option("--pool", metavar="ID", help="Pool of nodes whose urls do not name it.")
@click.option("--account", metavar="NAME", help="Account's label [the one the urls name].")
@click.option(
    "--complete", is_flag=True, help="They hold every node of each pool they hold any of."
)
@_keep_env
@lake_option
def import_(
    files: tuple[str, ...],
    at: str | None,
    pool: str | None,
    account: str | None,
    complete: bool,
    keep_env: tuple[str, ...],
    lake: str | None,
) -> int:
    """Store saved JSON as one snapshot.

    A file holds a page of the API, a bare list as the Azure CLI prints it, one node, or pools.
    Importing the same files again changes nothing. What --complete says is not believed of a pool
    whose nodes they do not list, or whose last page tells of a next one: that proves none gone.
    """
    from pipeline.redact import Redactor
    from pipeline.snapshot import imports as saved

    read, newest = _read(files)
    begun = time.monotonic()
    chosen = settings(lake)
    outcome = saved.store(
        read,
        open_lake(lake),
        at=_past("--at", _time("--at", at) if at else newest),
        account=_label(account, chosen),
        labels={_host(known.endpoint): known.label for known in chosen.accounts},
        pool=pool,
        complete=complete,
        redactor=Redactor(keep_env),
        hash_key=chosen.hash_key.reveal().encode() if chosen.hash_key else None,
    )
    if not outcome.is_stored:
        log.info("already there: %s", outcome.row["snapshot_id"])
        return 0
    _close(outcome, time.monotonic() - begun, False)
    whole, listed = outcome.row["pools_complete"], outcome.row["pools_listed"]
    if complete and whole != listed:
        log.warning("--complete holds for %s of %s pools: see import --help", whole, listed)
    return outcome.exit_code


def _host(endpoint: str) -> str:
    """``name.region`` of an endpoint, as the urls of nodes have it."""
    return ".".join((urlsplit(endpoint).hostname or "").split(".")[:2])


def _label(account: str | None, chosen: Settings) -> str | None:
    """The label of a configured account of that name, else the name itself as a label."""
    from pipeline.config import LABEL

    for known in chosen.accounts:
        if account in (known.label, known.name):
            return known.label
    if account is not None and not LABEL.fullmatch(account):
        problem = "at most 128 letters, digits, '.', '_' and '-', no leading dot"
        raise click.BadParameter(problem, param_hint="--account")
    return account


def _read(files: tuple[str, ...]) -> tuple[list[Any], datetime]:
    """The files' bytes, and the newest modification time, to the second as ids have it."""
    from pipeline.snapshot.imports import SavedFile

    read, newest = [], 0.0
    for name in files:
        if name == "-":
            read.append(SavedFile("standard input", sys.stdin.buffer.read()))
            newest = max(newest, time.time())
            continue
        path = Path(name)
        try:
            read.append(SavedFile(name, path.read_bytes()))
            newest = max(newest, path.stat().st_mtime)
        except OSError as error:
            raise click.UsageError(f"{name}: {error.strerror}") from None
    return read, datetime.fromtimestamp(int(newest), UTC)


def _time(option: str, text: str) -> datetime:
    """A time of the command line: ISO 8601; UTC where it names no zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no ISO 8601 time, such as 2026-11-21T12:00:00Z", param_hint=option
        ) from None
    try:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        problem = f"{text!r} is outside the years 1 to 9999 of UTC"
        raise click.BadParameter(problem, param_hint=option) from None


_AHEAD = timedelta(minutes=15)


def _past(option: str, at: datetime) -> datetime:
    """A time that is not to come, but for clocks that differ by up to 15 minutes.

    A listing of the future would be its pool's last one until then, whatever is listed meanwhile.
    """
    if at > datetime.now(UTC) + _AHEAD:
        raise click.BadParameter(f"{at:%Y-%m-%d %H:%M:%S}Z is to come", param_hint=option)
    return at


COMMANDS = (snapshot, import_)
