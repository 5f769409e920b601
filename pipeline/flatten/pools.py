"""Pools, usage and other small listings as rows: Python values in, one by one, none of them lost."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pyarrow as pa

from pipeline import schema
from pipeline.flatten import pages, shape
from pipeline.flatten.columns import Columns, Origin, Report, extra_json, path_name
from pipeline.flatten.validator import Problem, Validation, Validator
from pipeline.redact import Redactor


def pool_rows(
    values: Iterable[object], origin: Origin, redactor: Redactor, report: Report
) -> list[dict[str, object]]:
    """Pools as Python values to rows of ``pools``, the columns of the listing still missing.

    A pool without a valid id is a problem of the report and gives no row; a value of the wrong type
    is named there and stands, redacted, in extra_json.
    """
    validator = Validator(shape.POOL, ("odata.metadata", *schema.POOL_CONFIGURATION))
    rows: list[dict[str, object]] = []
    for value in values:
        if not isinstance(value, dict) or not pages.is_id(value.get("id")):
            report.note(
                {"pool_id": None, "node_id": None, "path": "pool.id", "problem": "no valid id"}
            )
            report.missing_ids += 1
            continue
        validation = validator.validate(value)
        extra = validation.extra.get((), {})
        report.unknown_fields.update(
            "pools." + path_name(steps, redactor) for steps in validation.unknown
        )
        fitting = dict(value)
        report.malformed += bool(validation.problems)
        for problem in validation.problems:
            path = path_name(problem.steps, redactor)
            report.note(
                {
                    "pool_id": value["id"],
                    "node_id": None,
                    "path": path,
                    "problem": problem.problem,
                }
            )
            for name in problem.steps:
                extra[problem.steps] = value[str(name)]
                fitting.pop(str(name), None)
        deeper = {name: value[name] for name in schema.POOL_CONFIGURATION if name in value}
        flat = pa.array([fitting], shape.POOL.arrow)
        columns = Columns(schema.POOLS, flat, redactor, report).make().made
        row: dict[str, object] = {name: array[0].as_py() for name, array in columns.items()}
        row["account"], row["snapshot_id"] = origin.account, origin.snapshot_id
        row["snapshot_at"] = origin.snapshot_at
        row["configuration_json"] = json.dumps(redactor.json(deeper)) if deeper else None
        row["extra_json"] = extra_json(extra, redactor)
        rows.append(row)
    return rows


def usage_rows(
    values: Iterable[object], origin: Origin, redactor: Redactor, report: Report
) -> pa.Table:
    """PoolUsageMetrics as Python values to ``pool_usage``; a misfit is named and left out."""
    validator = Validator(shape.POOL_USAGE)
    kept, extras = [], []
    for value in values:
        metrics = value if isinstance(value, dict) else {}
        problems = [Problem((), f"expected an object, got {shape.kind(value)}")]
        validation = (
            validator.validate(metrics) if metrics is value else Validation(problems=problems)
        )
        report.unknown_fields.update(
            "pool_usage." + path_name(steps, redactor) for steps in validation.unknown
        )
        report.malformed += bool(validation.problems)
        for problem in validation.problems:
            report.note(
                {
                    "pool_id": None,
                    "node_id": None,
                    "path": path_name(("usage", *problem.steps), redactor),
                    "problem": problem.problem,
                }
            )
        if not validation.problems:
            hours = metrics.get("totalCoreHours")  # JSON may write it without a fraction
            kept.append(metrics | {"totalCoreHours": None if hours is None else float(hours)})
            extras.append(extra_json(validation.extra.get((), {}), redactor))
    flat = pa.array(kept, shape.POOL_USAGE.arrow)
    columns = Columns(schema.POOL_USAGE, flat, redactor, report).make()
    columns.made["extra_json"] = pa.array(extras, pa.string())
    return columns.table(origin)
