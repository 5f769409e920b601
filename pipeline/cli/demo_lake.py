"""The demo's lake: a demo empties only a lake that nothing but demos wrote."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.lake import Lake

log = logging.getLogger("nodelake")

ACCOUNT = "demo.local"
REPORT = "report.html"
_MARK = ".nodelake-demo"
#: Files of a demo's lake besides its snapshots: day files, history, watermark, all by account.
_OWN = re.compile(rf"{re.escape(ACCOUNT)}(-late-\d{{8}}T\d{{6}}Z-[0-9a-f]{{8}})?(\.\w+)?")
_LANDED = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}\.parquet")


def claim(lake: Lake) -> None:
    """Creates the directory of a demo's lake; deletes what an earlier demo wrote.

    Raises:
        click.UsageError: it holds something else; nothing was deleted.
        LakeError: the directory cannot be made.
    """
    from pipeline.lake import make_directories

    root = lake.root
    files, snapshots = refuse_foreign(lake)
    if any(file.parent != root / "locks" for file in files):
        log.info("%s: deleting the lake of an earlier demo (%d snapshots)", lake, snapshots)
        _empty(root, files)
    make_directories(root)


def refuse_foreign(lake: Lake) -> tuple[list[Path], int]:
    """The files of a demo's lake, and how many snapshots they hold.

    Raises:
        click.UsageError: it holds something that no demo wrote.
    """
    files = [*_files(lake.root)]
    snapshots, foreign = _survey(lake, files)
    if foreign is not None:
        raise click.UsageError(
            f"{lake} holds {foreign}, which no demo wrote: nothing was deleted; choose another "
            "--lake, or delete that directory yourself"
        )
    return files, snapshots


def note_begun(root: Path, endpoint: str, day: date) -> None:
    """Records the account of a demo: its snapshots are the demo's."""
    _write_mark(root, {"batch_url": endpoint, "day": day.isoformat()})


def note_report(root: Path) -> None:
    """Records the report that a demo wrote: another file of that name is not the demo's."""
    _write_mark(root, _mark(root) | {"report_sha256": _digest(root / REPORT)})


def _write_mark(root: Path, values: dict[str, Any]) -> None:
    staging = root / f"{_MARK}.{os.getpid()}"
    staging.write_text(json.dumps(values) + "\n", "utf-8")
    staging.replace(root / _MARK)


def _mark(root: Path) -> dict[str, Any]:
    try:
        read = json.loads((root / _MARK).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _files(root: Path) -> Iterator[Path]:
    """Every file and link below a directory; links are not followed."""
    for folder, folders, names in os.walk(root):
        at = Path(folder)
        yield from (at / name for name in names)
        yield from (at / name for name in folders if (at / name).is_symlink())


def _survey(lake: Lake, files: list[Path]) -> tuple[int, str | None]:
    """The number of snapshots of demos in a lake, and the first entry that no demo wrote."""
    root = lake.root
    mark = _mark(root)
    committed, foreign = _snapshots(lake, mark)
    if foreign is None:
        unknown = (file for file in files if not _is_own(file, root, mark, committed))
        foreign = next((str(file.relative_to(root)) for file in unknown), None)
    return len(committed), foreign


def _snapshots(lake: Lake, mark: dict[str, Any]) -> tuple[set[str], str | None]:
    """The number of committed snapshots, and a name for the first one that is not a demo's."""
    import duckdb

    from pipeline import query
    from pipeline.lake import LakeError

    try:
        # a Lake caches committed files; once they are deleted it must be a new one
        with query.connect(lake.root) as connection:
            rows = connection.table(
                "select snapshot_id, account, source, batch_url from snapshots order by snapshot_id"
            ).to_pylist()
    except (LakeError, duckdb.Error):
        return set(), "snapshots that cannot be read"
    for row in rows:
        if row["source"] != "live":
            return set(), f"an {row['source']} of account {row['account']}"
        if row["account"] != ACCOUNT or row["batch_url"] != mark.get("batch_url"):
            return set(), f"snapshots of account {row['account']}"
    return {row["snapshot_id"] for row in rows}, None


def _is_own(file: Path, root: Path, mark: dict[str, Any], committed: set[str]) -> bool:
    """Whether a demo, possibly a killed one, wrote a file."""
    zone, *folders, name = file.relative_to(root).parts if file.parent != root else ("", file.name)
    if file.is_symlink():
        return False
    if not zone:
        is_report = name == REPORT and mark.get("report_sha256") == _digest(file)
        return name == _MARK or is_report
    if zone == "locks":
        return name.endswith(".lock")
    if zone == "landing":
        is_of_day = f"date={mark.get('day')}" in folders
        is_left = name.startswith(".") and name.endswith(".staging")
        return Path(name).stem in committed or (
            is_of_day and (is_left or _LANDED.fullmatch(name) is not None)
        )
    if zone in ("compacted", "history", "expired", "leaning", "expiring"):
        return bool(_OWN.fullmatch(name)) or name.startswith(f".{ACCOUNT}")
    return False


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _empty(root: Path, files: list[Path]) -> None:
    """Deletes these files and then empty directories; locks stay."""
    for file in sorted(files, key=lambda file: file.name == _MARK):  # the marker last
        if file.parent != root / "locks":
            file.unlink(missing_ok=True)
    for folder, _, _ in os.walk(root, topdown=False):
        if Path(folder) != root:
            with suppress(OSError):  # not empty
                Path(folder).rmdir()
