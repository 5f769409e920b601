"""Redaction of whole tables: a secret planted in any field is found in none of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from pipeline.flatten import pool_rows, shape
from pipeline.flatten.columns import Report
from pipeline.redact import Redactor
from tests.made_up import AT, ORIGIN, Api, Json, flattener, page, whole_node
from tests.planted import ENCODINGS, PLANTS, SECRET, leaks


def planted(text: str) -> Json:
    """A whole node with a text in every free-text field and enum field, its keys left alone."""

    def plant(value: Any, of: shape.Shape) -> Any:
        if isinstance(of, shape.Members):
            return {k: plant(x, of.members[k]) for k, x in value.items()}
        if isinstance(of, shape.Elements):
            return [plant(x, of.element) for x in value]
        if of.column.secret == "text" or of.column.enum:
            return [text] if isinstance(value, list) else text
        return value

    made = plant(whole_node("tvmps_a_d"), shape.NODE)
    assert isinstance(made, dict)
    return made


def with_unknown_fields(value: Any, text: str) -> Any:
    """A value with unknown members in every object: under a plain name, nested, and as a name."""
    if isinstance(value, list):
        return [with_unknown_fields(x, text) for x in value]
    if not isinstance(value, dict):
        return value
    grown = {name: with_unknown_fields(x, text) for name, x in value.items()}
    return grown | {"unknown_value": text, "unknown_fields": [{"inner": [text]}], text: 1}


@pytest.mark.parametrize("encoding", ["as it is", "base64"])
def test_no_plant_in_any_field_is_found_in_any_table(encoding: str) -> None:
    """Every free-text field, unknown fields and their names at all levels, unknown enum values."""
    for plant in PLANTS:
        text = ENCODINGS[encoding](plant)
        for value in (planted(text), with_unknown_fields(whole_node(), text)):
            reading = flattener()
            tables, _ = reading.page(page(value), AT)
            assert not reading.report.malformed
            assert not leaks(*tables.values(), reading.report), plant


@pytest.mark.parametrize(
    "wrong",
    [{"totalTasksRun": "3"}, {"startTask": []}, {"id": None}, {"recentTasks": [5]}],
    ids=str,
)
def test_no_plant_in_a_malformed_node_is_found(wrong: Json) -> None:
    """Its JSON is redacted in extra_json, and its problems name no value."""
    for plant in PLANTS:
        value = with_unknown_fields(planted(plant), plant) | wrong
        value["lastBootTime"] = plant
        value["errors"] = plant
        value["virtualMachineInfo"] = [{plant: plant}]
        reading = flattener()
        tables, _ = reading.page(page(value, plant, [plant]), AT)
        assert 3 == reading.report.malformed
        assert not leaks(*tables.values(), reading.report), plant


def test_an_unstructured_secret_in_a_masked_field_is_found_nowhere() -> None:
    """Fields that are secrets by their meaning, in nodes well formed and malformed."""
    value = whole_node()
    value["startTask"]["containerSettings"]["registry"]["password"] = SECRET
    value["startTask"]["environmentSettings"] = [{"name": "A", "value": SECRET, "new": SECRET}]
    marked = [
        column
        for _, leaf in shape.leaves(shape.NODE)
        if (column := leaf.column).secret in {"mask", "drop"}
    ]
    assert ["container_settings_registry_password", "value"] == [column.name for column in marked]

    for each in (value, value | {"state": 1}, value | {"startTask": [value["startTask"]]}):
        reading = flattener(hash_key=b"key")
        tables, _ = reading.page(page(each), AT)
        assert not leaks(*tables.values(), reading.report)


@pytest.mark.parametrize(
    "start_task",
    [
        '{"environmentSettings":[],"environmentSettings":[{"name":"A","value":"%s"}]}',
        '{"environmentSettings":[{"name":"A","value":"x","value":"%s"}]}',
        '{"containerSettings":{"registry":{},"registry":{"password":"%s"}}}',
        '{"containerSettings":{"registry":{"password":"x","password":"%s"}}}',
        '{"settings":1,"settings":{"a":"%s"}}',
        '{"new":{"name":"DB_PASSWORD","value":"x","value":"%s"}}',
        '{"new":{"name":"DB_PASSWORD","name":"x","value":"%s"}}',
    ],
)
def test_a_secret_named_twice_is_masked_twice(start_task: str) -> None:
    """A repeated member is kept under another name, and is as secret as the first."""
    body = b'{"value":[{"id":"a","startTask":%s}]}' % (start_task % SECRET).encode()
    reading = flattener()
    tables, _ = reading.page(body, AT)

    assert [True] == tables["nodes"]["is_malformed"].to_pylist()
    assert not leaks(*tables.values(), reading.report)


def test_a_detail_that_names_a_secret_hides_its_value() -> None:
    """Details of failures and errors are name-value pairs."""
    details = [{"name": "Password", "value": SECRET}, {"name": "Message", "value": "x"}, {}]
    value = whole_node()
    value["errors"][0]["errorDetails"] = details
    value["startTaskInfo"]["failureInfo"]["details"] = details
    tables, _ = flattener().page(page(value), AT)
    shown = [{"name": "Password", "value": "[redacted]"}, details[1], {"name": None, "value": None}]

    assert [shown] == tables["node_errors"]["error_details"].to_pylist()
    assert [shown] == tables["nodes"]["start_task_failure_details"].to_pylist()


def test_keys_are_exempt() -> None:
    """Ids join tables: they are kept as they are, whatever they look like."""
    value = whole_node("-e A=node")
    value["recentTasks"][0] |= {"jobId": "password=job", "taskId": "sig=task"}
    tables, _ = flattener().page(page(value), AT)
    (row,) = tables["recent_tasks"].to_pylist()

    assert ("-e A=node", "password=job", "sig=task") == (
        row["node_id"],
        row["job_id"],
        row["task_id"],
    )


# --- pools ---


def made_of(api: Api, definition: Json, leaf: Callable[[str, Json], Any], path: str = "") -> Any:
    """A value of a definition with every member, its scalars what ``leaf`` makes of path and type."""
    whole = api.resolved(definition)
    if "properties" in whole:
        members = whole["properties"].items()
        return {name: made_of(api, inner, leaf, f"{path}.{name}") for name, inner in members}
    if whole.get("type") == "array":
        return [made_of(api, whole["items"], leaf, path)]
    return leaf(path, whole)


def pool(api: Api, leaf: Callable[[str, Json], Any]) -> Json:
    """A pool with every member there is, its id left alone."""
    return {**made_of(api, {"$ref": "CloudPool"}, leaf), "id": "pool1"}


def rows_and_report(*values: Json) -> Iterable[Any]:
    """What is made of pools."""
    report = Report()
    return [*pool_rows(values, ORIGIN, Redactor(), report), report]


def test_no_plant_in_a_pool_is_found(shared) -> None:
    """Every string of a pool at every depth, unknown_fields, and a malformed pool."""
    api = Api(shared)
    simple = {"integer": 1, "boolean": True, "number": 1.5, "object": {"a": 1}}
    for plant in PLANTS:

        def leaf(_: str, whole: Json, plant: str = plant) -> Any:
            is_text = whole.get("type") == "string" and whole.get("format") != "date-time"
            return plant if is_text else simple.get(whole.get("type", "object"))

        value = pool(api, leaf)
        value["resourceTags"] = {plant: plant}
        for each in (
            value,
            with_unknown_fields(value, plant),
            value | {"vmSize": [plant], "url": {plant: 1}},
        ):
            assert not leaks(*rows_and_report(each)), plant


def test_what_of_a_pool_is_secret_by_its_meaning_is_masked(shared) -> None:
    """Mount keys, SAS and passwords, user passwords and SSH keys, extension settings, metadata …"""
    api = Api(shared)
    secrets = re.compile(
        r"accountKey|sasKey|password|sshPrivateKey|ettings$|metadata\.value|environmentSettings\.value"
    )
    met = set()

    def leaf(path: str, whole: Json) -> Any:
        if secrets.search(path):
            met.add(path.split(".", 1)[1])
            return SECRET if whole.get("type") == "string" else {"a": [{"b": SECRET}]}
        is_text = whole.get("type") == "string"
        return (
            "2026-11-21T00:00:00Z" if is_text and whole.get("format") else "x" if is_text else None
        )

    made = rows_and_report(pool(api, leaf))

    assert {
        "virtualMachineConfiguration.containerConfiguration.containerRegistries.password",
        "virtualMachineConfiguration.extensions.settings",
        "virtualMachineConfiguration.extensions.protectedSettings",
        "startTask.containerSettings.registry.password",
        "startTask.environmentSettings.value",
        "userAccounts.password",
        "userAccounts.linuxUserConfiguration.sshPrivateKey",
        "metadata.value",
        "mountConfiguration.azureBlobFileSystemConfiguration.accountKey",
        "mountConfiguration.azureBlobFileSystemConfiguration.sasKey",
        "mountConfiguration.cifsMountConfiguration.password",
        "mountConfiguration.azureFileShareConfiguration.accountKey",
    } == met
    assert not leaks(*made)
