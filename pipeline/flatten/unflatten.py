"""Rebuilds a node's JSON from its rows: the proof that flattening loses nothing.

The result equals the service's JSON but for redaction, the case of enums and digits finer than a
microsecond.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from pipeline import schema
from pipeline.schema import Column, Table

Row = Mapping[str, Any]
Json = dict[str, Any]

_STEP = re.compile(r"((?:\\.|[^\\.\[\]])+)|\[(\d+)\]")


def node(
    row: Row,
    start_task: Row | None = None,
    recent_tasks: Iterable[Row] = (),
    node_errors: Iterable[Row] = (),
) -> Any:
    """The ComputeNode behind a row of ``nodes`` and its child rows.

    ``start_task`` is the row of ``start_tasks`` with the node's ``start_task_id``. A malformed node's
    JSON comes from its ``extra_json``.
    """
    if row["is_malformed"]:
        return json.loads(row["extra_json"])
    rebuilt = _object(schema.NODES, row)
    if start_task is not None:
        rebuilt["startTask"] = _object(schema.START_TASKS, start_task)
    for table, name, children in (
        (schema.RECENT_TASKS, "recentTasks", recent_tasks),
        (schema.NODE_ERRORS, "errors", node_errors),
    ):
        ordered = sorted(children, key=lambda child: cast(int, child["position"]))
        if ordered:
            rebuilt[name] = [_object(table, child) for child in ordered]
    return rebuilt


def pool(row: Row, pool_errors: Iterable[Row] = ()) -> Json:
    """The CloudPool behind a row of ``pools`` and its rows of ``pool_errors``."""
    rebuilt = _object(schema.POOLS, row)
    for error in sorted(pool_errors, key=lambda error: cast(int, error["position"])):
        made = _object(schema.POOL_ERRORS, error)
        if error["kind"] == "resize":
            rebuilt.setdefault("resizeErrors", []).append(made)
        else:
            rebuilt.setdefault("autoScaleRun", {})["error"] = made
    if row["configuration_json"] is not None:
        rebuilt.update(json.loads(row["configuration_json"]))
    return rebuilt


def time_text(time: datetime) -> str:
    """A time in the service's form, to the microsecond."""
    utc = time.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds") + "Z"


def _object(table: Table, row: Row) -> Json:
    rebuilt: Json = {}
    _fill(rebuilt, table.columns, row)
    if row["extra_json"] is not None:
        for path, value in json.loads(row["extra_json"]).items():
            _put(rebuilt, steps(path), value)
    return rebuilt


def _fill(into: Json, columns: Iterable[Column], row: Row) -> None:
    for column in columns:
        value = row.get(column.name)
        if column.path is None or value is None:
            continue
        if column.fields:
            elements: list[Json] = []
            for element in value:
                inner: Json = {}
                _fill(inner, column.fields, element)
                elements.append(inner)
            value = elements
        elif isinstance(value, datetime):
            value = time_text(value)
        _put(into, column.path.split("."), value)


def steps(path: str) -> list[str | int]:
    """The steps of a path of ``extra_json``: names unescaped, places in lists as integers."""
    return [
        int(match[2]) if match[2] is not None else _name(match[1]) for match in _STEP.finditer(path)
    ]


def _name(step: str) -> str:
    return "" if step == r"\0" else re.sub(r"\\(.)", r"\1", step)


def _put(into: Json, path: Iterable[str | int], value: Any) -> None:
    """Sets a value below ``into``, and makes the objects on the way.

    An empty object or list does not replace what other paths have put there.
    """
    *parents, last = path
    place: Any = into
    for step in parents:
        place = place[step] if isinstance(step, int) else place.setdefault(step, {})
    if value in ({}, []) and not isinstance(last, int) and place.get(last):
        return
    place[last] = value
