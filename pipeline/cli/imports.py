"""The command ``import``, which stores saved JSON."""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from pipeline.cli import archive
from pipeline.cli.memory import keep_memory, no_cycles
from pipeline.cli.options import keep_env_option, settings
from pipeline.cli.runs import close_snapshot
from pipeline.cli.values import not_future, time_of

if TYPE_CHECKING:
    from pipeline.config import Settings

log = logging.getLogger("nodelake")

_PARTIAL = (
    "stored as partial listings, which nodes_latest, history and most questions leave out: if the "
    "files hold every node of their pools, import them again with --complete"
)


@click.command(
    "import",
    epilog="""\b
Examples:
  az batch node list --pool-id p1 > p1.json
  nodelake import p1.json --pool p1 --account render.westeurope --complete
  nodelake import page1.json page2.json pools.json --at 2026-11-21T12:00Z
  nodelake import saved/ --at-from name --complete      a year of saved files
  curl $URL | nodelake import - --account render.westeurope""",
)
@click.argument("files", nargs=-1, metavar="FILES")
@click.option("--at", metavar="TIME", help="When they were saved, ISO 8601 [newest file's time].")
@click.option(
    "--at-from",
    metavar="WHERE",
    help="Store an archive, one snapshot for each moment: name reads the time from each file's "
    "path; else a CSV with the columns file and time.",
)
@click.option("--pool", metavar="ID", help="Pool of nodes whose urls do not name it.")
@click.option("--account", metavar="NAME", help="Account's label [the one the urls name].")
@click.option(
    "--complete",
    is_flag=True,
    help="Treat the files as complete listings: a node they lack counts as gone. Without it the "
    "nodes are stored, but count for nothing that needs a complete listing: nodes_latest, "
    "history, most questions.",
)
@keep_env_option
def import_(
    files: tuple[str, ...],
    at: str | None,
    at_from: str | None,
    pool: str | None,
    account: str | None,
    complete: bool,
    keep_env: tuple[str, ...],
) -> int:
    """Store saved JSON as one snapshot.

    A file holds a page of the API, a bare list as the Azure CLI prints it, one node, or pools.
    Importing the same files again changes nothing. --complete has no effect on a pool of which
    the files hold no nodes, or whose last page names a next one.
    """
    from pipeline.lake import Lake
    from pipeline.redact import Redactor
    from pipeline.snapshot import store

    if at_from and at:
        raise click.UsageError("--at and --at-from exclude each other")
    if not files and at_from in (None, "name"):
        raise click.UsageError("name the files to import, or - for standard input")
    keep_memory()
    chosen = settings()
    store_files = no_cycles()(
        partial(
            store,
            lake=Lake(chosen.lake),
            account=_label(account, chosen),
            labels={_host(known.endpoint): known.label for known in chosen.accounts},
            pool=pool,
            complete=complete,
            redactor=Redactor(keep_env),
            hash_key=chosen.hash_key.reveal().encode() if chosen.hash_key else None,
        )
    )
    if at_from:
        moments = archive.moments_of(files, at_from)
        return archive.store_all(moments, lambda read, moment: store_files(read, at=moment))
    read, newest = _read(files)
    begun = time.monotonic()
    outcome = store_files(read, at=not_future("--at", time_of("--at", at) if at else newest))
    if not outcome.is_stored:
        log.info("already there: %s", outcome.row["snapshot_id"])
        return 0
    is_partial = bool(outcome.row["nodes_rows"]) and not complete
    close_snapshot(outcome, time.monotonic() - begun, note=_PARTIAL if is_partial else None)
    whole, listed = outcome.row["pools_complete"], outcome.row["pools_listed"]
    if complete and whole != listed:
        log.warning("--complete holds for %s of %s pools: see import --help", whole, listed)
    return outcome.exit_code


def _host(endpoint: str) -> str:
    """``name.region`` of an endpoint, as in the urls of nodes."""
    return ".".join((urlsplit(endpoint).hostname or "").split(".")[:2])


def _label(account: str | None, chosen: Settings) -> str | None:
    """The label of the configured account with that name, else the name itself."""
    from pipeline.config import label_problem

    for known in chosen.accounts:
        if account in (known.label, known.name):
            return known.label
    if account is not None and (problem := label_problem(account)):
        raise click.BadParameter(problem, param_hint="--account")
    return account


def _read(files: tuple[str, ...]) -> tuple[list[Any], datetime]:
    """The files, and the newest modification time, to the second as ids have it."""
    from pipeline.snapshot import DiskFile, SavedFile, open_file

    read: list[SavedFile | DiskFile] = []
    newest = 0.0
    for name in files:
        if name == "-":
            read.append(SavedFile("standard input", sys.stdin.buffer.read()))
            newest = max(newest, time.time())
            continue
        try:
            file = open_file(name)
        except OSError as error:
            raise click.UsageError(f"{name}: {error.strerror}") from None
        read.append(file)
        newest = max(newest, file.status.st_mtime if isinstance(file, DiskFile) else time.time())
    return read, datetime.fromtimestamp(int(newest), UTC)


COMMANDS = (import_,)
