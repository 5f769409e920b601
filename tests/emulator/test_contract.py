"""What the emulator sends is what the contract says and what recordings look like."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.emulator import API_VERSIONS, Emulator, Fleet, load_fleet_config

from .client import Client
from .conftest import START, busy_config
from .contract import paths, problems, schema_paths

DATA = Path(__file__).resolve().parents[2] / "data" / "fleets"

LISTS = {
    "/pools": "CloudPoolListResult",
    "/nodecounts": "PoolNodeCountsListResult",
    "/poolusagemetrics": "PoolListUsageMetricsResult",
    "/supportedimages": "AccountListSupportedImagesResult",
}


@pytest.fixture(scope="module")
def clients() -> list[Client]:
    """A client to the demo fleet after a day, to a gallery of all profiles, to a rough one."""
    fleets = [
        Fleet(seed=7, start=START),
        Fleet(load_fleet_config(DATA / "gallery.toml"), seed=7, start=START),
        Fleet(busy_config(120), seed=3, start=START),
    ]
    for fleet in fleets:
        fleet.advance(START + timedelta(hours=30))
    return [Client(Emulator(fleet)) for fleet in fleets]


def asked(client: Client, version: str, path: str, **query: Any) -> list[dict[str, Any]]:
    """Every page of a list, in a version."""
    return client.pages(path, **{"api-version": version}, **query)


@pytest.mark.parametrize("version", API_VERSIONS)
def test_every_list_is_valid(clients: list[Client], shared: Path, version: str) -> None:
    """Every page of every list validates in every version, unknown properties not allowed."""
    for client in clients:
        for path, definition in LISTS.items():
            if (version, path) == ("2026-10-01", "/poolusagemetrics"):
                assert 404 == client.get(path, **{"api-version": version}).status_code
                continue
            for page in asked(client, version, path):
                assert [] == problems(shared, definition, page, version)
        for pool in client.items("/pools"):
            for page in asked(client, version, f"/pools/{pool['id']}/nodes", maxresults=50):
                assert [] == problems(shared, "ComputeNodeListResult", page, version)


@pytest.mark.parametrize("version", API_VERSIONS)
def test_every_file_list_is_valid(clients: list[Client], shared: Path, version: str) -> None:
    """The files of nodes that can be asked for them validate in every version."""
    met = 0
    for client in clients[:2]:
        for pool in client.items("/pools"):
            for node in client.items(f"/pools/{pool['id']}/nodes", _filter="state eq 'idle'")[:5]:
                path = f"/pools/{pool['id']}/nodes/{node['id']}/files"
                for page in asked(client, version, path, recursive="true"):
                    assert [] == problems(shared, "NodeFileListResult", page, version)
                    met += sum("properties" in file for file in page["value"])
    assert met > 20


@pytest.mark.parametrize("version", API_VERSIONS)
def test_every_element_is_valid(clients: list[Client], shared: Path, version: str) -> None:
    """A pool and a node by themselves validate, a pool with its statistics too."""
    query = {"api-version": version}
    for client in clients:
        for pool in client.items("/pools", _expand="stats", **query):
            assert [] == problems(shared, "CloudPool", pool, version)
            one = client.get(f"/pools/{pool['id']}", _expand="stats", **query).json()
            assert [] == problems(shared, "CloudPool", one, version)
            assert pool == {k: v for k, v in one.items() if k != "odata.metadata"}
            nodes = client.items(f"/pools/{pool['id']}/nodes", **query)
            for node in nodes[:5]:
                one = client.get(f"/pools/{pool['id']}/nodes/{node['id']}", **query).json()
                assert [] == problems(shared, "ComputeNode", one, version)
                assert node == {k: v for k, v in one.items() if k != "odata.metadata"}


@pytest.mark.parametrize(
    "change",
    [
        {"state": "asleep"},
        {"surprise": 1},
        {"totalTasksRun": "12"},
        {"allocationTime": "2026-11-02 00:00"},
        {"startTask": {"waitForSuccess": True}},
        {"recentTasks": [{"taskState": "running", "executionInfo": {"retryCount": 0}}]},
    ],
)
def test_the_check_itself_bites(
    clients: list[Client], shared: Path, change: dict[str, Any]
) -> None:
    """The validator refuses wrong enums, names, types, times and missing members."""
    node = clients[0].items("/pools/render/nodes")[0]
    assert [] == problems(shared, "ComputeNode", node)
    assert [] != problems(shared, "ComputeNode", {**node, **change})


def test_errors_are_valid(clients: list[Client], shared: Path) -> None:
    """Error bodies validate."""
    for path, query in (("/pools/none", {}), ("/pools", {"maxresults": -5}), ("/nowhere", {})):
        reply = clients[0].get(path, **query)
        assert reply.status_code >= 400
        assert [] == problems(shared, "BatchError", reply.json())


@pytest.mark.parametrize("version", [version for version in API_VERSIONS if "02-01" not in version])
def test_every_optional_field_appears(shared: Path, version: str) -> None:
    """Every property that the contract names is somewhere in the gallery within two days."""
    pools: set[str] = set()
    nodes: set[str] = set()
    fleet = Fleet(load_fleet_config(DATA / "gallery.toml"), seed=7, start=START)
    client = Client(Emulator(fleet))
    query = {"api-version": version}
    for _ in range(96):
        fleet.advance(fleet.now + timedelta(minutes=30))
        for pool in client.items("/pools", _expand="stats", **query):
            pools |= paths(pool)
            for node in client.items(f"/pools/{pool['id']}/nodes", **query):
                nodes |= paths(node)
    assert set() == schema_paths(shared, "CloudPool", version) - pools
    assert set() == schema_paths(shared, "ComputeNode", version) - nodes


#: (document, member, versions that have it), read off versions.md and not off the emulator.
MEMBERS = [
    ("node", "certificateReferences", API_VERSIONS[:2]),
    ("node", "ipv6Address", API_VERSIONS[2:]),
    ("node", "publicIPAddress", API_VERSIONS[3:]),
    ("node", "publicIPv6Address", API_VERSIONS[3:]),
    ("pool", "certificateReferences", API_VERSIONS[:2]),
    ("pool", "targetNodeCommunicationMode", API_VERSIONS[:2]),
    ("pool", "currentNodeCommunicationMode", API_VERSIONS[:2]),
    ("pool", "resourceTags", API_VERSIONS[:2]),
    ("pool", "taskSchedulingPolicy.jobDefaultOrder", API_VERSIONS[2:]),
    ("pool", "virtualMachineConfiguration.dataDisks[].storageAccountType", API_VERSIONS[:2]),
    ("pool", "virtualMachineConfiguration.dataDisks[].managedDisk", API_VERSIONS[2:]),
    ("pool", "virtualMachineConfiguration.securityProfile.proxyAgentSettings", API_VERSIONS[2:]),
    ("pool", "virtualMachineConfiguration.hardwareProfile", API_VERSIONS[3:]),
    ("pool", "stats.usageStats", API_VERSIONS[:3]),
    ("pool", "vmSkuProfile", API_VERSIONS[3:]),
]


def test_members_of_versions(clients: list[Client]) -> None:
    """A member is there in the versions that have it, and in no other."""
    client = clients[1]
    for version in API_VERSIONS:
        query = {"api-version": version}
        pools = client.items("/pools", _expand="stats", **query)
        nodes = [n for p in pools for n in client.items(f"/pools/{p['id']}/nodes", **query)]
        found = {"node": paths(nodes), "pool": paths(pools)}
        for document, member, versions in MEMBERS:
            assert (version in versions) == (f"[].{member}" in found[document]), (version, member)
        numbers = {type(pool["stats"]["resourceStats"]["diskReadIOps"]) for pool in pools}
        assert ({int} if version.startswith("2024") else {str}) == numbers


@pytest.mark.parametrize("version", API_VERSIONS)
def test_select_knows_the_version(clients: list[Client], version: str) -> None:
    """A member that a version lacks cannot be selected in it."""
    path = "/pools/gallery-windows/nodes"
    for document, member, versions in MEMBERS:
        if document == "node":
            reply = clients[1].get(path, _select=f"id,{member}", **{"api-version": version})
            assert (200 if version in versions else 400) == reply.status_code


def test_real_sizes_of_a_mixed_pool(clients: list[Client]) -> None:
    """A pool of mixed sizes says Mix, its nodes which size they have, and the truth log too."""
    client = clients[1]
    (pool,) = client.items(
        "/pools", _filter="id eq 'gallery-mixed'", **{"api-version": "2026-10-01"}
    )
    sizes = [size["name"] for size in pool["vmSkuProfile"]["vmSizes"]]
    assert "Mix" == pool["vmSize"]
    nodes = client.items("/pools/gallery-mixed/nodes")
    assert set(sizes) == {node["vmSize"] for node in nodes}
    truth = client.emulator.fleet.truth
    true = {m.node_id: m.vm_size for m in truth.memberships if m.left_at is None}
    assert all(true[node["id"]] == node["vmSize"] for node in nodes)


@pytest.mark.parametrize("version", API_VERSIONS)
def test_no_null_anywhere(clients: list[Client], version: str) -> None:
    """No JSON null is ever sent: what is absent is left out."""
    client = clients[1]
    for path in ("/pools", "/nodecounts", "/pools/gallery-windows/nodes"):
        reply = client.get(path, **{"api-version": version})
        assert 200 == reply.status_code
        assert "null" not in reply.text


def recordings(shared: Path, kind: str) -> list[dict[str, Any]]:
    """Return the recordings of a kind that are of the current data service."""
    found = []
    for path in sorted((shared / "recordings").glob(f"*-{kind}-*.json")):
        record = json.loads(path.read_text())
        headers = record["headers"] or {}
        record["headers"] = {
            name.lower(): value if isinstance(value, str) else value[0]
            for name, value in headers.items()
        }
        found.append(record)
    assert found
    return found


KINDS = {
    "poollist": "/pools",
    "poolget": "/pools/render",
    "nodelist": "/pools/render/nodes",
    "nodecounts": "/nodecounts",
}
#: Of the transport, not of the service; and what a proxy of the time said.
NOT_COMPARED = {"connection", "transfer-encoding", "content-length"}


@pytest.mark.parametrize("kind", KINDS)
def test_headers_are_those_of_the_recordings(
    clients: list[Client], shared: Path, kind: str
) -> None:
    """Each list and element comes with the headers that recordings have, values alike."""
    reply = clients[0].http.get(
        KINDS[kind], params={"api-version": "2024-07-01.20.0"}, headers={"Accept-Encoding": ""}
    )
    for record in recordings(shared, kind):
        recorded = record["headers"]
        assert set(recorded) - NOT_COMPARED <= set(reply.headers)
        for name in ("dataserviceversion", "server", "strict-transport-security"):
            assert recorded[name] == reply.headers[name]
        assert recorded["content-type"].replace(" ", "") == reply.headers["content-type"]
        assert ("etag" in recorded) == ("etag" in reply.headers)
        assert ("last-modified" in recorded) == ("last-modified" in reply.headers)


@pytest.mark.parametrize("kind", KINDS)
def test_envelopes_are_those_of_the_recordings(
    clients: list[Client], shared: Path, kind: str
) -> None:
    """The metadata link ends as recorded, and keys shared with recordings come in their order."""
    body = clients[0].get(KINDS[kind]).json()
    suffix = body["odata.metadata"].partition("$")[2]
    for record in recordings(shared, kind):
        recorded = record["body"]
        assert recorded["odata.metadata"].partition("$")[2] == suffix
        assert ("value" in recorded) == ("value" in body)
        if "value" not in body:
            common = [name for name in recorded if name in body]
            assert common == [name for name in body if name in recorded]


def test_nodes_have_the_recorded_keys_in_order(clients: list[Client], shared: Path) -> None:
    """A node's keys come in the order of the newest recordings."""
    nodes = clients[0].items("/pools/render/nodes")
    for record in recordings(shared, "nodelist"):
        for recorded in record["body"]["value"]:
            node = max(nodes, key=len)
            common = [name for name in recorded if name in node]
            assert common == [name for name in node if name in recorded]


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [("/pools", {"maxresults": -5}, "InvalidQueryParameterValue")],
)
def test_errors_are_those_of_the_recordings(
    clients: list[Client], shared: Path, path: str, query: dict[str, Any], code: str
) -> None:
    """The same bad request gives the recorded error, but for account, ids and times."""
    (record,) = [
        json.loads(found.read_text())
        for found in (shared / "recordings").glob(f"*-error-400-{code}.json")
    ]
    reply = clients[0].get(path, **query)
    ours, theirs = reply.json(), record["body"]
    assert record["_provenance"]["status"] == reply.status_code
    assert list(theirs) == list(ours)
    assert theirs["odata.metadata"].partition("$")[2] == ours["odata.metadata"].partition("$")[2]
    assert (theirs["code"], theirs["values"]) == (ours["code"], ours["values"])
    ours_lines, theirs_lines = (e["message"]["value"].split("\n") for e in (ours, theirs))
    assert theirs_lines[0] == ours_lines[0]
    assert [line.partition(":")[0] for line in theirs_lines] == [
        line.partition(":")[0] for line in ours_lines
    ]
    assert ours_lines[1] == f"RequestId:{reply.headers['request-id']}"
    assert "content-length" in reply.headers


def test_recorded_error_words(shared: Path) -> None:
    """For every code that was recorded the emulator has the recorded status and words."""
    from pipeline.emulator.http.replies import ERRORS

    met = set()
    for found in (shared / "recordings").glob("*-error-*.json"):
        record = json.loads(found.read_text())
        body = record["body"]
        if body["code"] in ERRORS:
            met.add(body["code"])
            message = body["message"]["value"].split("\n")[0]
            assert (record["_provenance"]["status"], message) == ERRORS[body["code"]]
    assert {"TooManyRequests", "ServerBusy", "InternalError", "Forbidden"} <= met
