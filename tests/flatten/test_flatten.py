"""Flattening: what is malformed stays counted and named, and harms nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from pipeline import schema
from pipeline.flatten import pool_rows, shape
from pipeline.flatten.columns import PROBLEMS_KEPT, Report
from pipeline.flatten.pages import read_fast
from pipeline.redact import Redactor
from tests.made_up import (
    AT,
    ORIGIN,
    POOL_ID,
    Json,
    flattened,
    flattener,
    node,
    page,
    rebuilt,
    redacted,
    whole_node,
)

WRONG: dict[str, list[Any]] = {
    "string": [1, 1.5, True, {}, {"a": 1}, [], ["a"], "\ud800"],
    "time": [
        *(1, True, {}, [], "", "yesterday", "2026-11-21", "2026-11-21T00:00:00"),
        *("2026-02-30T00:00:00Z", "2026-11-21T24:00:00Z", "0000-01-01T00:00:00Z"),
        "٢٠٢٦-11-21T00:00:00Z",
    ],
    "integer": [1.5, "1", True, {}, [], 2**31, -(2**31) - 1, 2**64],
    "boolean": [0, 1, "true", {}, []],
    "strings": ["a", 1, {}, [1], [None], [["a"]], ["\ud800"]],
    "object": ["a", 1, True, [], [{}]],
    "objects": ["a", 1, {}, {"a": 1}, ["a"], [None], [[]], [{}, 1]],
}


def kind(member: shape.Shape) -> str:
    """Which wrong values a member is tried with."""
    if isinstance(member, shape.Members):
        return "object"
    if isinstance(member, shape.Elements):
        return "objects"
    types = {
        schema.TEXT: "string",
        schema.TIME: "time",
        schema.INT: "integer",
        schema.FLAG: "boolean",
    }
    return types.get(member.column.type, "strings")


def places(of: shape.Members, way: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """The way to every member of a node, those of the first element of a list, and its kind."""
    for name, member in of.members.items():
        yield (*way, name), kind(member)
        if isinstance(member, shape.Members):
            yield from places(member, (*way, name))
        elif isinstance(member, shape.Elements):
            yield from places(member.element, (*way, name, 0))


PLACES = [(way, kind) for way, kind in places(shape.NODE) if way != ("id",)]


def with_value(way: tuple[Any, ...], value: Any, node_id: str) -> Json:
    """A whole node with one value replaced."""
    made = whole_node(node_id)
    place: Any = made
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    return made


# --- malformed nodes ---


@pytest.mark.parametrize(("way", "kind"), PLACES, ids=[shape.join(way) for way, _ in PLACES])
def test_a_value_of_the_wrong_type_marks_its_node_alone(way: tuple[Any, ...], kind: str) -> None:
    """Every field, every wrong type: keys kept, JSON kept, problem named, neighbours unharmed."""
    sound = [whole_node("first"), node("last")]
    bad = [with_value(way, wrong, f"bad{i}") for i, wrong in enumerate(WRONG[kind])]
    reading = flattener()
    body = json.dumps({"value": [sound[0], *bad, sound[1]]}).encode()

    tables, _ = reading.page(body, AT)

    rows = tables["nodes"].to_pylist()
    assert [False] + [True] * len(bad) + [False] == [row["is_malformed"] for row in rows]
    assert len(bad) == reading.report.malformed
    assert not reading.report.missing_ids
    for value, row in zip(bad, rows[1:-1], strict=True):
        assert value["id"] == row["node_id"]
        assert POOL_ID == row["pool_id"]
        assert (way == ("allocationTime",)) == (row["allocation_time"] is None)
        assert redacted(value) == json.loads(row["extra_json"])
        keys = {"account", "snapshot_id", "snapshot_at", "pool_id", "node_id", "allocation_time"}
        others = row.keys() - keys - {"observed_at", "is_malformed", "extra_json"}
        assert {None} == {row[name] for name in others}
    for value, problem in zip(bad, reading.report.problems, strict=True):
        assert (POOL_ID, value["id"]) == (problem["pool_id"], problem["node_id"])
        assert str(problem["path"]).startswith(shape.join(way))
    beside = flattened(page(*sound))
    for name in ("recent_tasks", "node_errors", "start_tasks"):
        assert beside[name].equals(tables[name])
    sound_rows = tables["nodes"].filter(pa.array([not row["is_malformed"] for row in rows]))
    assert beside["nodes"].equals(sound_rows)


@pytest.mark.parametrize(
    "node_id", [..., None, "", " ", "\t", 5, True, {}, [], "a\nb", "\x00", "\ud800", "\u202e"]
)
def test_a_node_without_a_valid_id_is_kept_and_counted(node_id: Any) -> None:
    """Missing, blank, not printable, not a string: a row without an id, and the listing will know."""
    bad = node() | {"id": node_id}
    if node_id is ...:
        del bad["id"]
    reading = flattener()

    tables, _ = reading.page(json.dumps({"value": [node("a"), bad, bad]}).encode(), AT)

    assert ["a", None, None] == tables["nodes"]["node_id"].to_pylist()
    assert (2, 2, 0) == (
        reading.report.missing_ids,
        reading.report.malformed,
        reading.report.duplicates,
    )
    problem = {"pool_id": POOL_ID, "node_id": None, "path": "id", "problem": "no valid id"}
    assert [problem, problem] == reading.report.problems
    assert redacted(bad) == rebuilt(tables)[1]
    assert tables["nodes"]["allocation_time"].null_count == 0


@pytest.mark.parametrize("element", [None, 1, "a node", [], [{}], True])
def test_an_element_that_is_no_object_is_kept_and_counted(element: Any) -> None:
    """It counts as present, and its value is kept."""
    reading = flattener()
    tables, _ = reading.page(page(element, node("a")), AT)

    assert [None, "a"] == tables["nodes"]["node_id"].to_pylist()
    assert json.dumps(element) == tables["nodes"]["extra_json"][0].as_py()
    assert (1, 1) == (reading.report.missing_ids, reading.report.malformed)
    assert reading.report.problems[0]["path"] == ""


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ('"vmSize":"x","vmSize":"y"', ""),
        ('"nodeAgentInfo":{"version":"1","version":"2"}', "nodeAgentInfo"),
        ('"startTask":{"commandLine":"1","commandLine":"2"}', "startTask"),
        ('"recentTasks":[{"jobId":"1","jobId":"2"}]', "recentTasks[0]"),
        ('"recentTasks":[{}],"recentTasks":[]', ""),
        ('"new":{"a":[{"b":1,"b":2}]}', "new"),
    ],
)
def test_a_member_named_twice_is_malformed_and_keeps_both(member: str, path: str) -> None:
    """JSON readers differ in which they take: none is taken, both are kept."""
    body = f'{{"value":[{{"id":"a",{member}}},{{"id":"b"}}]}}'.encode()
    reading = flattener()
    tables, _ = reading.page(body, AT)

    assert [True, False] == tables["nodes"]["is_malformed"].to_pylist()
    assert " (2)" in tables["nodes"]["extra_json"][0].as_py()
    assert path == reading.report.problems[0]["path"]
    assert "a member named twice" == reading.report.problems[0]["problem"]


def test_an_unknown_field_nested_too_deeply_is_refused_with_its_node() -> None:
    """100 levels are kept as they are; below 150 what is deeper is masked, and nothing overflows."""
    fits, too_deep = (json.loads("[" * n + "]" * n) for n in (100, 300))
    reading = flattener()
    tables, _ = reading.page(page(node("a", new=fits), node("b", new=too_deep)), AT)
    pool = {"id": "p", "stats": too_deep}
    (row,) = pool_rows([pool], ORIGIN, Redactor(), Report())

    assert [False, True] == tables["nodes"]["is_malformed"].to_pylist()
    assert fits == rebuilt(tables)[0]["new"]
    assert "nested too deeply" == reading.report.problems[0]["problem"]
    assert "[redacted]" in tables["nodes"]["extra_json"][1].as_py()
    assert "[redacted]" in str(row["configuration_json"])


def test_a_number_json_cannot_write_is_refused_with_its_node() -> None:
    """1e999 is JSON, but what Python makes of it is not: the files hold JSON only."""
    tables = flattened(b'{"value":[{"id":"a","new":[1e999]}]}')

    assert tables["nodes"]["is_malformed"].to_pylist() == [True]
    json.loads(tables["nodes"]["extra_json"][0].as_py(), parse_constant=pytest.fail)


def test_problems_are_kept_to_a_bound_and_counted_without() -> None:
    """The first hundred by name; adding reports keeps to it too."""
    reading = flattener()
    reading.page(page(*(node(f"n{i}", state=1) for i in range(250))), AT)
    total = Report(problems=[{}] * (PROBLEMS_KEPT + 5))
    total.add(reading.report)
    pools = Report()
    pool_rows([{}] * 250, ORIGIN, Redactor(), pools)

    assert (250, PROBLEMS_KEPT) == (reading.report.malformed, len(reading.report.problems))
    assert (250, PROBLEMS_KEPT + 5) == (total.malformed, len(total.problems))
    assert (250, PROBLEMS_KEPT) == (pools.missing_ids, len(pools.problems))


@pytest.mark.parametrize("text", ["1.0", "1e2", "1E+2", "12e-0", "-0", "-0.0", "2147483647.0", "7"])
def test_a_whole_number_is_an_integer_however_it_is_written(text: str) -> None:
    """JSON has one kind of number; both readers take it alike."""
    body = f'{{"value":[{{"id":"a","totalTasksRun":{text}}}]}}'.encode()
    assert read_fast(body) is not None
    fast, slow = (flattened(each)["nodes"] for each in (body, body.replace(b'"id"', b'"x":1,"id"')))

    assert not any(fast["is_malformed"].to_pylist())
    assert [int(float(text))] == fast["total_tasks_run"].to_pylist()
    assert fast["total_tasks_run"].equals(slow["total_tasks_run"])


@pytest.mark.parametrize(
    "text", ["1.5", "1e-1", "2147483648", "-2147483649", "1e10", "1e400", '"1"', "true"]
)
def test_the_fast_path_leaves_what_is_no_integer_to_the_slow_path(text: str) -> None:
    """arrow-rs would make an integer of some."""
    body = f'{{"value":[{{"id":"a","totalTasksRun":{text}}}]}}'.encode()

    assert read_fast(body) is None
    assert [True] == flattened(body)["nodes"]["is_malformed"].to_pylist()


# --- unknown fields and drift ---


def test_unknown_fields_are_counted_by_path() -> None:
    """At every level, nulls too, in malformed nodes as well; places in lists are left out."""
    made = whole_node("a")
    made["new"] = 1
    made["startTask"]["new"] = None
    made["recentTasks"][0]["executionInfo"]["new"] = {}
    made["errors"] = [{"a.b": 1}, {"a.b": 2}]
    reading = flattener()
    reading.page(page(made, node("b", new=2), node("c", new=3, state=4)), AT)

    assert {
        "nodes.new": 3,
        "nodes.startTask.new": 1,
        "nodes.recentTasks[].executionInfo.new": 1,
        r"nodes.errors[].a\.b": 2,
    } == reading.report.unknown_fields


def test_unknown_enum_values_are_kept_and_counted() -> None:
    """Lower-cased like the known ones, never refused."""
    made = [node("a", state="Levitating"), node("b", state="levitating"), node("c", state="IDLE")]
    made[0]["certificateReferences"] = [{"visibility": ["Task", "Moon"]}]
    reading = flattener()
    tables, _ = reading.page(page(*made), AT)

    assert ["levitating", "levitating", "idle"] == tables["nodes"]["state"].to_pylist()
    assert {
        ("nodes.state", "levitating"): 2,
        ("nodes.certificate_references.visibility", "moon"): 1,
    } == reading.report.unknown_enum_values


# --- duplicates ---


@pytest.mark.parametrize("patience", [False, True])
def test_a_node_met_twice_is_kept_once(patience: bool) -> None:
    """The first, with its children; in one page and over pages; each further one is counted."""
    first = whole_node("a")
    second = node("a", state="running", recentTasks=[{"jobId": "other"}], new=1)
    if not patience:
        del second["new"]
    reading = flattener()
    one, _ = reading.page(page(first, second, node("b")), AT)
    two, _ = reading.page(page(second, node("c"), second), AT)

    assert ["a", "b"] == one["nodes"]["node_id"].to_pylist()
    assert ["c"] == two["nodes"]["node_id"].to_pylist()
    assert flattened(page(first))["recent_tasks"].equals(one["recent_tasks"])
    assert 0 == two["recent_tasks"].num_rows
    assert (3, 3) == (reading.report.duplicates, reading.nodes)
    assert not reading.report.unknown_fields  # nothing is kept of them, nothing is counted


def test_a_page_read_twice_over_is_no_page_of_duplicates() -> None:
    """A bad time sends a page from the fast path to the slow one: its nodes are new still."""
    reading = flattener()
    body = page(node("a", lastBootTime="no time"), node("b"))
    assert read_fast(body) is not None

    tables, _ = reading.page(body, AT)

    assert ["a", "b"] == tables["nodes"]["node_id"].to_pylist()
    assert (0, 1) == (reading.report.duplicates, reading.report.malformed)


# --- rows ---


def test_every_row_begins_with_its_keys() -> None:
    """Account, snapshot, pool, node and incarnation; children carry their place in the array."""
    tasks = [{"taskId": f"t{i}"} for i in range(3)]
    made = [node("a", recentTasks=tasks), node("b"), node("c", recentTasks=tasks[:2])]
    tables = flattened(page(*made))

    for table in tables.values():
        for row in table.to_pylist():
            assert (ORIGIN.account, ORIGIN.snapshot_id, AT, POOL_ID) == tuple(
                row[name] for name in ("account", "snapshot_id", "snapshot_at", "pool_id")
            )
    rows = tables["recent_tasks"].to_pylist()
    assert [("a", 0), ("a", 1), ("a", 2), ("c", 0), ("c", 1)] == [
        (row["node_id"], row["position"]) for row in rows
    ]
    allocated = set(tables["nodes"]["allocation_time"].to_pylist())
    assert allocated == {row["allocation_time"] for row in rows}
    assert [AT] * 3 == tables["nodes"]["observed_at"].to_pylist()
    for name, table in tables.items():
        assert table.schema.equals(schema.TABLES[name].schema, check_metadata=True)


def test_a_page_without_nodes_has_all_tables_and_no_rows() -> None:
    """An empty pool is a fact of its own."""
    tables = flattened(page())

    assert {"nodes": 0, "recent_tasks": 0, "node_errors": 0, "start_tasks": 0} == {
        name: table.num_rows for name, table in tables.items()
    }


@pytest.mark.parametrize("extra", [{}, {"new": 1}])
def test_the_next_link_is_handed_on(extra: Json) -> None:
    """Verbatim, by either reader."""
    link = "https://acct/pools/p/nodes?$skiptoken=a%2Fb&api-version=1"

    assert link == flattener().page(page(node(**extra), next_link=link), AT)[1]
    assert flattener().page(page(node(**extra)), AT)[1] is None
