"""The columns of pages: what is beside them keeps its place, its count and its difference."""

from __future__ import annotations

import json

import pytest

from pipeline.flatten import pool_rows
from pipeline.flatten.columns import Report
from pipeline.flatten.pages import read_fast
from pipeline.flatten.start_tasks import StartTaskIdentity, StartTasks, identify
from pipeline.redact import Redactor
from tests.made_up import ORIGIN, Json, flattened, flattener, node, page
from tests.planted import SECRET


def extras(tables: dict[str, object], name: str) -> list[object]:
    """extra_json of each row of a table, opened."""
    rows = tables[name].to_pylist()  # type: ignore[attr-defined]  # an Arrow table
    return [row["extra_json"] and json.loads(row["extra_json"]) for row in rows]


def test_what_a_task_has_beside_its_columns_stays_with_that_task() -> None:
    """The second of the second node, say: the rows of all nodes follow each other."""
    tasks: list[Json] = [{"taskId": "a"}, {"taskId": "b", "new": 1}]
    tables = flattened(page(node(recentTasks=tasks[:1]), node("n2", recentTasks=tasks)))
    assert extras(tables, "recent_tasks") == [None, None, {"new": 1}]


@pytest.mark.parametrize("name", ["recentTasks", "errors"])
def test_an_empty_list_with_a_table_of_its_own_is_listed_by_path(name: str) -> None:
    """It has no row there, and is not a missing one."""
    assert extras(flattened(page(node(**{name: []}), node("n2"))), "nodes")[0] == {name: []}


def test_a_pool_with_nothing_deeper_has_no_configuration() -> None:
    """Null is missing: an empty object would be another pool."""
    (row,) = pool_rows([{"id": "p"}], ORIGIN, Redactor(), Report())
    assert row["configuration_json"] is None


def test_every_value_outside_a_vocabulary_is_counted() -> None:
    """Not only every distinct one."""
    flat = flattener()
    body = page(*(node(f"n{i}", state="hibernating") for i in range(3)))
    flat.page(body, ORIGIN.snapshot_at)
    assert flat.report.unknown_enum_values == {("nodes.state", "hibernating"): 3}


def test_a_detail_without_a_value_has_none() -> None:
    """Its name suggests a secret, and there is none to mask."""
    error: Json = {"code": "c", "errorDetails": [{"name": "password"}]}
    (row,) = flattened(page(node(errors=[error])))["node_errors"].to_pylist()
    assert row["error_details"] == [{"name": "password", "value": None}]


def test_two_names_that_read_the_same_when_masked_are_both_kept() -> None:
    """Nothing is lost, though the rows do not say which was which."""
    more = {f"password={SECRET}a": 1, f"password={SECRET}b": 2}
    (extra,) = extras(flattened(page(node(**more))), "nodes")
    assert isinstance(extra, dict)
    assert sorted(map(str, extra.values())) in (["1", "2"], ["[redacted]"] * 2)
    assert SECRET not in str(extra)


def test_an_empty_object_needs_the_slow_path() -> None:
    """Arrow would take it for one whose members are all missing, and it is neither."""
    body = page(node(startTaskInfo={"state": "running", "containerInfo": {}}))
    assert read_fast(body) is None
    assert extras(flattened(body), "nodes") == [{"startTaskInfo.containerInfo": {}}]


def test_a_masked_member_is_no_part_of_a_definition() -> None:
    """With a secret or without: the definition is the same."""
    plain: Json = {"commandLine": "a"}
    ids = {
        identify(each, Redactor(), None).start_task_definition_id
        for each in (plain, plain | {"sasToken": SECRET})
    }
    assert len(ids) == 1


def test_start_tasks_that_differ_in_a_signature_alone_do_not_fill_the_memory() -> None:
    """A pool whose every node has a SAS of its own has one start task, and few are remembered."""
    tasks = StartTasks(Redactor())
    fresh: list[StartTaskIdentity] = []
    for number in range(1100):
        tasks.add(json.dumps({"commandLine": f"get ?sig=s{number}"}).encode(), fresh)
    assert len(fresh) == 1
    assert len(tasks._known) == 1024
