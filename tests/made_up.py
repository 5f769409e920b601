"""Made-up nodes and pools: drawn from the OpenAPI definitions, and by hand from nothing but Python.

What is here knows the API's own definitions, never ``pipeline.schema``: a wrong path there would
otherwise agree with itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from pipeline.flatten import NodeFlattener, Tables
from pipeline.flatten import unflatten as rebuild
from pipeline.flatten.columns import Origin
from pipeline.redact import Redactor, is_secret_name, redact_text

Json = dict[str, Any]

AT = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
ORIGIN = Origin("acct.westeurope", "20261121T120000Z-0123abcd", AT)
POOL_ID = "pool1"

#: Texts that read like secrets, nulls or empty objects to a hasty eye, and are none.
ODD_TEXTS = (
    "",
    " ",
    "null",
    "{}",
    "a: null, b: {}",
    "> /dev/null",
    "xargs -I{} echo {}",
    '"quoted" and \\ backslash / slash',
    "\n\t\r\b\f\u0000\u001f\u007f",
    "über 東京 \U0001f680 \u2028\u2029",
    "a.b[0].c",
    "2026-11-21T00:00:00Z",
    "true",
    "-1",
)


class Api:
    """The OpenAPI definitions of the contract, of one api-version."""

    def __init__(self, shared: Path, version: str = "2024-07-01.20.0") -> None:
        self.definitions: dict[str, Json] = {}
        for path in sorted((shared / "contract").glob(f"openapi-{version}-*.json")):
            # "more-read-operations" comes first: where both define something, the other holds
            self.definitions |= json.loads(path.read_text())["definitions"]

    def resolved(self, definition: Json) -> Json:
        """A property's definition with its reference followed."""
        reference = definition.get("$ref")
        return definition | self.definitions[reference.split("/")[-1]] if reference else definition

    def fields(self, name: str, path: str = "") -> Iterable[tuple[str, Json]]:
        """Every scalar (or list of scalars) below a definition: its path, and its definition."""
        for member, definition in self.definitions[name]["properties"].items():
            yield from self._below(f"{path}{member}", definition)

    def _below(self, path: str, definition: Json) -> Iterable[tuple[str, Json]]:
        whole = self.resolved(definition)
        if "properties" in whole:
            for member, inner in whole["properties"].items():
                yield from self._below(f"{path}.{member}", inner)
        elif whole["type"] == "array" and "properties" in self.resolved(whole["items"]):
            yield from self._below(f"{path}[]", whole["items"])
        elif whole["type"] == "array":
            yield path, whole | {"items": self.resolved(whole["items"])}
        else:
            yield path, whole

    def expected(self, name: str, value: Any) -> Any:
        """A value as it is rebuilt: enums lower-cased, times to the microsecond."""
        return self._expected({"$ref": name}, value)

    def _expected(self, definition: Json, value: Any) -> Any:
        whole = self.resolved(definition)
        if isinstance(value, dict) and "properties" in whole:
            known = whole["properties"]
            return {k: self._expected(known[k], x) if k in known else x for k, x in value.items()}
        if isinstance(value, list) and "items" in whole:
            return [self._expected(whole["items"], x) for x in value]
        if isinstance(value, str) and "enum" in whole:
            return value.lower()
        if isinstance(value, str) and whole.get("format") == "date-time":
            return microseconds(value)
        return value


def microseconds(time: str) -> str:
    """A time of the service with exactly six digits, finer ones cut off."""
    match = re.fullmatch(r"(.{19})(?:\.(\d+))?Z", time)
    assert match, time
    return f"{match[1]}.{(match[2] or '')[:6]:0<6}Z"


# --- strategies ---


def _is_harmless(text: str) -> bool:
    return redact_text(text) == text and not is_secret_name(text)


TEXTS = st.one_of(st.sampled_from(ODD_TEXTS), st.text(st.characters(codec="utf-8"), max_size=12))
HARMLESS = TEXTS.filter(_is_harmless)
NAMES = st.one_of(
    st.sampled_from(["newField", "", "a.b", "a[0]", "\\", "\\.", "[]", "x\\0", "ü"]),
    st.text(st.characters(codec="utf-8"), max_size=6).filter(_is_harmless),
)
IDS = st.from_regex(r"tvmps_[0-9a-f]{8}_[dp]", fullmatch=True)
UNKNOWN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), HARMLESS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NAMES, inner, max_size=2)),
    max_leaves=4,
)


@st.composite
def _times(draw: st.DrawFn) -> str:
    time = draw(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))).replace(microsecond=0)
    digits = draw(st.integers(0, 7))
    fraction = f".{draw(st.integers(0, 10**digits - 1)):0{digits}}" if digits else ""
    return f"{time.isoformat()}{fraction}Z"


@st.composite
def objects(draw: st.DrawFn, api: Api, name: str, drift: bool = True) -> Json:
    """An object of a definition: every member present, absent, null or empty, unknown_fields between.

    Without ``drift`` there are no nulls, empty objects and unknown_fields: what the fast path takes.
    """
    made: Json = {}
    for member, definition in api.definitions[name]["properties"].items():
        whole = api.resolved(definition)
        kinds = ["absent", "present", "present"]
        is_list = whole.get("type") == "array"
        if is_list or (drift and "properties" in whole):
            kinds += ["empty"]
        kind = draw(st.sampled_from(kinds + (["null"] if drift else [])))
        if kind == "null":
            made[member] = None
        elif kind == "empty":
            made[member] = [] if is_list else {}
        elif kind == "present":
            value = draw(_values(api, definition, drift))
            if value != {} or drift:
                made[member] = value
    if drift and draw(st.integers(0, 3)) == 0:
        name = draw(NAMES.filter(lambda x: x not in api.definitions[name]["properties"]))
        made[name] = draw(UNKNOWN)
    return made


def _values(api: Api, definition: Json, drift: bool) -> st.SearchStrategy[Any]:
    whole = api.resolved(definition)
    if "properties" in whole:
        return objects(api, definition["$ref"].split("/")[-1], drift)
    if whole.get("type") == "array":
        items = _values(api, whole["items"], drift)
        return st.lists(items if drift else items.filter(lambda x: x != {}), max_size=2)
    if "enum" in whole:
        known = st.sampled_from(whole["enum"])
        return st.one_of(known, known.map(str.upper), known.map(str.title))
    if whole.get("format") == "date-time":
        return _times()
    simple: dict[str, st.SearchStrategy[Any]] = {
        "string": HARMLESS,
        "boolean": st.booleans(),
        "integer": st.integers(-(2**31), 2**31 - 1),
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "object": st.dictionaries(HARMLESS, HARMLESS, max_size=2),
    }
    return simple[whole.get("type", "object")]


def nodes(api: Api, drift: bool = True) -> st.SearchStrategy[Json]:
    """ComputeNodes with a valid id."""
    return st.builds(
        lambda node, node_id: node | {"id": node_id}, objects(api, "ComputeNode", drift), IDS
    )


def pools(api: Api) -> st.SearchStrategy[Json]:
    """CloudPools with a valid id."""
    return st.builds(lambda pool, pool_id: pool | {"id": pool_id}, objects(api, "CloudPool"), IDS)


# --- by hand ---


def node(node_id: str = "tvmps_a_d", **members: Any) -> Json:
    """A small node as the service sends it, with further members."""
    return {
        "id": node_id,
        "url": f"https://acct.westeurope.batch.azure.com/pools/{POOL_ID}/nodes/{node_id}",
        "state": "idle",
        "stateTransitionTime": "2026-11-21T10:00:00.1234567Z",
        "allocationTime": "2026-11-21T09:00:00.5Z",
        "totalTasksRun": 3,
        "isDedicated": True,
    } | members


def whole_node(node_id: str = "tvmps_whole_d") -> Json:
    """A node that has every object and list there is, each with something in it."""
    details = [{"name": "Message", "value": "exited with 3"}]
    failure = {"category": "UserError", "code": "FailureExitCode", "message": "exit 3"}
    container = {"containerId": "c0ffee", "state": "exited", "error": "none"}
    times = {"startTime": "2026-11-21T09:02:00Z", "endTime": "2026-11-21T09:03:00.1Z"}
    run = times | {
        "exitCode": 3,
        "containerInfo": container,
        "failureInfo": failure | {"details": details},
        "retryCount": 1,
        "lastRetryTime": "2026-11-21T09:02:30Z",
        "result": "failure",
    }
    made = node(
        node_id,
        schedulingState="enabled",
        lastBootTime="2026-11-21T09:01:00Z",
        ipAddress="10.0.0.4",
        ipv6Address="fd00::4",
        publicIPAddress="20.0.0.4",
        publicIPv6Address="2001:db8::4",
        affinityId=f"TVM:{node_id}",
        vmSize="standard_d2s_v3",
        runningTasksCount=0,
        runningTaskSlotsCount=0,
        totalTasksSucceeded=2,
        recentTasks=[
            {
                "taskUrl": "https://acct.westeurope.batch.azure.com/jobs/j/tasks/t",
                "jobId": "j",
                "taskId": "t",
                "subtaskId": 1,
                "taskState": "completed",
                "executionInfo": run
                | {"requeueCount": 1, "lastRequeueTime": "2026-11-21T09:01:30Z"},
            }
        ],
        startTask=start_task(),
        startTaskInfo=run | {"state": "completed"},
        certificateReferences=[
            {
                "thumbprint": "0a1b",
                "thumbprintAlgorithm": "sha1",
                "storeLocation": "CurrentUser",
                "storeName": "My",
                "visibility": ["StartTask", "task"],
            }
        ],
        errors=[{"code": "DiskFull", "message": "the disk is full", "errorDetails": details}],
        endpointConfiguration={
            "inboundEndpoints": [
                {
                    "name": "SSHRule.0",
                    "protocol": "tcp",
                    "publicIPAddress": "20.0.0.4",
                    "publicFQDN": "dns.westeurope.cloudapp.azure.com",
                    "frontendPort": 50000,
                    "backendPort": 22,
                }
            ]
        },
        nodeAgentInfo={"version": "1.11.14", "lastUpdateTime": "2026-11-21T08:00:00Z"},
        virtualMachineInfo={
            "imageReference": {
                "publisher": "canonical",
                "offer": "ubuntu",
                "sku": "22_04",
                "version": "latest",
                "virtualMachineImageId": "/subscriptions/s/images/i",
                "exactVersion": "22.04.2026",
                "sharedGalleryImageId": "/sharedGalleries/g",
                "communityGalleryImageId": "/communityGalleries/g",
            },
            "scaleSetVmResourceId": "/subscriptions/s/vmss/0",
        },
    )
    return json.loads(json.dumps(made))  # no part of it is in two places


def start_task(**members: Any) -> Json:
    """A start task with every member."""
    identity = {"resourceId": "/subscriptions/s/identities/i"}
    return {
        "commandLine": "/bin/sh -c 'echo hello > /dev/null'",
        "containerSettings": {
            "containerRunOptions": "--rm",
            "imageName": "registry.example.com/image:1",
            "registry": {
                "username": "puller",
                "password": "a registry password",
                "registryServer": "registry.example.com",
                "identityReference": identity,
            },
            "workingDirectory": "taskWorkingDirectory",
            "containerHostBatchBindMounts": [{"source": "Shared", "isReadOnly": True}],
        },
        "resourceFiles": [
            {
                "autoStorageContainerName": "auto",
                "storageContainerUrl": "https://acct.blob.core.windows.net/c",
                "httpUrl": "https://acct.blob.core.windows.net/c/f?sv=1&sig=c2lnbmF0dXJl&se=2",
                "blobPrefix": "f",
                "filePath": "f",
                "fileMode": "0755",
                "identityReference": identity,
            }
        ],
        "environmentSettings": [{"name": "SETTING", "value": "an environment value"}],
        "userIdentity": {
            "username": "me",
            "autoUser": {"scope": "Pool", "elevationLevel": "Admin"},
        },
        "maxTaskRetryCount": 2,
        "waitForSuccess": True,
    } | members


def page(*values: Any, next_link: str | None = None) -> bytes:
    """The body of a page, compact as the service writes it."""
    envelope: Json = {"odata.metadata": "https://acct/$metadata#nodes", "value": list(values)}
    if next_link is not None:
        envelope["odata.nextLink"] = next_link
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


# --- there and back ---


def flattener(redactor: Redactor | None = None, hash_key: bytes | None = None) -> NodeFlattener:
    """A flattener of one listing."""
    return NodeFlattener(ORIGIN, POOL_ID, redactor or Redactor(), hash_key=hash_key)


def flattened(body: bytes, redactor: Redactor | None = None) -> Tables:
    """The tables of one page, each valid Arrow through and through."""
    tables, _ = flattener(redactor).page(body, AT)
    for table in tables.values():
        table.validate(full=True)
    return tables


def rebuilt(tables: Tables) -> list[Any]:
    """The nodes that the tables of a page were made from, in their order."""
    start_tasks = {row["start_task_id"]: row for row in tables["start_tasks"].to_pylist()}
    return [
        rebuild.node(
            row,
            start_tasks.get(row["start_task_id"]),
            _of(tables["recent_tasks"], row["node_id"]),
            _of(tables["node_errors"], row["node_id"]),
        )
        for row in tables["nodes"].to_pylist()
    ]


def _of(table: pa.Table, node_id: str | None) -> list[Json]:
    return [row for row in table.to_pylist() if row["node_id"] == node_id]


def redacted(value: Any) -> Any:
    """A node or pool with its secrets masked."""
    return Redactor().json(value)
