"""Every recorded response of the real service with nodes or pools: nothing of it is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import schema
from pipeline.flatten import pool_rows
from pipeline.flatten import unflatten as rebuild
from pipeline.flatten.columns import Report
from pipeline.redact import Redactor
from tests.conftest import SHARED
from tests.made_up import AT, ORIGIN, Api, Json, flattened, flattener, page, rebuilt, redacted

#: The recordings by their kind, which is in their names.
NODES = sorted(path.name for path in SHARED.glob("recordings/*-node[gl]*.json"))
POOLS = sorted(path.name for path in SHARED.glob("recordings/*-pool[gl]*.json"))


@pytest.fixture(scope="module")
def api(shared) -> Api:
    """The contract's definitions."""
    return Api(shared)


def recorded(shared: Path, name: str) -> list[Json]:
    """The objects of a recording's body: a page's, or the one it is."""
    body = json.loads((shared / "recordings" / name).read_text())["body"]
    return body["value"] if isinstance(body.get("value"), list) else [body]


def bare(value: Json) -> Json:
    """An object without its envelope's member, which a single node or pool carries itself."""
    return {name: x for name, x in value.items() if name != "odata.metadata"}


def test_the_recordings_are_all_there(shared) -> None:
    """48 recordings hold nodes, 130 pools: a glob that finds none would prove nothing."""
    assert (48, 130) == (len(NODES), len(POOLS))


@pytest.mark.parametrize("name", NODES)
def test_recorded_nodes_are_rebuilt(shared, api: Api, name: str) -> None:
    """Each node comes back as it was, and none is called malformed."""
    values = recorded(shared, name)
    expected = [redacted(api.expected("ComputeNode", bare(value))) for value in values]

    tables = flattened(page(*values))

    assert expected == rebuilt(tables)
    assert not any(tables["nodes"]["is_malformed"].to_pylist())


def test_recorded_nodes_report_one_unknown_field(shared) -> None:
    """All recordings together hold one field the contract lacks (of 2017), and no odd enum value."""
    total = Report()
    for name in NODES:
        reading = flattener()
        reading.page(page(*recorded(shared, name)), AT)
        total.add(reading.report)
    unknown_value = "nodes.recentTasks[].executionInfo.schedulingError"

    assert {unknown_value: 1} == total.unknown_fields
    assert not total.unknown_enum_values
    assert not total.problems


@pytest.mark.parametrize("name", POOLS)
def test_recorded_pools_are_rebuilt(shared, api: Api, name: str) -> None:
    """Each pool comes back as it was, its deeper parts redacted."""
    values = [bare(value) for value in recorded(shared, name)]
    expected = []
    for value in values:
        deeper = {k: x for k, x in value.items() if k in schema.POOL_CONFIGURATION}
        scalars = {k: x for k, x in value.items() if k not in schema.POOL_CONFIGURATION}
        expected.append(redacted(api.expected("CloudPool", scalars) | deeper))
    report = Report()

    rows = pool_rows(values, ORIGIN, Redactor(), report)

    assert expected == [rebuild.pool(row) for row in rows]
    assert not report.problems
    assert not report.missing_ids
