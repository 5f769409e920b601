"""Pools and core-hours: rows of what fits, and by name what does not."""

from __future__ import annotations

import json

from pipeline.flatten import pool_rows, usage_rows
from pipeline.flatten.columns import Report
from pipeline.flatten.pages import read_page
from pipeline.redact import Redactor
from tests.made_up import ORIGIN


def test_pools_malformed_and_not() -> None:
    """A wrong value is named and kept aside, a pool without an id is named and leaves no row."""
    report = Report()
    values = [
        {
            "id": "p",
            "targetDedicatedNodes": "3",
            "vmSize": "a",
            "state": None,
            "new": 1,
            "stats": {},
        },
        {"id": ""},
        "no pool",
        {"id": "q", "metadata": None},
    ]
    rows = pool_rows(values, ORIGIN, Redactor(), report)

    assert ["p", "q"] == [row["pool_id"] for row in rows]
    assert [None, "a"] == [rows[0]["target_dedicated_nodes"], rows[0]["vm_size"]]
    assert {"targetDedicatedNodes": "3", "state": None, "new": 1} == json.loads(
        str(rows[0]["extra_json"])
    )
    assert ['{"stats": {}}', '{"metadata": null}'] == [row["configuration_json"] for row in rows]
    assert ["targetDedicatedNodes", "id", "id"] == [p["path"] for p in report.problems]
    assert {"pools.new": 1} == report.unknown_fields
    assert 2 == report.missing_ids
    assert 1 == report.malformed


def test_a_pool_that_names_a_member_twice_keeps_both() -> None:
    """And its row."""
    (value,), _ = read_page(b'{"value":[{"id":"p","vmSize":"a","vmSize":"b"}]}')
    report = Report()
    (row,) = pool_rows([value], ORIGIN, Redactor(), report)

    assert ("a", '{"vmSize (2)": "b"}') == (row["vm_size"], row["extra_json"])
    assert "a member named twice" == report.problems[0]["problem"]


def test_usage_rows() -> None:
    """Hours with a fraction or without; what does not fit is named and left out."""
    report = Report()
    good = {"poolId": "p", "vmSize": "a", "startTime": "2026-11-21T00:00:00Z", "totalCoreHours": 2}
    huge = 2**60 + 1
    values = [good, good | {"totalCoreHours": 2.5, "new": 1}, good | {"totalCoreHours": huge}, 5]
    values += [good | {"totalCoreHours": "2"}, good | {"totalCoreHours": 10**400}, {"poolId": None}]
    table = usage_rows(values, ORIGIN, Redactor(), report)
    table.validate(full=True)

    assert [2.0, 2.5, float(huge), None] == table["total_core_hours"].to_pylist()
    assert [None, '{"new": 1}', None, '{"poolId": null}'] == table["extra_json"].to_pylist()
    assert ["usage", "usage.totalCoreHours", "usage.totalCoreHours"] == [
        problem["path"] for problem in report.problems
    ]
    assert (3, {"pool_usage.new": 1}) == (report.malformed, report.unknown_fields)
    assert 0 == usage_rows([], ORIGIN, Redactor(), report).num_rows
