"""The read operations: parameters, pages, filters, selections, conditions and errors."""

import gzip
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
import pytest

from pipeline.emulator import API_VERSIONS, Emulator, Fleet, load_fleet_config
from pipeline.emulator.http.odata import read_time

from .client import VERSION, Client
from .conftest import START, busy_config


@pytest.fixture(scope="module")
def lived(lived_fleet: Fleet) -> Client:
    """A client to the demo fleet after its first day."""
    return Client(Emulator(lived_fleet))


def error(reply: httpx.Response) -> tuple[int, str, dict[str, str]]:
    """Status, code and values of an error reply."""
    body = reply.json()
    values = {pair["key"]: pair["value"] for pair in body.get("values", [])}
    return reply.status_code, body["code"], values


@pytest.mark.parametrize("version", API_VERSIONS)
def test_versions(client: Client, version: str) -> None:
    """Four api-versions are served; deallocated nodes are counted from the second on."""
    counts = client.items("/nodecounts", **{"api-version": version})
    has_deallocated = version != "2024-02-01.19.0"
    assert has_deallocated == ("deallocated" in counts[0]["dedicated"])


@pytest.mark.parametrize(
    "path", ["/pools", "/pools/render", "/nodecounts", "/pools/render/nodes", "/supportedimages"]
)
def test_version_is_required(client: Client, path: str) -> None:
    """Without an api-version, with one that is none, or with an unknown one, the answer is 400."""
    missing = client.http.get(path)
    assert (400, "MissingRequiredQueryParameter") == error(missing)[:2]
    for unknown in ("2012-01-01", "2023-05-01.17.0", "2031-01-01-preview"):
        reply = client.get(path, **{"api-version": unknown})
        assert (400, "UnsupportedRequestVersion") == error(reply)[:2]
    assert 400 == client.get(path, **{"api-version": "newest"}).status_code


def test_refused_versions() -> None:
    """A service can be configured to refuse versions, by the fleet file, from Python, while it runs."""
    config = msgspec.structs.replace(load_fleet_config(None), refused_versions=("2024-02-01.19.0",))
    emulator = Emulator(Fleet(config, start=START), refused_versions=["2024-07-01.20.0"])
    with Client(emulator) as client:

        def statuses() -> list[int]:
            return [client.get("/pools", **{"api-version": v}).status_code for v in API_VERSIONS]

        assert [400, 400, 200, 200] == statuses()
        status, code, values = error(client.get("/pools"))
        assert (400, "UnsupportedRequestVersion") == (status, code)
        assert VERSION == values["RequestVersion"]
        assert "2025-06-01" in values["Reason"]
        emulator.refused_versions = frozenset({"2025-06-01"})
        assert [200, 200, 400, 200] == statuses()  # pages in the cache are refused as well


@pytest.mark.parametrize("size", [1, 7, 10, 88, 89, 90, 1000])
def test_pages_hold_every_node_once(client: Client, size: int) -> None:
    """Whatever the page size, the pages together are the pool, in order."""
    whole = client.items("/pools/render/nodes")
    pages = client.pages("/pools/render/nodes", maxresults=size)
    assert whole == [node for page in pages for node in page["value"]]
    assert -(-len(whole) // size) == len(pages)
    assert all(len(page["value"]) == size for page in pages[:-1])


@pytest.mark.parametrize("path", ["/pools", "/nodecounts", "/poolusagemetrics"])
def test_other_lists_have_pages(lived: Client, path: str) -> None:
    """Every list has pages."""
    whole = lived.items(path)
    pages = lived.pages(path, maxresults=2)
    assert whole == [item for page in pages for item in page["value"]]
    assert 2 == len(pages)


@pytest.mark.parametrize(
    ("path", "size", "reason"),
    [
        ("/pools", "0", "less than 1"),
        ("/pools", "1001", "greater than 1000"),
        ("/pools", "ten", "integer"),
        ("/pools/render/nodes", "-1", "less than 1"),
        ("/pools/render/nodes", "1001", "greater than 1000"),
        ("/nodecounts", "11", "greater than 10"),
        ("/poolusagemetrics", "1001", "greater than 1000"),
    ],
)
def test_page_sizes_have_limits(client: Client, path: str, size: str, reason: str) -> None:
    """A page size out of bounds is 400, and the reason says which bound."""
    status, code, values = error(client.get(path, maxresults=size))
    assert (400, "InvalidQueryParameterValue") == (status, code)
    assert ("maxresults", size) == (values["QueryParameterName"], values["QueryParameterValue"])
    assert reason in values["Reason"]


def test_next_link_shape(client: Client) -> None:
    """A nextLink is absolute, keeps the query and has a token partly percent-encoded."""
    kept: dict[str, Any] = {"maxresults": 3, "_filter": "state ne 'offline'", "_select": "id,state"}
    escaped = 0
    for _ in range(20):
        page = client.get("/pools/render/nodes", **kept).json()
        link = page["odata.nextLink"]
        assert link.startswith(f"{client.emulator.endpoint}/pools/render/nodes?")
        query = dict(parse_qsl(urlsplit(link).query))
        assert VERSION == query["api-version"]
        assert str(kept["maxresults"]) == query["maxresults"]
        assert "state ne 'offline'" == query["$filter"]
        assert re.fullmatch(r"WATV2:[A-Za-z0-9/^=]+:1\$1", query["$skiptoken"])
        assert "^" not in link
        escaped += "%5E" in link
        kept["maxresults"] += 1
    assert escaped
    token = query["$skiptoken"]
    for bad in (token[:-9] + "x:1$1", "WATV2::1$1", "x", token.replace("WATV2", "WATV3")):
        reply = client.get("/pools/render/nodes", **{"$skiptoken": bad})
        assert (400, "InvalidQueryParameterValue") == error(reply)[:2]
    elsewhere = client.get("/pools/simulation-spot/nodes", **{"$skiptoken": token})
    assert 400 == elsewhere.status_code


def test_encoded_paths(client: Client) -> None:
    """A path may be percent-encoded, and its pages go on."""
    whole = client.items("/pools/render/nodes")
    first = client.get("/pools/%72ender/nodes", maxresults=50).raise_for_status().json()
    rest = client.follow(first["odata.nextLink"]).raise_for_status().json()
    assert [n["id"] for n in whole] == [n["id"] for n in first["value"] + rest["value"]]


def test_a_page_is_not_a_point_in_time(client: Client) -> None:
    """Time that moves between two pages moves no node from one to the other."""
    fleet = client.emulator.fleet
    first = client.get("/pools/render/nodes", maxresults=40).json()
    fleet.advance(fleet.now + timedelta(hours=8))
    rest = client.follow(first["odata.nextLink"]).json()["value"]
    assert first["value"][-1]["id"] < rest[0]["id"]


def info(node: dict[str, Any]) -> dict[str, Any]:
    """A node's startTaskInfo, which some have not."""
    found: dict[str, Any] = node.get("startTaskInfo", {})
    return found


POOLS = ("render", "simulation-spot", "training-containers")
NODE_FILTERS: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
    ("state eq 'IDLE'", lambda n: n["state"] == "idle"),
    ("state ne 'idle' and state ne 'running'", lambda n: n["state"] not in ("idle", "running")),
    (
        "(state eq 'idle' or state eq 'running') and not (state eq 'idle')",
        lambda n: n["state"] == "running",
    ),
    (
        "allocationTime ge DateTime'2026-11-02T08:30:00Z'",
        lambda n: n["allocationTime"] >= "2026-11-02T08:30:00Z",
    ),
    (
        "stateTransitionTime lt datetime'2026-11-02T23:30:00.0000000Z'",
        lambda n: n["stateTransitionTime"][:19] < "2026-11-02T23:30:00",
    ),
    ("lastBootTime gt DateTime'2026-11-02'", lambda n: n.get("lastBootTime", "") > "2026-11-02T"),
    ("startTaskInfo/state eq 'running'", lambda n: info(n).get("state") == "running"),
    (
        "startTaskInfo/result ne 'Success'",
        lambda n: info(n).get("result") != "success",
    ),
    (
        "startTaskInfo/exitCode le 0",
        lambda n: info(n).get("exitCode", 1) <= 0,
    ),
    (
        "startTaskInfo/endTime le DateTime'2026-11-02T12:00:00Z'",
        lambda n: info(n).get("endTime", "Z") <= "2026-11-02T12:00:00Z",
    ),
    ("  ", lambda n: True),
]


@pytest.mark.parametrize(("text", "expected"), NODE_FILTERS, ids=[text for text, _ in NODE_FILTERS])
def test_filters_on_nodes(
    lived: Client, text: str, expected: Callable[[dict[str, Any]], bool]
) -> None:
    """A filter gives the nodes that it names, and pages of it no others."""
    every = [n for p in POOLS for n in lived.items(f"/pools/{p}/nodes")]
    wanted = [node["id"] for node in every if expected(node)]
    got = [
        node["id"]
        for p in POOLS
        for node in lived.items(f"/pools/{p}/nodes", _filter=text, maxresults=9)
    ]
    assert wanted == got
    assert got


@pytest.mark.parametrize(
    "text",
    [
        "State eq 'idle'",
        "vmSize eq 'standard_d8s_v5'",
        "state gt 'idle'",
        "startTaskInfo/state ne 'running'",
        "state eq idle",
        "state eq 'idle' and",
        "state eq 'idle')",
        "(state eq 'idle'",
        "allocationTime ge '2026-11-02'",
        "allocationTime ge DateTime'yesterday'",
        "startTaskInfo/exitCode eq 'x'",
        "startTaskInfo/exitCode eq 1.5",
        "state eq 'idle",
        "startswith(state, 'i')",
        "state",
        "%",
        "(" * 300 + "state eq 'idle'" + ")" * 300,
        "not " * 300 + "state eq 'idle'",
    ],
)
def test_bad_filters(client: Client, text: str) -> None:
    """What the grammar does not take is 400, whatever it is."""
    reply = client.get("/pools/render/nodes", _filter=text)
    status, code, values = error(reply)
    assert (400, "InvalidQueryParameterValue") == (status, code)
    assert "$filter" == values["QueryParameterName"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id eq 'render'", ["render"]),
        ("startswith(id, 'SIM')", ["simulation-spot"]),
        ("id ge 's'", ["simulation-spot", "training-containers"]),
        ("enableAutoScale eq true", ["render"]),
        ("state eq 'active' and allocationState eq 'steady'", None),
        ("creationTime lt DateTime'2026-11-01T00:00:00Z'", None),
        ("vmSize eq 'standard_d8s_v5'", ["render"]),
    ],
)
def test_filters_on_pools(client: Client, text: str, expected: list[str] | None) -> None:
    """Pools can be filtered too."""
    ids = [pool["id"] for pool in client.items("/pools", _filter=text)]
    assert (expected or ["render", "simulation-spot", "training-containers"]) == ids


def test_filter_on_counts(client: Client) -> None:
    """Node counts take a pool's id, and nothing else."""
    counts = client.items("/nodecounts", _filter="poolId eq 'render'")
    assert ["render"] == [count["poolId"] for count in counts]
    assert 400 == client.get("/nodecounts", _filter="state eq 'idle'").status_code


def test_select(client: Client) -> None:
    """A selection gives these properties and no others; an unknown one is 400."""
    nodes = client.items("/pools/render/nodes", _select="id, startTaskInfo/exitCode,state")
    assert all({"id", "state"} <= set(node) <= {"id", "state", "startTaskInfo"} for node in nodes)
    assert {"exitCode"} == {name for node in nodes for name in node.get("startTaskInfo", {})}
    node_id = nodes[0]["id"]
    one = client.get(f"/pools/render/nodes/{node_id}", _select="id").json()
    assert {"odata.metadata", "id"} == set(one)
    pool = client.get("/pools/render", _select="id,vmSize,virtualMachineConfiguration/osDisk")
    assert {"osDisk"} == set(pool.json()["virtualMachineConfiguration"])
    for path in ("/pools", "/pools/render", "/pools/render/nodes"):
        assert 400 == client.get(path, _select="id,colour").status_code


def test_expand(client: Client) -> None:
    """Statistics come only when they are asked for; nothing else can be expanded."""
    assert "stats" not in client.get("/pools/render").json()
    assert "stats" in client.get("/pools/render", _expand="stats").json()
    assert 400 == client.get("/pools", _expand="nodes").status_code


@pytest.mark.parametrize("value", ["1", "30", "3600"])
def test_timeout(client: Client, value: str) -> None:
    """A timeout above 30 is taken for 30; what is no number of seconds is 400."""
    assert 200 == client.get("/pools", timeout=value).status_code
    assert 200 == client.get("/pools", timeOut=value).status_code
    for bad in ("0", "-3", "soon", "1.5"):
        assert 400 == client.get("/pools", timeout=bad).status_code


def test_not_found(client: Client) -> None:
    """Pools, nodes and paths that are not there are 404 with their codes."""
    assert (404, "PoolNotFound") == error(client.get("/pools/none"))[:2]
    assert (404, "PoolNotFound") == error(client.get("/pools/none/nodes"))[:2]
    assert (404, "PoolNotFound") == error(client.get("/pools/none/nodes/x"))[:2]
    assert (404, "NodeNotFound") == error(client.get("/pools/render/nodes/tvm-none"))[:2]
    assert (404, "InvalidUri") == error(client.get("/jobs"))[:2]
    assert 200 == client.get("/pools/RENDER").status_code


def test_only_get(client: Client) -> None:
    """Nothing can be written."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        reply = client.http.request(method, "/pools", params={"api-version": VERSION})
        assert (405, "UnsupportedHttpVerb") == error(reply)[:2]
        assert "GET" == reply.headers["allow"]


def test_pool_conditions(client: Client) -> None:
    """A pool's ETag and time make conditional requests: 304 where nothing changed, 412 where
    what should not have changed did."""
    pool = client.get("/pools/render")
    etag, modified = pool.headers["etag"], pool.headers["last-modified"]
    assert etag == pool.json()["eTag"]
    later = "Mon, 02 Nov 2026 12:00:00 GMT"
    earlier = "Mon, 02 Feb 2026 12:00:00 GMT"
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'"{etag}", "other"'}, 304),
        ({"If-None-Match": "0x0"}, 200),
        ({"If-Match": etag}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": "0x0"}, 412),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": earlier}, 200),
        ({"If-Unmodified-Since": later}, 200),
        ({"If-Unmodified-Since": earlier}, 412),
        ({"If-Modified-Since": "soon"}, 400),
    ):
        reply = _signed_get(client, "/pools/render", headers)
        assert status == reply.status_code, headers
    fleet = client.emulator.fleet
    fleet.advance(fleet.now + timedelta(hours=9))
    assert etag != client.get("/pools/render").headers["etag"]


def _signed_get(client: Client, path: str, headers: dict[str, str]) -> httpx.Response:
    """A bearer request: the little test client does not sign conditional headers."""
    token, _ = client.emulator.tokens.issue("https://batch.core.windows.net/", 4e9)
    headers = {**headers, "Authorization": f"Bearer {token}"}
    return client.http.get(path, params={"api-version": VERSION}, headers=headers, auth=None)


def test_only_a_single_pool_has_an_etag(client: Client) -> None:
    """ETag and Last-Modified come with a single pool only, as recorded."""
    node = client.items("/pools/render/nodes")[0]["id"]
    for path in ("/pools", "/pools/render/nodes", f"/pools/render/nodes/{node}", "/nodecounts"):
        reply = client.get(path)
        assert "etag" not in reply.headers
        assert "last-modified" not in reply.headers


def test_date_is_the_fleets(client: Client) -> None:
    """The Date header has the fleet's time, not the machine's."""
    fleet = client.emulator.fleet
    for hours in (0, 5):
        fleet.advance(fleet.now + timedelta(hours=hours))
        reply = client.get("/pools")
        assert fleet.now.replace(microsecond=0) == parsedate_to_datetime(reply.headers["date"])


def test_request_ids(client: Client) -> None:
    """Each reply has an id of its own; the client's is echoed when it asks for that."""
    mine = "9c4d50ee-2d56-4cd3-8152-34347dc9f2b0"
    headers = {"client-request-id": mine, "return-client-request-id": "true"}
    echoed = client.get("/pools", headers=headers)
    assert mine == echoed.headers["client-request-id"]
    quiet = client.get("/pools", headers={"client-request-id": mine})
    assert "client-request-id" not in quiet.headers
    assert echoed.headers["request-id"] != quiet.headers["request-id"]


def test_gzip_only_if_accepted(client: Client) -> None:
    """A body is compressed only for a client that takes it; both say the same."""
    replies = {}
    for accepted in ("gzip", "gzip;q=0", "deflate", "identity", "br, gzip;q=0.5"):
        with client.http.stream(
            "GET",
            "/pools/render/nodes",
            params={"api-version": VERSION},
            headers={"Accept-Encoding": accepted},
        ) as reply:
            raw = b"".join(reply.iter_raw())
        is_gzip = reply.headers.get("content-encoding") == "gzip"
        assert (accepted in ("gzip", "br, gzip;q=0.5")) == is_gzip
        replies[accepted] = gzip.decompress(raw) if is_gzip else raw
    assert 1 == len(set(replies.values()))


def test_body_of_the_same_moment_is_the_same_bytes(client: Client) -> None:
    """While the clock stands still a page is the same bytes each time; then it is another."""
    first, again = (client.get("/pools/render/nodes").content for _ in range(2))
    assert first == again
    fleet = client.emulator.fleet
    fleet.advance(fleet.now + timedelta(minutes=30))
    assert first != client.get("/pools/render/nodes").content


def test_usage_metrics(lived: Client) -> None:
    """Usage comes in half hours, at least two hours old; by default the last one there is."""
    now = lived.emulator.fleet.now
    last = lived.items("/poolusagemetrics")
    assert {"render", "simulation-spot", "training-containers"} == {r["poolId"] for r in last}
    (end,) = {row["endTime"] for row in last}
    ended = read_time(end)
    assert ended is not None
    assert timedelta(hours=2) <= now - ended[0] < timedelta(hours=2, minutes=30)
    window = {"starttime": "2026-11-02T03:00:00Z", "endtime": "2026-11-02T06:00:00Z"}
    rows = lived.items("/poolusagemetrics", **window)
    assert 6 * 3 == len(rows)
    assert rows == sorted(rows, key=lambda row: (row["startTime"], row["poolId"]))
    some = lived.items("/poolusagemetrics", _filter="poolId eq 'render'", **window)
    assert [row for row in rows if row["poolId"] == "render"] == some
    too_late = (now - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    for bad in (
        {"endtime": too_late},
        {"starttime": too_late},
        {"starttime": "2026-11-02T06:00:00Z", "endtime": "2026-11-02T03:00:00Z"},
        {"starttime": "whenever"},
    ):
        assert 400 == lived.get("/poolusagemetrics", **bad).status_code


def test_errors_end_with_request_id_and_time(client: Client) -> None:
    """An error's message ends with the lines by which Microsoft's support finds the request."""
    reply = client.get("/pools/none")
    lines = reply.json()["message"]["value"].split("\n")
    assert f"RequestId:{reply.headers['request-id']}" == lines[1]
    when = read_time(lines[2].removeprefix("Time:"))
    assert when is not None
    assert START == when[0]


def test_running_clock() -> None:
    """With a speed the fleet's clock runs by itself, that many times as fast as the wall's."""
    wall = [datetime(2026, 11, 2, tzinfo=UTC).timestamp()]
    emulator = Emulator(Fleet(start=START), speed=60.0, clock=lambda: wall[0])
    with Client(emulator) as client:
        client.auth.now = datetime(2026, 11, 2, tzinfo=UTC)
        client.get("/pools").raise_for_status()
        assert START == emulator.fleet.now
        wall[0] += 30.0
        client.get("/pools").raise_for_status()
        assert START + timedelta(minutes=30) == emulator.fleet.now


def test_running_clock_forgets_old_truth() -> None:
    """A clock that runs by itself keeps two days of truth, and what is still going on."""
    wall = [0.0]
    fleet = Fleet(busy_config(40), start=START)
    emulator = Emulator(fleet, speed=3600.0, clock=lambda: wall[0])
    sizes = []
    for day in range(1, 7):
        wall[0] = day * 24.0
        emulator.tick()
        sizes.append(len(fleet.truth))
    assert START + timedelta(days=6) == fleet.now
    assert max(sizes[2:]) < 1.2 * min(sizes[2:])
    ends = [record.ended_at for record in fleet.truth.states if record.ended_at]
    assert timedelta(hours=40) < fleet.now - min(ends) <= timedelta(hours=48)
    assert Emulator(fleet, speed=0.0).speed is None


def test_page_limit() -> None:
    """An emulator can be configured to send shorter pages than clients ask for."""
    with Client(Emulator(Fleet(start=START), page_limit=2)) as client:
        assert [2, 1] == [len(page["value"]) for page in client.pages("/pools")]
        assert [2, 1] == [len(page["value"]) for page in client.pages("/nodecounts")]


def test_json_is_compact_utf8(client: Client) -> None:
    """Bodies are one JSON object each."""
    body = client.get("/pools/render/nodes").content
    assert {"odata.metadata", "value"} == set(json.loads(body))
    assert body.startswith(b'{"odata.metadata":"https://emulated.eastus.batch.azure.com/$metadata')
