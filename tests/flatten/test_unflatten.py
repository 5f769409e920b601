"""Rebuilding: from the tables a node's JSON comes back, whatever it was drawn as."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import schema
from pipeline.flatten import Tables, pool_rows, shape
from pipeline.flatten import unflatten as rebuild
from pipeline.flatten import validator as validator
from pipeline.flatten.columns import Report
from pipeline.flatten.pages import read_fast
from pipeline.redact import Redactor
from tests.conftest import SHARED
from tests.made_up import (
    AT,
    ODD_TEXTS,
    ORIGIN,
    Api,
    Json,
    flattened,
    flattener,
    node,
    nodes,
    page,
    pools,
    rebuilt,
    redacted,
    whole_node,
)

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared: the contract")
API = Api(SHARED) if SHARED.is_dir() else None
PROPERTY = settings(
    deadline=None, max_examples=50, suppress_health_check=[*HealthCheck], print_blob=False
)
LONG = settings(PROPERTY, max_examples=3000)


def a_page(drift: bool) -> st.SearchStrategy[list[Json]]:
    """The nodes of a page, no id twice."""
    assert API is not None
    return st.lists(nodes(API, drift), min_size=1, max_size=3, unique_by=lambda each: each["id"])


def expected(values: list[Json]) -> list[Any]:
    """The nodes as they come back."""
    assert API is not None
    return [redacted(API.expected("ComputeNode", value)) for value in values]


def check_drifting(values: list[Json]) -> None:
    """Rebuilt equal, compact or printed prettily, and nothing is called malformed."""
    tables = flattened(page(*values))
    assert expected(values) == rebuilt(tables)
    assert not any(tables["nodes"]["is_malformed"].to_pylist())
    assert same(tables, flattened(json.dumps({"value": values}, indent=2).encode()))


def check_fast(values: list[Json]) -> None:
    """Arrow reads what fits at once, and to the same tables as the slow path."""
    body = page(*values)
    # a zero in a text costs time, no more
    assert read_fast(body) is not None or b"\\u0000" in body
    fast = flattened(body)
    assert expected(values) == rebuilt(fast)
    assert same(fast, slow_path(values))


def slow_path(values: list[Json]) -> Tables:
    """The same nodes the slow path: a last node that holds a null forces it, and is taken off."""
    tables = flattened(page(*values, node("the_last", state=None)))
    return {
        name: table if name == "start_tasks" else without(table, "the_last")
        for name, table in tables.items()
    }


def without(table: Any, node_id: str) -> Any:
    """A table without the rows of one node."""
    others = [each != node_id for each in table["node_id"].to_pylist()]
    return table.filter(pa.array(others, pa.bool_()))


def same(one: Tables, other: Tables) -> bool:
    """Equal tables by name, with equal metadata."""
    return one.keys() == other.keys() and all(
        one[name].equals(other[name], check_metadata=True) for name in one
    )


if API is not None:

    @given(a_page(drift=True))
    @PROPERTY
    def test_drifting_nodes_are_rebuilt(values: list[Json]) -> None:
        """Members present, absent, null, empty, unknown: each node comes back as it was."""
        check_drifting(values)

    @given(a_page(drift=False))
    @PROPERTY
    def test_the_fast_and_the_slow_path_agree(values: list[Json]) -> None:
        """A page to the letter of the schema gives the same tables either way."""
        check_fast(values)

    @pytest.mark.long
    @given(a_page(drift=True), a_page(drift=False))
    @LONG
    def test_many_more(drifting: list[Json], fitting: list[Json]) -> None:
        """The same, thousands of times."""
        check_drifting(drifting)
        check_fast(fitting)

    @given(pools(API))
    @PROPERTY
    def test_pools_are_rebuilt(value: Json) -> None:
        """A pool's scalars, its deeper parts and its unknown fields come back."""
        assert API is not None
        deeper = {k: x for k, x in value.items() if k in schema.POOL_CONFIGURATION}
        scalars = {k: x for k, x in value.items() if k not in schema.POOL_CONFIGURATION}
        wanted = redacted(API.expected("CloudPool", scalars) | deeper)
        report = Report()

        (row,) = pool_rows([value], ORIGIN, Redactor(), report)

        assert wanted == rebuild.pool(row, row["pool_errors"])
        assert not report.problems


def a_pool(**members: Any) -> Json:
    """A pool whose last resize and last autoscale run failed, with further members."""
    details = [{"name": "Reason", "value": "the quota of 20 cores is used up"}]
    error = {"code": "InsufficientSampleData", "message": "no samples", "values": details}
    return {
        "id": "p",
        "resizeErrors": [
            {"code": "AccountCoreQuotaReached", "message": "no cores left", "values": details},
            {"code": "AllocationTimedout"},
        ],
        "autoScaleRun": {
            "timestamp": "2026-11-21T09:00:00.123456Z",
            "results": "$TargetDedicatedNodes=2;$NodeDeallocationOption=requeue",
            "error": error,
        },
    } | members


def pool_there_and_back(value: Json) -> tuple[Any, Json, Report]:
    """The pool rebuilt, its row, and what the report says."""
    report = Report()
    (row,) = pool_rows([value], ORIGIN, Redactor(), report)
    return rebuild.pool(row, row["pool_errors"]), row, report


def test_the_errors_of_a_pool_are_rows() -> None:
    """One a resize error in its order, and one of the autoscale run; the run's own are columns."""
    rebuilt_pool, row, report = pool_there_and_back(a_pool())
    found = [(x["kind"], x["position"], x["code"], x["message"]) for x in row["pool_errors"]]

    assert found == [
        ("resize", 0, "AccountCoreQuotaReached", "no cores left"),
        ("resize", 1, "AllocationTimedout", None),
        ("autoscale", 0, "InsufficientSampleData", "no samples"),
    ]
    assert {x["pool_id"] for x in row["pool_errors"]} == {"p"}
    assert (
        row["auto_scale_run_results"] == "$TargetDedicatedNodes=2;$NodeDeallocationOption=requeue"
    )
    assert row["configuration_json"] is None
    assert rebuilt_pool == a_pool()
    assert report == Report()


@pytest.mark.parametrize(
    "members",
    [
        {"resizeErrors": []},
        {"resizeErrors": None},
        {"resizeErrors": [{}]},
        {"resizeErrors": [{"code": "X", "new": [1]}, {"values": []}, {"values": None}]},
        {"autoScaleRun": None},
        {"autoScaleRun": {}},
        {"autoScaleRun": {"error": {}}},
        {"autoScaleRun": {"error": None}},
        {"autoScaleRun": {"error": {"new": {}}, "other": 1}},
        {"autoScaleRun": {"error": {"values": [{"name": "a", "more": 1}]}}},
    ],
    ids=str,
)
def test_missing_null_and_empty_errors_differ(members: Json) -> None:
    """Absent, null, empty, and with members that no one knows: each comes back as it was."""
    value = a_pool(**members)
    rebuilt_pool, _, report = pool_there_and_back(value)

    assert rebuilt_pool == value
    assert not report.problems


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"resizeErrors": [{"code": "A"}, {"code": 5, "new": 1}]}, "resizeErrors[1].code"),
        ({"resizeErrors": ["text"]}, "resizeErrors[0]"),
        ({"resizeErrors": {"code": "A"}}, "resizeErrors"),
        ({"autoScaleRun": {"timestamp": "noon", "other": 1}}, "autoScaleRun.timestamp"),
        ({"autoScaleRun": {"error": ["x"]}}, "autoScaleRun.error"),
    ],
    ids=str,
)
def test_errors_that_do_not_fit_are_kept_whole(members: Json, path: str) -> None:
    """The member is in extra_json as it came; the pool's other errors keep their rows."""
    value = a_pool(**members)
    rebuilt_pool, row, report = pool_there_and_back(value)

    assert rebuilt_pool == value
    assert [(x["pool_id"], x["path"]) for x in report.problems] == [("p", path)]
    assert report.malformed == 1
    other = "autoscale" if "resizeErrors" in members else "resize"
    assert {each["kind"] for each in row["pool_errors"]} == {other}


# --- missing, null and empty are three things ---


def optional_places() -> list[tuple[str, ...]]:
    """The way to every member of a whole node that is not its id; lists by their first element."""

    def below(value: Any, way: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        ways = []
        for name, x in value.items():
            ways.append((*way, name))
            if isinstance(x, dict):
                ways += below(x, (*way, name))
            elif isinstance(x, list) and isinstance(x[0], dict):
                ways += below(x[0], (*way, name, 0))
        return ways

    return [way for way in below(whole_node(), ()) if way != ("id",)]


def changed(way: tuple[Any, ...], value: Any) -> Json:
    """A whole node with one member replaced, or taken out where ``value`` is ``...``."""
    made = whole_node()
    place: Any = made
    for step in way[:-1]:
        place = place[step]
    if value is ...:
        del place[way[-1]]
    else:
        place[way[-1]] = value
    return made


@pytest.mark.parametrize("way", optional_places(), ids=lambda way: shape.join(way))
def test_missing_null_and_empty_differ(way: tuple[Any, ...]) -> None:
    """Every member, at every depth: absent, null and (of its kind) empty are rebuilt apart."""
    value: Any = whole_node()
    for step in way:
        value = value[step]
    forms = [..., None, value]
    forms += [type(value)()] if isinstance(value, dict | list) else []
    forms += [[{}]] if isinstance(value, list) and isinstance(value[0], dict) else []
    made = [changed(way, form) | {"id": f"node{i}"} for i, form in enumerate(forms)]
    registry = way[-1] == "password"  # dropped, whatever it was

    results = rebuilt(flattened(page(*made)))

    assert expected(made) == results
    told_apart = {json.dumps(each | {"id": ""}, sort_keys=True) for each in results}
    assert (1 if registry else len(forms)) == len(told_apart)


def test_the_whole_node_is_whole() -> None:
    """The node made by hand has every member that the schema knows: enumerating it is enough."""
    rows = flattened(page(whole_node()))
    for name, table in rows.items():
        missing = {"extra_json", "start_task_fingerprint"}
        nulls = {field for field in table.schema.names if table[field].null_count}
        assert missing & set(table.schema.names) == nulls, name


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_texts_come_back(text: str) -> None:
    """Escapes, NULs, emoji, and texts that look like null or {} are plain text; one page each."""
    value = node(vmSize=text, errors=[{"code": text, "errorDetails": [{"value": text}]}])
    value["startTask"] = {"commandLine": text}

    assert expected([value]) == rebuilt(flattened(page(value)))
    escaped = json.dumps({"value": [value]}).encode()  # the same in \\u escapes
    assert expected([value]) == rebuilt(flattened(escaped))


@pytest.mark.parametrize("name", ["", ".", "a.b", "[0]", "a[0]", "\\", "\\.", "\\0", "ü", "\ud800"])
@pytest.mark.parametrize("place", ["top", "inner", "child", "list", "start_task"])
def test_odd_names_come_back(place: str, name: str) -> None:
    """An unknown field's name may hold what paths are written with, or nothing at all."""
    made = whole_node()
    inside = {
        "top": made,
        "inner": made["virtualMachineInfo"]["imageReference"],
        "child": made["recentTasks"][0]["executionInfo"],
        "list": made["certificateReferences"][0],
        "start_task": made["startTask"]["resourceFiles"][0],
    }[place]
    inside[name] = {"": [1, {}, None]}

    assert expected([made]) == rebuilt(flattened(json.dumps({"value": [made]}).encode()))


@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.9999999Z",
        "1969-12-31T23:59:59.9999Z",
        *(f"2026-11-21T10:00:00{'.123456789'[:n]}Z" for n in (0, 2, 3, 4, 5, 6, 7, 8, 9, 10)),
    ],
)
def test_times_come_back_to_the_microsecond(time: str) -> None:
    """Years 1 to 9999, no digit or nine: alone on a page and beside others."""
    value = node(lastBootTime=time)
    assert expected([value]) == rebuilt(flattened(page(value)))

    both = [value, node("other", lastBootTime="0001-01-01T00:00:00Z")]
    assert expected(both) == rebuilt(flattened(page(*both)))


def test_a_time_is_reported_in_utc() -> None:
    """Whatever zone a reader hands it in, with four digits of the year."""
    east = timezone(timedelta(hours=2))

    assert "0987-06-05T02:03:02.000001Z" == rebuild.time_text(
        datetime(987, 6, 5, 4, 3, 2, 1, tzinfo=east)
    )


def test_a_malformed_node_is_rebuilt_from_its_json() -> None:
    """What its extra_json holds is the node, redacted."""
    value = whole_node() | {"totalTasksRun": "three"}

    assert [redacted(value)] == rebuilt(flattened(page(value)))


def test_paths_are_read_as_they_are_written() -> None:
    """Steps joined are split again into themselves."""
    steps: validator.Steps = ("a", 0, "b.c", "[1]", "", "\\", 12, "\\0")

    assert [*steps] == rebuild.steps(shape.join(steps))


def test_values_read_from_python_are_the_same(  # as an import of a saved file does
) -> None:
    """``values`` gives what ``page`` gives."""
    made = [whole_node("a"), node("b", foo=1)]
    tables = flattener().values(made, AT)

    assert same(flattened(page(*made)), tables)
