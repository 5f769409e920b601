"""Checks that a lake exists, and names the nearest one where it does not."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.config import DEFAULT_LAKE

if TYPE_CHECKING:
    from pipeline.lake import Lake

#: Where `nodelake demo` records.
DEMO_LAKE = "data/demo-lake"
_ZONES = ("landing", "compacted", "history")


class NoLake(click.ClickException):
    """The lake to read does not exist; the message says what to do."""

    exit_code = 2


def require(lake: Lake) -> Lake:
    """The lake, if it exists.

    Raises:
        NoLake: it is missing, a file, or a directory (or a prefix of a container) without a lake.
        LakeError: the storage refuses.
    """
    if _is_on_disk(lake):
        if not is_lake(lake.root):
            raise NoLake(_missing_on_disk(lake.root))
    elif not _has_blobs(lake):
        raise NoLake(f"no lake at {lake}: no file of a lake lies there{_advice(None)}")
    return lake


def is_lake(path: Path) -> bool:
    """Whether a directory is a lake, possibly one that a writer has just begun."""
    from pipeline import schema
    from pipeline.schema import facts

    # the folders of a zone: tables, facts, and manifests of history
    folders = {*schema.TABLES, *facts.FACTS, "days", "manifests"}
    try:
        if any(folder.name in folders for zone in _ZONES for folder in _entries(path / zone)):
            return True
        return any(file.suffix == ".lock" for file in _entries(path / "locks"))
    except OSError:
        return path.is_dir()  # it cannot be read: opening it reports why


def _entries(path: Path) -> Iterator[Path]:
    return path.iterdir() if path.is_dir() else iter(())


def _is_on_disk(lake: Lake) -> bool:
    from pipeline.storage.disk import Disk

    return isinstance(lake.storage, Disk)


def _has_blobs(lake: Lake) -> bool:
    from pipeline.storage import NoContainer

    try:
        return any(True for zone in (*_ZONES, "expired") for _ in lake.storage.list(zone))
    except NoContainer:
        raise NoLake(
            f"no lake at {lake}: there is no such container or account{_advice(None)}"
        ) from None


def _missing_on_disk(path: Path) -> str:
    if not path.exists():
        reason = "the directory does not exist"
    elif not path.is_dir():
        reason = "it is a file"
    else:
        reason = "the directory is empty" if not any(path.iterdir()) else "the directory holds none"
    return f"no lake at {path}: {reason}{_advice(path)}"


def _advice(path: Path | None) -> str:
    """A hint: a lake near by, else a command that makes one."""
    near = [_shown(each) for each in _near(path)]
    if near:
        return f"; did you mean {' or '.join(near[:3])}?"
    return "; nodelake snapshot or import makes one, nodelake demo makes one to try"


def _near(path: Path | None) -> Iterator[Path]:
    """Lakes near a path: below it, above it, named alike; then those that settings name."""
    found: dict[Path, None] = {}
    if path is not None:
        found.update(dict.fromkeys(_children(path)))
        found.update(dict.fromkeys([*path.parents][:3]))
        beside = {each.name: each for each in _children(path.parent)}
        alike = difflib.get_close_matches(path.name, beside, n=3, cutoff=0.6)
        found.update(dict.fromkeys(beside[name] for name in alike))
        # the mistake may be in the parent folder: date/lake
        for folder in _children(path.parent.parent):
            if difflib.SequenceMatcher(None, folder.name, path.parent.name).ratio() >= 0.6:
                found[folder / path.name] = None
    named = os.environ.get("NODELAKE_LAKE", "")
    for each in (named if "://" not in named else "", DEFAULT_LAKE, DEMO_LAKE):
        if each:
            found[Path(each).expanduser().absolute()] = None
    return (each for each in found if each != path and each.is_dir() and is_lake(each))


def _children(path: Path) -> list[Path]:
    try:
        return [each for each in sorted(path.iterdir()) if each.is_dir()][:1000]
    except OSError:
        return []


def _shown(path: Path) -> str:
    """A path, relative if it is below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
