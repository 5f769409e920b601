"""Start tasks: what makes two the same, what only changes a secret, and what is never hashed plainly."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from pipeline.flatten import Tables
from pipeline.flatten import unflatten as rebuild
from pipeline.flatten.start_tasks import StartTaskIdentity, canonical, identify
from pipeline.redact import Redactor
from tests.made_up import AT, Json, flattened, flattener, node, page, start_task

SAS = "https://acct.blob.core.windows.net/c/f?sv=2022-11-02&se={}&sr=b&sig={}%2Bx%3D"


def identified(
    value: Json, keep_env: tuple[str, ...] = (), key: bytes | None = None
) -> StartTaskIdentity:
    """A start task's identities."""
    return identify(value, Redactor(keep_env), key)


def definition_id(value: Json, keep_env: tuple[str, ...] = ()) -> str:
    """What shows whether the definition changed."""
    return identified(value, keep_env).start_task_definition_id


def only(tables: Tables, name: str) -> Json:
    """The only row of a table."""
    (row,) = tables[name].to_pylist()
    return row


# --- start_task_id ---


def test_the_id_is_the_hash_of_what_the_tables_show() -> None:
    """Rebuilt from its row, sorted, without blanks: SHA-256 of that is the id of row and node."""
    tables = flattened(page(node(startTask=start_task(extra={"b": None, "a": [1, {}]}))))
    row = only(tables, "start_tasks")
    shown = rebuild.node({**only(tables, "nodes")}, row)["startTask"]
    text = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    expected = hashlib.sha256(text.encode()).hexdigest()

    assert expected == row["start_task_id"]
    assert expected == only(tables, "nodes")["start_task_id"]


@pytest.mark.parametrize("keep_env", [(), ("SETTING",)])
def test_a_row_joins_its_node_whatever_is_kept(keep_env: tuple[str, ...]) -> None:
    """The id follows the redacted form, and that follows --keep-env."""
    tables = flattened(page(node(startTask=start_task())), Redactor(keep_env))
    shown = only(tables, "start_tasks")["environment_settings"][0]["value"]

    assert only(tables, "start_tasks")["start_task_id"] == only(tables, "nodes")["start_task_id"]
    assert ("an environment value" if keep_env else "[redacted]") == shown


def test_missing_null_and_empty_start_tasks_differ() -> None:
    """No start task, an explicit null, and {}: no id, no id and a null by path, an id of its own."""
    made = [node("a"), node("b", startTask=None), node("c", startTask={})]
    tables = flattened(page(*made))
    rows = {row["node_id"]: row for row in tables["nodes"].to_pylist()}
    empty = hashlib.sha256(b"{}").hexdigest()

    assert [None, None, empty] == [rows[name]["start_task_id"] for name in "abc"]
    assert [None, '{"startTask": null}', '{"startTask": {}}'] == [
        rows[name]["extra_json"] for name in "abc"
    ]
    assert [empty] == tables["start_tasks"]["start_task_id"].to_pylist()


VARIANTS: list[Any] = [
    {},
    {"environmentSettings": None},
    {"environmentSettings": []},
    {"environmentSettings": [{}]},
    {"environmentSettings": [{"name": "A"}]},
    {"environmentSettings": [{"name": "A", "value": None}]},
    {"environmentSettings": [{"name": "A", "value": "x"}]},
    {"environmentSettings": [{"name": "A"}, {"name": "B"}]},
    {"environmentSettings": [{"name": "B"}, {"name": "A"}]},
    {"containerSettings": {}},
    {"containerSettings": None},
    {"containerSettings": {"containerHostBatchBindMounts": []}},
    {"containerSettings": {"containerHostBatchBindMounts": None}},
    {"containerSettings": {"containerHostBatchBindMounts": [{}]}},
    {"commandLine": ""},
    {"commandLine": None},
    {"maxTaskRetryCount": 0},
    {"waitForSuccess": False},
]


def test_each_variant_is_a_start_task_of_its_own() -> None:
    """Absent, null, empty and the order of a list are distinguished, in ids and in rows."""
    ids = [identified(value).start_task_id for value in VARIANTS]
    tables = flattened(page(*(node(f"n{i}", startTask=x) for i, x in enumerate(VARIANTS))))

    assert len(VARIANTS) == len(set(ids))
    assert ids == tables["nodes"]["start_task_id"].to_pylist()
    assert set(ids) == set(tables["start_tasks"]["start_task_id"].to_pylist())


def test_a_start_task_is_written_once_a_pool() -> None:
    """Over nodes and pages, whatever the order of its members and its white space."""
    reading = flattener()
    backwards = dict(reversed(start_task().items()))
    bodies = [page(node("a", startTask=start_task()), node("b", startTask=backwards))]
    bodies.append(json.dumps({"value": [node("c", startTask=start_task())]}, indent=1).encode())
    rows = [reading.page(body, AT)[0]["start_tasks"].num_rows for body in bodies]

    assert [1, 0] == rows


def test_of_many_start_tasks_each_is_known_again() -> None:
    """More than the bytes that are remembered: none is written twice."""
    reading = flattener()
    made = [node(f"n{i}", startTask={"commandLine": f"run {i}"}) for i in range(1500)]
    again = [value | {"id": f"again-{value['id']}"} for value in made]
    rows = [reading.page(page(*each), AT)[0]["start_tasks"].num_rows for each in (made, again)]

    assert [1500, 0] == rows


def test_a_node_that_is_dropped_leaves_no_start_task() -> None:
    """A node met twice is kept once, and the second one's start task is no one's."""
    second = node("a", startTask={"commandLine": "another"})
    tables = flattened(page(node("a", startTask={"commandLine": "one"}), second))

    assert ["one"] == tables["start_tasks"]["command_line"].to_pylist()


def test_case_of_enums_is_no_difference() -> None:
    """The service's case is not to be relied on."""
    lower = {"userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}}}
    upper = {"userIdentity": {"autoUser": {"scope": "Pool", "elevationLevel": "ADMIN"}}}

    assert identified(lower, key=b"k") == identified(upper, key=b"k")


# --- start_task_definition_id ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            {"resourceFiles": [{"httpUrl": SAS.format("2026-01-01", "abc")}]},
            {"resourceFiles": [{"httpUrl": SAS.format("2026-02-01", "def")}]},
            id="a renewed SAS",
        ),
        pytest.param(
            {"commandLine": f"azcopy cp '{SAS.format('2026-01-01', 'abc')}' /mnt -r"},
            {"commandLine": f"azcopy cp '{SAS.format('2026-02-01', 'def')}' /mnt -r"},
            id="a renewed SAS in the command line",
        ),
        pytest.param(
            {"commandLine": "x --source sv=2022-11-02&se=2026-01-01&sig=abc --to y"},
            {"commandLine": "x --source sv=2023-11-02&se=2026-02-01&sig=def --to y"},
            id="a renewed SAS that stands alone",
        ),
        pytest.param(
            {"commandLine": r"x {\"u\": \"https://a?sv=1\u0026se=1\u0026sig=abc\"}"},
            {"commandLine": r"x {\"u\": \"https://a?sv=1\u0026se=2\u0026sig=def\"}"},
            id="a renewed SAS in JSON",
        ),
        pytest.param(
            {"commandLine": "x https://a?u=https%3A%2F%2Fb%3Fsv%3D1%26se%3D1%26sig%3Dabc"},
            {"commandLine": "x https://a?u=https%3A%2F%2Fb%3Fsv%3D1%26se%3D2%26sig%3Ddef"},
            id="a renewed SAS in a URL",
        ),
        pytest.param(
            {"environmentSettings": [{"name": "A", "value": "one"}]},
            {"environmentSettings": [{"name": "A", "value": "two"}]},
            id="an environment value",
        ),
        pytest.param(
            {"commandLine": "docker run -e A=one image"},
            {"commandLine": "docker run -e A=two image"},
            id="an environment value in the command line",
        ),
        pytest.param(
            {"containerSettings": {"registry": {"username": "u", "password": "one"}}},
            {"containerSettings": {"registry": {"username": "u", "password": "two"}}},
            id="a registry password",
        ),
        pytest.param(
            {"commandLine": "x --password one"}, {"commandLine": "x --password two"}, id="a secret"
        ),
        pytest.param({"newKey": "one"}, {"newKey": "two"}, id="a secret in an unknown field"),
    ],
)
def test_a_changed_secret_is_no_change_of_definition(one: Json, other: Json) -> None:
    """Environment values, secrets and signed query strings are left out."""
    assert definition_id(one) == definition_id(other)


def test_keep_env_is_no_change_of_definition() -> None:
    """Whether a value is kept is this tool's matter, not the pool's."""
    value = start_task(commandLine="docker run -e SETTING=x image")

    assert definition_id(value) == definition_id(value, ("SETTING",))
    assert identified(value).start_task_id != identified(value, ("SETTING",)).start_task_id


@pytest.mark.parametrize(
    "change",
    [
        {"commandLine": "another"},
        {"environmentSettings": [{"name": "OTHER", "value": "an environment value"}]},
        {"environmentSettings": [{"name": "SETTING"}, {"name": "B"}]},
        {"resourceFiles": [{"httpUrl": SAS.format("2026-01-01", "abc").replace("/f?", "/g?")}]},
        {"resourceFiles": []},
        {"resourceFiles": None},
        {"maxTaskRetryCount": 3},
        {"waitForSuccess": False},
        {"userIdentity": {"username": "you"}},
        {"containerSettings": {"imageName": "other"}},
        {"unknown_value": 1},
    ],
    ids=str,
)
def test_all_else_is_a_change_of_definition(change: Json) -> None:
    """Command line, names in the environment, files, container, users, retries, unknown fields."""
    assert definition_id(start_task()) != definition_id(start_task(**change))


def test_a_query_without_a_signature_belongs_to_the_definition() -> None:
    """?version=2 is what is asked for, not how it is allowed."""
    one, two = ({"resourceFiles": [{"httpUrl": f"https://a/b?version={n}"}]} for n in (1, 2))

    assert definition_id(one) != definition_id(two)


@pytest.mark.parametrize("piece", ["?", "sig=", "?sig=", "s=", "https://a?sv=1&sig=x,"])
def test_a_hostile_command_line_is_read_in_linear_time(piece: str) -> None:
    """A quarter of a megabyte of queries does not hang the run: this test would never end."""
    assert definition_id({"commandLine": piece * (250_000 // len(piece))})


# --- start_task_fingerprint ---


def test_there_is_no_fingerprint_without_a_key() -> None:
    """A plain hash of secrets could be guessed at: null instead."""
    tables = flattened(page(node(startTask=start_task())))

    assert only(tables, "start_tasks")["start_task_fingerprint"] is None


def test_the_fingerprint_is_an_hmac_of_the_unredacted_form() -> None:
    """Canonical JSON with lower-cased enums under the key; a changed secret changes it."""
    value = {"commandLine": "x --password é", "waitForSuccess": True, "newKey": None}
    text = '{"commandLine":"x --password é","newKey":null,"waitForSuccess":true}'
    expected = hmac.new(b"a key", text.encode(), hashlib.sha256).hexdigest()
    tables, _ = flattener(hash_key=b"a key").page(page(node(startTask=value)), AT)

    assert expected == only(tables, "start_tasks")["start_task_fingerprint"]
    other = identified({"commandLine": "x --password ü"}, key=b"a key")
    assert expected != other.start_task_fingerprint


def test_canonical_json_is_one_form() -> None:
    """Sorted names, no blanks, characters as they are, a lone surrogate as an escape."""
    value = {"b": [2, 1, {}], "a": None, "ü": "\ud800"}

    assert '{"a":null,"b":[2,1,{}],"ü":"\\ud800"}'.encode() == canonical(value)
