"""``import --at-from``: imports an archive of saved files, one snapshot for each time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import is_watched

if TYPE_CHECKING:
    from pipeline.snapshot import DiskFile, Outcome, SavedFile

log = logging.getLogger("nodelake")
PARTIAL, FAILED = 3, 1
_AHEAD = timedelta(minutes=15)


def moments_of(files: Sequence[str], at_from: str) -> Mapping[datetime, list[Path]]:
    """The archive's files by time; a usage error where a time is missing or in the future."""
    from pipeline.snapshot.archive import ArchiveError, by_manifest, by_name, files_of

    try:
        moments = by_name(files_of(files)) if at_from == "name" else by_manifest(Path(at_from))
    except ArchiveError as error:
        raise click.UsageError(str(error)) from None
    last = max(moments)
    if last > datetime.now(UTC) + _AHEAD:
        where = f"{moments[last][0]}: {last:%Y-%m-%d %H:%M:%S}Z"
        raise click.UsageError(f"{where} lies in the future")
    return moments


def store_all(
    moments: Mapping[datetime, list[Path]],
    store: Callable[[list[SavedFile | DiskFile], datetime], Outcome],
) -> int:
    """Stores a snapshot for each time; returns the combined exit code.

    A failed import is reported and does not stop the others. Snapshots that the lake has are skipped,
    so that the same command continues an interrupted import.
    """
    from pipeline.lake import LakeError
    from pipeline.snapshot import SavedError, open_file

    stored = known = failed = partial = 0
    with _progress(len(moments)) as advance:
        for at, paths in moments.items():
            try:
                outcome = store([open_file(path) for path in paths], at)
            except (SavedError, LakeError, OSError) as error:
                log.error("%s", error, extra={"snapshot_at": f"{at:%Y-%m-%dT%H:%M:%SZ}"})
                failed += 1
            else:
                stored += outcome.is_stored
                known += not outcome.is_stored
                partial += outcome.exit_code != 0
            advance()
    log.info(
        "%d snapshots: %d stored, %d already there, %d partial, %d failed",
        len(moments), stored, known, partial, failed,
    )  # fmt: skip
    if failed == len(moments):
        return FAILED
    return PARTIAL if failed or partial else 0


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A progress bar of snapshots, on a terminal only."""
    if not is_watched():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("importing", total=total)
        yield lambda: bar.advance(task)
