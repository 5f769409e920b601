"""Makes rows from pools, usage metrics and supported images, which come as Python values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard

import pyarrow as pa

from pipeline import schema
from pipeline.flatten import pages, shape
from pipeline.flatten.columns import Columns, Origin, Report, extra_json, path_name
from pipeline.flatten.validator import Problem, Steps, Validation, Validator
from pipeline.redact import Redactor
from pipeline.schema import Table

Row = dict[str, object]

#: The paths of a pool's errors, each with its kind; a position in a list follows as a number.
_ERRORS = (("resize", ("resizeErrors",)), ("autoscale", ("autoScaleRun", "error")))


def pool_rows(
    values: Iterable[object], origin: Origin, redactor: Redactor, report: Report
) -> list[Row]:
    """Rows of ``pools`` without the columns of the listing; ``pool_errors`` of each holds its errors.

    A pool without a valid id has no row, only a problem in the report. A value of a wrong type is a
    problem too, and stands, redacted, in extra_json.
    """
    validator = Validator(shape.POOL, ("odata.metadata", *schema.POOL_CONFIGURATION))
    return [
        _pool_row(value, validator, origin, redactor, report)
        for value in values
        if _has_id(value, report)
    ]


def _has_id(value: object, report: Report) -> TypeGuard[dict[str, object]]:
    if isinstance(value, dict) and pages.is_id(value.get("id")):
        return True
    report.note({"pool_id": None, "node_id": None, "path": "id", "problem": "no valid id"})
    report.missing_ids += 1
    return False


def _pool_row(
    value: dict[str, object],
    validator: Validator,
    origin: Origin,
    redactor: Redactor,
    report: Report,
) -> Row:
    validation = validator.validate(value)
    report.unknown_fields.update(
        "pools." + path_name(steps, redactor, any_place=True) for steps in validation.unknown
    )
    fitting = dict(value)
    _note(validation.problems, report, redactor, (), str(value["id"]))
    # An object with a repeated member has all its values under other names.
    for name in {str(problem.steps[0]) for problem in validation.problems if problem.steps}:
        # A value that does not fit is kept with the whole member that holds it.
        for at, extra in [*validation.extra.items()]:
            validation.extra[at] = {x: y for x, y in extra.items() if (*at, *x)[0] != name}
        validation.extra.setdefault((), {})[name,] = fitting.pop(name)
    deeper = {name: value[name] for name in schema.POOL_CONFIGURATION if name in value}
    made = _columns(schema.POOLS, shape.POOL, [fitting], redactor, report)[0]
    row: Row = {
        **made,
        "account": origin.account,
        "snapshot_id": origin.snapshot_id,
        "snapshot_at": origin.snapshot_at,
        "configuration_json": json.dumps(redactor.json(deeper)) if deeper else None,
        "extra_json": extra_json(validation.extra.get((), {}), redactor),
    }
    row["pool_errors"] = _error_rows(fitting, validation, row, redactor, report)
    return row


def _error_rows(
    pool: Mapping[str, object], validation: Validation, row: Row, redactor: Redactor, report: Report
) -> list[Row]:
    """The rows of ``pool_errors`` of a pool whose errors fit."""
    found: list[tuple[str, int, Steps, object]] = []
    for kind, steps in _ERRORS:
        errors: object = pool
        for name in steps:
            errors = errors.get(str(name)) if isinstance(errors, dict) else None
        if isinstance(errors, list):
            found += [(kind, place, (*steps, place), x) for place, x in enumerate(errors)]
        elif errors is not None:
            found.append((kind, 0, steps, errors))
    if not found:
        return []
    made = _columns(
        schema.POOL_ERRORS, shape.POOL_ERROR, [error for *_, error in found], redactor, report
    )
    keys = {key: row[key] for key in ("account", "snapshot_id", "snapshot_at", "pool_id")}
    return [
        each
        | keys
        | {
            "kind": kind,
            "position": place,
            "extra_json": extra_json(validation.extra.get(steps, {}), redactor),
        }
        for each, (kind, place, steps, _) in zip(made, found, strict=True)
    ]


def _columns(
    table: Table, of: shape.Members, objects: Sequence[object], redactor: Redactor, report: Report
) -> list[Row]:
    """Rows of objects that fit the shape."""
    made = Columns(table, pa.array(objects, of.arrow), redactor, report).make().made
    return [{name: array[i].as_py() for name, array in made.items()} for i in range(len(objects))]


def _note(
    problems: Sequence[Problem], report: Report, redactor: Redactor, at: Steps, pool_id: str | None
) -> None:
    """Counts a malformed object, and adds its problems to the report."""
    report.malformed += bool(problems)
    for problem in problems:
        path = path_name((*at, *problem.steps), redactor)
        report.note({"pool_id": pool_id, "node_id": None, "path": path, "problem": problem.problem})


def usage_rows(
    values: Iterable[object], origin: Origin, redactor: Redactor, report: Report
) -> pa.Table:
    """Rows of ``pool_usage`` from PoolUsageMetrics; malformed ones are only reported."""
    rows = _fitting(values, shape.POOL_USAGE, schema.POOL_USAGE, "usage", redactor, report)
    for metrics, _ in rows:
        hours = metrics.get("totalCoreHours")  # JSON may write it without a fraction
        metrics["totalCoreHours"] = float(hours) if isinstance(hours, int) else hours
    return _table(schema.POOL_USAGE, shape.POOL_USAGE, rows, origin, redactor, report)


def image_rows(
    values: Iterable[object], origin: Origin, redactor: Redactor, report: Report
) -> pa.Table:
    """Rows of ``supported_images`` from ImageInformation; malformed ones are only reported."""
    of, table = shape.SUPPORTED_IMAGE, schema.SUPPORTED_IMAGES
    rows = _fitting(values, of, table, "supported_images", redactor, report)
    return _table(table, of, rows, origin, redactor, report)


def _fitting(
    values: Iterable[object],
    of: shape.Members,
    table: Table,
    place: str,
    redactor: Redactor,
    report: Report,
) -> list[tuple[dict[str, object], str | None]]:
    """The objects that fit a shape, each with its extra_json; the report has the others."""
    validator = Validator(of)
    kept: list[tuple[dict[str, object], str | None]] = []
    for value in values:
        problems = [Problem((), f"expected an object, got {shape.kind(value)}")]
        validation = (
            validator.validate(value) if isinstance(value, dict) else Validation(problems=problems)
        )
        report.unknown_fields.update(
            f"{table.name}." + path_name(steps, redactor) for steps in validation.unknown
        )
        _note(validation.problems, report, redactor, (place,), None)
        if isinstance(value, dict) and not validation.problems:
            kept.append((dict(value), extra_json(validation.extra.get((), {}), redactor)))
    return kept


def _table(
    table: Table,
    of: shape.Members,
    rows: Sequence[tuple[dict[str, object], str | None]],
    origin: Origin,
    redactor: Redactor,
    report: Report,
) -> pa.Table:
    flat = pa.array([value for value, _ in rows], of.arrow)
    columns = Columns(table, flat, redactor, report).make()
    columns.made["extra_json"] = pa.array([extra for _, extra in rows], pa.string())
    return columns.table(origin)
