"""Groups the files of an archive by time, for one snapshot each.

The time of a file comes from its name, or from a manifest, a CSV of ``file,time``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

# 2026-11-21T12:00:00Z, 20261121T120000Z, 2026-11-21_12-00-00, 2026-11-21/12.00 (seconds left out)
_TIME = re.compile(
    r"(?<!\d)(20\d\d)([-._]?)([01]\d)\2([0-3]\d)[T_ /.-]?"
    r"([0-2]\d)[:._-]?([0-5]\d)(?:[:._-]?([0-5]\d))?(?!\d)"
)
_EPOCH = re.compile(r"(?<!\d)(1\d{9})(?!\d)")


class ArchiveError(Exception):
    """An archive with a file of unknown time; the message names the file."""


def files_of(names: Iterable[str]) -> list[Path]:
    """The given files, and every ``*.json`` below the given directories, sorted.

    Raises:
        ArchiveError: one does not exist, or there are none.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            found += (each for each in path.rglob("*.json") if each.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise ArchiveError(f"{name}: no such file or directory")
    if not found:
        raise ArchiveError("no *.json file below these directories")
    return sorted(set(found))


def by_name(files: Iterable[Path]) -> dict[datetime, list[Path]]:
    """The files by time: the last time in each path, UTC.

    Raises:
        ArchiveError: a path has no time.
    """
    moments: dict[datetime, list[Path]] = {}
    for file in files:
        at = _time_in(str(file))
        if at is None:
            raise ArchiveError(
                f"{file}: no time in its name, such as 20261121T120000Z or 2026-11-21_12-00"
            )
        moments.setdefault(at, []).append(file)
    return dict(sorted(moments.items()))


def by_manifest(manifest: Path) -> dict[datetime, list[Path]]:
    """The files by time, from a CSV with the columns ``file`` and ``time`` (ISO 8601).

    Files are relative to the manifest; a time without a zone is UTC.

    Raises:
        ArchiveError: it cannot be read, or a line of it; the text names the line.
    """
    moments: dict[datetime, list[Path]] = {}
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text)
            if not {"file", "time"} <= {*(reader.fieldnames or ())}:
                raise ArchiveError(f"{manifest}: its first line names no columns file and time")
            for row in reader:
                where = f"{manifest}, line {reader.line_num}"
                path = manifest.parent / (row["file"] or "")
                if not path.is_file():
                    raise ArchiveError(f"{where}: {row['file']!r} is not a file")
                moments.setdefault(_parsed(row["time"], where), []).append(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArchiveError(f"{manifest}: cannot be read: {error}") from error
    if not moments:
        raise ArchiveError(f"{manifest}: names no file")
    return dict(sorted(moments.items()))


def _time_in(path: str) -> datetime | None:
    found = [*_TIME.finditer(path)]
    if found:
        year, _, month, day, hour, minute, second = found[-1].groups()
        try:
            return datetime(
                int(year),
                int(month),
                int(day),
                int(hour),
                int(minute),
                int(second or 0),
                tzinfo=UTC,
            )
        except ValueError:
            return None
    epochs = _EPOCH.findall(path)
    return datetime.fromtimestamp(int(epochs[-1]), UTC) if epochs else None


def _parsed(text: str | None, where: str) -> datetime:
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        raise ArchiveError(f"{where}: {text!r} is not an ISO 8601 time") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
