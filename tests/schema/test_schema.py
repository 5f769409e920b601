"""The schema against the contract: every field has its line, and no line is invented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import schema
from pipeline.flatten import shape
from pipeline.schema import Column, Table
from tests.made_up import Api, Json

#: Fields of api-versions later than the contract's.
NEWER = {"ipv6Address", "publicIPAddress", "publicIPv6Address"}
_ARROW = {
    ("string", None): pa.string(),
    ("string", "duration"): pa.string(),
    ("string", "date-time"): pa.timestamp("us", tz="UTC"),
    ("boolean", None): pa.bool_(),
    ("integer", "int32"): pa.int32(),
    ("number", "double"): pa.float64(),
    ("array", None): pa.list_(pa.field("element", pa.string())),
}
#: What a wrapper's name is dropped or shortened to: the design's list.
_WRAPPERS = (
    ("executionInfo.", ""),
    ("virtualMachineInfo.imageReference.", "image."),
    ("imageReference.", ""),
    ("virtualMachineInfo.", ""),
    ("endpointConfiguration.", ""),
    ("startTaskInfo.", "startTask."),
    ("nodeAgentInfo.", "nodeAgent."),
    ("containerInfo.containerId", "containerId"),  # not container_container_id: so the design
    ("containerInfo.", "container."),
    ("failureInfo.", "failure."),
)
#: Columns that the design names otherwise.
_SPECIAL = {
    ("pools", "autoScaleRun.timestamp"): "auto_scale_run_time",
    ("pool_errors", "values"): "error_details",
}
#: Columns that are a key of their row, so that history can be joined: never redacted.
KEYS = {"account", "snapshot_id", "pool_id", "node_id", "job_id", "task_id"} | {
    "start_task_id",
    "start_task_definition_id",
    "start_task_fingerprint",
}


@pytest.fixture(scope="module")
def api(shared) -> Api:
    """The contract's definitions."""
    return Api(shared)


def snake(name: str) -> str:
    """One API name in snake_case: eTag is one word, and so are FQDN, IP, IPv6, SKU and URL."""
    name = re.sub(r"^eTag$", "etag", name)
    name = name.replace("IPv6", "Ipv6").replace("virtualMachine", "virtual_machine")
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9_]+", name)
    return "_".join(word.lower() for word in words)


def column_name(table: str, path: str) -> str:
    """The name of a column by the design's rules, from its path in the API."""
    if path == "id":
        return {"nodes": "node_id", "pools": "pool_id"}[table]
    if (special := _SPECIAL.get((table, path))) is not None:
        return special
    for wrapper, short in _WRAPPERS:
        path = path.replace(wrapper, short)
    return "_".join(snake(step) for step in path.split("."))


def paths(table: Table) -> dict[str, Column]:
    """The columns of a table that come from JSON, those in its lists too, by path."""
    found: dict[str, Column] = {}
    for column in table.from_json:
        if column.fields:
            found |= {f"{column.path}[].{field.path}": field for field in column.fields}
        else:
            found[str(column.path)] = column
    return found


def every_column() -> Iterator[tuple[str, Column]]:
    """Every column of every table, those in lists too, with its place."""
    for table in schema.TABLES.values():
        for column in table.columns:
            yield f"{table.name}.{column.name}", column
            for field in column.fields:
                yield f"{table.name}.{column.name}.{field.name}", field


TABLES = {
    "nodes": ("ComputeNode", ("recentTasks[].", "startTask.", "errors[].")),
    "recent_tasks": ("TaskInformation", ()),
    "start_tasks": ("StartTask", ()),
    "node_errors": ("ComputeNodeError", ()),
    "pool_errors": ("ResizeError", ()),
    "supported_images": ("ImageInformation", ()),
    "pool_usage": ("PoolUsageMetrics", ()),
}
#: What the definitions are called in later api-versions.
LATER = {
    "ComputeNode": "BatchNode",
    "TaskInformation": "BatchTaskInfo",
    "StartTask": "BatchStartTask",
    "ComputeNodeError": "BatchNodeError",
    "ImageInformation": "BatchSupportedImage",
    "PoolUsageMetrics": "BatchPoolUsageMetrics",
    "CloudPool": "BatchPool",
}
#: Of every file of the contract; 2024-02-01.19.0 has none, nor a field that 2024-07-01.20.0 lacks.
VERSIONS = ("2024-07-01.20.0", "2025-06-01", "2026-10-01")


@pytest.mark.parametrize("table", TABLES)
def test_every_field_has_a_line_and_none_is_invented(api: Api, table: str) -> None:
    """The paths of a table are those of its definition, but for what has a table of its own."""
    definition, elsewhere = TABLES[table]
    expected = {path for path, _ in api.fields(definition) if not path.startswith(elsewhere or "?")}
    actual = set(paths(schema.TABLES[table]))

    assert expected | (NEWER if table == "nodes" else set()) == actual


def deeper(api: Api, pool: str) -> set[str]:
    """The members of a pool that are objects or lists."""
    return {
        name
        for name, definition in api.definitions[pool]["properties"].items()
        if "properties" in (whole := api.resolved(definition))
        or whole["type"] in {"array", "object"}
    }


def test_pools_hold_every_scalar_and_name_all_that_is_deeper(api: Api) -> None:
    """A pool's own scalars are columns; its objects and lists are in configuration_json.

    But for its errors, which have a table, and the time and the results of its autoscale run.
    """
    members = api.definitions["CloudPool"]["properties"]
    deep = deeper(api, "CloudPool")
    run = {"autoScaleRun.timestamp", "autoScaleRun.results"}

    assert (members.keys() - deep) | run == set(paths(schema.POOLS))
    assert deep - {"resizeErrors", "autoScaleRun"} | {"vmSkuProfile"} == {
        *schema.POOL_CONFIGURATION
    }


def test_both_errors_of_a_pool_have_the_same_fields(api: Api) -> None:
    """One table holds both, so what one has the other has."""
    assert dict(api.fields("ResizeError")).keys() == dict(api.fields("AutoScaleRunError")).keys()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("table", [*TABLES, "pools"])
def test_no_field_of_any_version_is_unknown(shared: Path, version: str, table: str) -> None:
    """Every field of every api-version has its line, or is in configuration_json."""
    api = Api(shared, version)
    definition, elsewhere = TABLES.get(table, ("CloudPool", ()))
    definition = definition if definition in api.definitions else LATER[definition]
    if definition not in api.definitions:
        assert (table, version) == ("pool_usage", "2026-10-01")  # the operation is gone
        return
    known = {*paths(schema.TABLES[table])}
    if table == "pools":
        elsewhere = (*schema.POOL_CONFIGURATION, "resizeErrors", "autoScaleRun")
    for path, field in api.fields(definition):
        if path.startswith(elsewhere or "?"):
            continue
        assert path in known, path
        column = paths(schema.TABLES[table])[path]
        values = {value.lower() for value in field.get("items", field).get("enum", ())}
        assert values <= set(column.enum), path


@pytest.mark.parametrize("version", VERSIONS)
def test_the_children_of_a_node_are_known_in_every_version(shared: Path, version: str) -> None:
    """What of a node has a table of its own is what that table is checked against."""
    api = Api(shared, version)
    node = api.definitions.get("ComputeNode") or api.definitions["BatchNode"]
    children = {
        name: node["properties"][name].get("items", node["properties"][name])["$ref"]
        for name in ("recentTasks", "startTask", "errors")
    }
    for name, table in (
        ("recentTasks", "recent_tasks"),
        ("startTask", "start_tasks"),
        ("errors", "node_errors"),
    ):
        named = TABLES[table][0]
        assert children[name].split("/")[-1] in {named, LATER[named]}


@pytest.mark.parametrize("table", [*TABLES, "pools"])
def test_types_and_vocabularies_are_the_contracts(api: Api, table: str) -> None:
    """An integer is an integer, a time a time, and an enum has the contract's values, lower-cased."""
    definition = TABLES[table][0] if table in TABLES else "CloudPool"
    fields = dict(api.fields(definition))
    for path, column in paths(schema.TABLES[table]).items():
        if path in NEWER and table == "nodes":
            assert column.type == pa.string()
            continue
        field = fields[path]
        expected = _ARROW[field["type"], field.get("format")]
        enum: Json = field.get("items", field)

        assert expected == column.type, path
        assert {value.lower() for value in enum.get("enum", ())} == set(column.enum), path


@pytest.mark.parametrize("table", [*TABLES, "pools"])
def test_names_follow_from_paths(table: str) -> None:
    """A column's name is its API path by the design's rules; a list's member by its own."""
    for column in schema.TABLES[table].from_json:
        assert column_name(table, str(column.path)) == column.name
        for field in column.fields:
            assert column_name(table, str(field.path)) == field.name


@pytest.mark.parametrize("table", [*schema.TABLES.values()], ids=[*schema.TABLES])
def test_every_table_begins_with_its_keys(table: Table) -> None:
    """account, snapshot_id, snapshot_at; nodes and their children go on with the node's keys."""
    names = [column.name for column in table.columns]
    expected = ["account", "snapshot_id", "snapshot_at"]
    if table.name in {"nodes", "recent_tasks", "node_errors", "start_task_output"}:
        expected += ["pool_id", "node_id", "allocation_time"]

    assert expected == names[: len(expected)]
    assert len(set(names)) == len(names)
    assert "date" not in names


@pytest.mark.parametrize("name", ["recent_tasks", "node_errors", "pool_errors"])
def test_child_rows_carry_their_place(name: str) -> None:
    """Rows made from an array have a position."""
    assert "position" in {column.name for column in schema.TABLES[name].columns}


def test_the_ledger_is_the_last_table() -> None:
    """The tables are the design's, the ledger last."""
    expected = (
        "pools nodes start_tasks recent_tasks node_errors pool_errors start_task_output "
        "supported_images pool_usage snapshots"
    ).split()

    assert expected == list(schema.TABLES)


def test_every_string_may_hold_a_secret_but_keys_and_vocabularies() -> None:
    """A string that is free is redacted; what is not is a key, an enum, or nodelake's own."""
    own = {"snapshots.tool_version", "snapshots.problems.pool_id", "snapshots.problems.node_id"}
    for place, column in every_column():
        texts = column.type in (pa.string(), pa.list_(pa.field("element", pa.string())))
        if column.fields or not texts or column.enum or column.name in KEYS or place in own:
            assert column.secret == "no", place
        else:
            assert column.secret in {"text", "mask", "drop"}, place


def test_what_the_api_calls_a_secret_is_masked_or_dropped(api: Api) -> None:
    """Fields that are named or described as passwords, keys or values of the environment."""
    found = set()
    for table, (definition, _) in TABLES.items():
        columns = paths(schema.TABLES[table])
        for path, _ in api.fields(definition):
            if (
                re.search(r"password|secret|privatekey|token", path, re.IGNORECASE)
                or (path.startswith("environmentSettings") and path.endswith("value"))
            ) and path in columns:
                found.add(columns[path].name)
                assert columns[path].secret in {"mask", "drop"}, path

    assert found == {"container_settings_registry_password", "value"}


def test_a_dropped_column_is_read_but_never_stored() -> None:
    """The registry's password has a line, so that it is known, and no place in any file."""
    dropped = [place for place, column in every_column() if column.secret == "drop"]

    assert dropped == ["start_tasks.container_settings_registry_password"]
    assert "container_settings_registry_password" not in schema.START_TASKS.schema.names


@pytest.mark.parametrize(("place", "column"), [*every_column()], ids=[x for x, _ in every_column()])
def test_every_column_says_what_it_means(place: str, column: Column) -> None:
    """A doc is a sentence, and travels in the Arrow field."""
    assert re.fullmatch(r"[A-Za-z/].{10,}[.?]", column.doc, re.DOTALL), place
    assert column.field.metadata == {b"doc": column.doc.encode()}


@pytest.mark.parametrize("table", [*schema.TABLES.values()], ids=[*schema.TABLES])
def test_the_arrow_schema_describes_the_table(table: Table) -> None:
    """Fields in order with their docs, and in the file's metadata the table, grain and version."""
    assert [column.field for column in table.stored] == list(table.schema)
    for column in table.stored:
        assert table.schema.field(column.name).metadata == {b"doc": column.doc.encode()}
    assert table.schema.metadata[b"nodelake.table"] == table.name.encode()
    assert table.schema.metadata[b"nodelake.grain"] == table.grain.encode()
    version = str(schema.SCHEMA_VERSION).encode()
    assert table.schema.metadata[b"nodelake.schema_version"] == version


def test_the_members_of_a_list_are_documented_too() -> None:
    """list<struct> columns carry the docs of their members."""
    for table in schema.TABLES.values():
        for column in table.stored:
            if column.fields:
                element = column.type.value_type
                stored = [field for field in column.fields if field.is_stored]
                assert [field.field for field in stored] == list(element)
                assert all(
                    x.metadata == {b"doc": y.doc.encode()}
                    for x, y in zip(element, stored, strict=True)
                )


def test_the_shape_reaches_every_column() -> None:
    """The tree the readers are made from has a leaf for each line of the node's tables."""
    tables = [schema.NODES, schema.START_TASKS, schema.RECENT_TASKS, schema.NODE_ERRORS]
    expected = sum(len(paths(table)) for table in tables)

    assert expected == len(list(shape.leaves(shape.NODE)))
