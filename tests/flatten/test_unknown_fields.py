"""Unknown members that are cut out of pages: the tables are those that reading node by node gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import flatten
from pipeline.flatten import NodeFlattener, pages
from pipeline.flatten.pages import BadPage
from pipeline.flatten.unknown_fields import UnknownFields
from pipeline.redact import Redactor
from tests.made_up import (
    AT,
    NAMES,
    ORIGIN,
    POOL_ID,
    UNKNOWN,
    Api,
    Json,
    node,
    nodes,
    page,
    whole_node,
)

#: Where a service may have something new to say: the ways to objects of a node, 0 in each list.
OBJECTS: list[tuple[str | int, ...]] = [
    (),
    ("nodeAgentInfo",),
    ("virtualMachineInfo", "imageReference"),
    ("startTaskInfo", "failureInfo"),
    ("recentTasks", 0),
    ("recentTasks", 0, "executionInfo"),
    ("recentTasks", 0, "executionInfo", "failureInfo", "details", 0),
    ("errors", 0),
    ("endpointConfiguration",),
    ("endpointConfiguration", "inboundEndpoints", 0),
    ("startTask",),
    ("startTask", "userIdentity", "autoUser"),
]


def reader(unknown_fields: UnknownFields) -> NodeFlattener:
    """A flattener of its own that knows these unknown fields."""
    return NodeFlattener(ORIGIN, POOL_ID, Redactor(), unknown_fields=unknown_fields)


def with_member(way: tuple[str | int, ...], node_id: str, name: str, value: Any) -> Json:
    """A whole node with a new member in one of its objects."""
    made = whole_node(node_id)
    place: Any = made
    for step in way:
        place = place[step]
    place[name] = value
    return made


def check_alike(body: bytes, unknown_fields: UnknownFields) -> None:
    """A page is refused, or gives the same tables and report as node by node."""
    quick, slow = reader(unknown_fields), reader(UnknownFields())
    try:
        tables, link = quick.page(body, AT)
    except BadPage:
        with pytest.raises(BadPage):
            pages.read_page(body)
        return
    values, expected_link = pages.read_page(body)
    expected = slow.values(values, AT)
    assert expected.keys() == tables.keys()
    assert all(expected[name].equals(tables[name]) for name in expected)
    assert (slow.report, slow.nodes, expected_link) == (quick.report, quick.nodes, link)


@pytest.mark.parametrize(
    "value", ["new", 7, None, {}, [], {"a": [None, {"password": "x"}]}, "a\\b"]
)
@pytest.mark.parametrize("way", OBJECTS, ids=lambda way: ".".join(map(str, way)) or "node")
def test_what_one_page_shows_the_next_is_read_without(
    way: tuple[str | int, ...], value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is and whatever it is: only the first page is read node by node."""
    unknown_fields = UnknownFields()
    body = page(node("a"), with_member(way, "b", "brandNew", value), node("c"))
    reader(unknown_fields).page(body, AT)
    check_alike(body, unknown_fields)

    monkeypatch.setattr(flatten.pages, "read_page", None)
    reading = reader(unknown_fields)
    tables, _ = reading.page(body, AT)

    assert ["a", "b", "c"] == tables["nodes"]["node_id"].to_pylist()
    assert 1 == reading.report.unknown_fields.total()


@pytest.fixture(scope="module")
def api(shared) -> Api:
    """The contract's definitions."""
    return Api(shared)


@given(st.data())
@settings(deadline=None, max_examples=40, suppress_health_check=[*HealthCheck])
def test_pages_with_unknown_fields_are_read_alike(api: Api, data: st.DataObject) -> None:
    """Any nodes, any unknown fields at any places, known ones and others, nodes met twice."""
    members = st.tuples(st.sampled_from(OBJECTS), NAMES, UNKNOWN)
    places = data.draw(st.lists(members, min_size=1, max_size=4))
    made = [with_member(way, f"n{at}", name, x) for at, (way, name, x) in enumerate(places)]
    unknown_fields = UnknownFields()
    reader(unknown_fields).page(page(*made[data.draw(st.integers(0, 1)) :]), AT)
    made += data.draw(st.lists(nodes(api, drift=data.draw(st.booleans())), max_size=2))

    check_alike(page(*made, next_link="https://acct/next"), unknown_fields)
    check_alike(page(*made, *made[:1]), unknown_fields)


STRANGE = whole_node("a")
STRANGE["new"] = {"a": '"'}
STRANGE["recentTasks"][0]["executionInfo"]["new"] = "x"
STRANGE["startTask"]["new"] = 1
BODY = page(STRANGE, node("b", new=None, vmSize="\U0001f680"), node("c", new="\u00fc"))
PIECES = [
    b"",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"0",
    b"1.5",
    b" ",
    b"\\",
    b"\xff",
]
PIECES += [
    b"NaN",
    b"1e999",
    b'"new":1,',
    b'"new":{},',
    b'"id":"c",',
    b'\\"',
    b"\\u0022",
    b"\\ud800",
]
DAMAGE = st.tuples(st.integers(0, len(BODY)), st.integers(0, 3), st.sampled_from(PIECES))


def check_damaged(damages: list[tuple[int, int, bytes]]) -> None:
    """What is damaged is refused, or read alike."""
    unknown_fields = UnknownFields()
    reader(unknown_fields).page(BODY, AT)
    body = BODY
    for at, length, piece in damages:
        body = body[:at] + piece + body[at + length :]
    check_alike(body, unknown_fields)


@given(st.lists(DAMAGE, max_size=2))
@settings(deadline=None, max_examples=60, suppress_health_check=[*HealthCheck])
def test_a_damaged_page_is_refused_or_read_alike(damages: list[tuple[int, int, bytes]]) -> None:
    """Bytes changed anywhere: nothing that is lost or made up."""
    check_damaged(damages)


@pytest.mark.long
@given(st.lists(DAMAGE, max_size=3))
@settings(deadline=None, max_examples=20_000, suppress_health_check=[*HealthCheck])
def test_many_damaged_pages(damages: list[tuple[int, int, bytes]]) -> None:
    """The same, many times."""
    check_damaged(damages)


@pytest.mark.parametrize(
    "more",
    [
        b'"new":1,"new":2',
        b'"n\\u0065w":1',
        b'"new":NaN',
        b'"new":1e999',
        b'"new":' + b"[" * 200 + b"]" * 200,
        b'"new":' + b"1" * 5000,
        b'"new":"\\ud800"',
        b'"new":"\xff"',
        b'"new":1,"vmSize":null',
        b'"new":1,"totalTasksRun":"12"',
        b'"new":1,"lastBootTime":"no time"',
        b'"new":1,"other":2',
        b'"new":1,"recentTasks":[],"errors":[]',
        b'"nodeAgentInfo":{"new":1}',
        b'"recentTasks":{"new":1}',
        b'"recentTasks":[{"new":1},7]',
        b'"recentTasks":[{"new":1},{"new":2,"taskId":"a"}]',
        b'"startTask":{"new":1}',
        b'"startTask":{"new":NaN}',
        b'"startTask":{"new":1,"commandLine":7}',
        b'"startTask":{"new":1,"new":2}',
    ],
    ids=lambda more: more.decode("latin1")[:40],
)
def test_odd_unknown_fields_are_read_alike(more: bytes) -> None:
    """Named twice, not finite, nested deeply, beside nulls and wrong types, in objects of their own."""
    unknown_fields = UnknownFields()
    ways = [("new",), ("recentTasks", 0, "new"), ("nodeAgentInfo", "new")]
    unknown_fields.learn(ways)
    for body in (
        b'{"value":[{"id":"a",%b},{"id":"b","new":"x"}]}' % more,
        b'{"value":[{"id":"b"},{"id":"a",%b}]}' % more,
    ):
        check_alike(body, unknown_fields)


def test_a_service_that_names_everything_anew_is_forgotten() -> None:
    """Some of the names are looked for, no more; pages are read all the same."""
    unknown_fields = UnknownFields()
    made = [node(f"n{number}", **{f"new{number}": number}) for number in range(100)]
    reader(unknown_fields).page(page(*made), AT)

    check_alike(page(*made), unknown_fields)
    check_alike(page(*made[:10]), unknown_fields)
    cut = unknown_fields.cut(page(*made))
    assert cut is not None
    assert 32 == len(cut[1])


def test_a_field_that_is_new_costs_no_page_the_slow_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few nodes of the first page have it, wherever they are in a page; the rows are the same."""
    made = [whole_node(f"tvmps_{number}") for number in range(100)]
    body = page(*[each | {"isNew": number} for number, each in enumerate(made)])
    slow = reader(UnknownFields()).values(pages.read_page(body)[0], AT)
    monkeypatch.setattr(pages, "read_page", pytest.fail)
    fast = reader(UnknownFields())
    found, _ = fast.page(body, AT)
    assert {name: rows.to_pylist() for name, rows in found.items()} == {
        name: rows.to_pylist() for name, rows in slow.items()
    }
    assert fast.report.unknown_fields == {"nodes.isNew": 100}


def test_what_a_few_nodes_do_not_show_takes_the_slow_path() -> None:
    """A field of one node among many is kept and counted all the same."""
    made: list[Any] = [whole_node(f"tvmps_{number}") for number in range(100)]
    made[1]["isNew"] = 7
    one = reader(UnknownFields())
    found, _ = one.page(page(*made), AT)
    assert found["nodes"]["extra_json"][1].as_py() == '{"isNew": 7}'
    assert one.report.unknown_fields == {"nodes.isNew": 1}
