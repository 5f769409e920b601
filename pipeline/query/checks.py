"""Data-quality checks: queries for rows that should not exist, each a file in ``sql/checks``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from pipeline.query.connection import Connection
from pipeline.query.nearest import did_you_mean
from pipeline.query.sql_files import sql_directory

Severity = Literal["fail", "warn"]

#: The columns of ``run``, which returns a row for each check.
RESULT = pa.schema(
    [
        pa.field("name", pa.string()),
        pa.field("severity", pa.string()),
        pa.field("rows", pa.int64()),
        pa.field("example", pa.string()),
    ]
)

_HEADER = re.compile(r"^-- (?:(check|severity|grain|columns|caveats): +| {6,})(.+)$")
_COUNT = "rows_found"


class CheckError(Exception):
    """An unknown check, or an invalid file; the message lists the checks."""


@dataclass(frozen=True)
class Check:
    """One check: its header, and the query that finds rows that should not exist."""

    name: str
    check: str
    severity: Severity
    grain: str
    columns: tuple[str, ...]
    caveats: str
    sql: str


@cache
def checks() -> dict[str, Check]:
    """Every check by name, sorted."""
    files = sorted((sql_directory() / "checks").glob("*.sql"))
    return {path.stem: _parse(path) for path in files}


def check(name: str) -> Check:
    """The check of that name.

    Raises:
        CheckError: there is none; names those there are.
    """
    known = checks()
    if name not in known:
        near = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
        raise CheckError(f"no check {name!r}{near}")
    return known[name]


def run(connection: Connection) -> Iterator[dict[str, Any]]:
    """Runs every check; a row of ``RESULT`` for each, with the first row that it found."""
    for each in checks().values():
        counted = (  # the query is one of nodelake's files
            f"select *, count(*) over () as {_COUNT} from (\n{each.sql}\n) as found limit 1"  # noqa: S608
        )
        found = connection.table(counted, may_lack=True).to_pylist()
        yield {
            "name": each.name,
            "severity": each.severity,
            "rows": found[0].pop(_COUNT) if found else 0,
            "example": _on_one_line(found[0]) if found else None,
        }


def _on_one_line(row: dict[str, Any]) -> str:
    """A row on one line, without nulls."""
    return ", ".join(f"{name}={_text(value)}" for name, value in row.items() if value is not None)


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    return f"{value.isoformat()}" if hasattr(value, "isoformat") else str(value)


def _parse(path: Path) -> Check:
    text = path.read_text("utf-8")
    header: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        match = _HEADER.match(line)
        if match is None:
            break
        key = match[1] or key
        header[key] = f"{header[key]} {match[2].strip()}" if key in header else match[2].strip()
    severity = header["severity"]
    if severity not in ("fail", "warn"):
        raise CheckError(f"{path}: severity is fail or warn, not {severity}")
    return Check(
        path.stem,
        header["check"],
        severity,  # type: ignore[arg-type]  # checked above
        header["grain"],
        tuple(column.strip() for column in header["columns"].split(",")),
        header["caveats"],
        text.rstrip().removesuffix(";"),
    )
