"""Every fault on order, one test each: what it does, whom it meets, how often."""

import json
import zlib
from collections import Counter
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec
import pytest

from pipeline.emulator import Emulator, Fault, Faults, Fleet, FleetConfig, read_fault
from pipeline.emulator.faults import KINDS
from pipeline.emulator.http.content_faults import PLANTED_SECRETS

from .client import VERSION, Client
from .conftest import START

NODES = "/pools/render/nodes"
Check = Callable[[Client], None]
CHECKS: dict[str, Check] = {}


def of(kind: str) -> Callable[[Check], Check]:
    """Register the check of a kind."""

    def register(check: Check) -> Check:
        CHECKS[kind] = check
        return check

    return register


@pytest.mark.parametrize("kind", KINDS)
def test_kind(client: Client, kind: str) -> None:
    """Each kind does what it says, and when it is cleared all is well again."""
    CHECKS[kind](client)
    client.emulator.faults.clear()
    client.get(NODES).raise_for_status().json()


def order(client: Client, kind: str, **more: Any) -> Fault:
    """Order a fault on the nodes route."""
    return client.emulator.faults.add(Fault(kind=kind, route="nodes", **more))  # type: ignore[arg-type]


def assert_error(reply: httpx.Response, status: int, code: str) -> None:
    """A reply is a BatchError of this status and code."""
    assert status == reply.status_code
    assert code == reply.json()["code"]
    assert {"odata.metadata", "code", "message"} <= set(reply.json())


@of("throttle")
def throttle(client: Client) -> None:
    """429 comes with Retry-After in seconds, as a date, or not at all."""
    order(client, "throttle", retry_after="2", times=1)
    reply = client.get(NODES)
    assert_error(reply, 429, "TooManyRequests")
    assert "2" == reply.headers["retry-after"]
    assert 200 == client.get(NODES).status_code
    order(client, "throttle", times=1)
    assert "retry-after" not in client.get(NODES).headers
    order(client, "throttle", retry_after="http-date", seconds=90.0, status=503)
    reply = client.get(NODES)
    assert 503 == reply.status_code
    wait = parsedate_to_datetime(reply.headers["retry-after"]) - parsedate_to_datetime(
        reply.headers["date"]
    )
    assert 90 == wait.total_seconds()


def _plain(kind: str, status: int, code: str) -> None:
    def check(client: Client) -> None:
        order(client, kind)
        assert_error(client.get(NODES), status, code)
        assert 200 == client.get("/pools").status_code

    CHECKS[kind] = check


_plain("busy", 503, "ServerBusy")
_plain("internal_error", 500, "InternalError")
_plain("timed_out", 500, "OperationTimedOut")
_plain("forbidden", 403, "Forbidden")
_plain("unauthorized", 401, "AuthenticationFailed")
_plain("pool_not_found", 404, "PoolNotFound")
_plain("node_not_found", 404, "NodeNotFound")
_plain("file_not_found", 404, "FileNotFound")
_plain("node_unusable", 409, "NodeStateUnusable")
_plain("error_with_200", 200, "InternalError")


@of("expired_token")
def expired_token(client: Client) -> None:
    """Tokens issued before are dead, new ones good; signatures do not expire."""
    tokens = client.emulator.tokens

    def ask(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        query = {"api-version": VERSION}
        return client.http.get(NODES, params=query, headers=headers, auth=None).status_code

    old, _ = tokens.issue("https://batch.core.windows.net/", client.emulator.clock())
    fault = order(client, "expired_token", times=1)
    assert 200 == client.get(NODES).status_code  # a signature does not expire
    assert 0 == client.emulator.faults.met(fault)
    assert 401 == ask(old)
    assert 401 == ask(old)  # the same token stays dead
    new, _ = tokens.issue("https://batch.core.windows.net/", client.emulator.clock())
    assert 200 == ask(new)


@of("html_page")
def html_page(client: Client) -> None:
    """A gateway's page comes instead, with 502 or even 200."""
    order(client, "html_page", times=1)
    reply = client.get(NODES)
    assert (502, "text/html") == (reply.status_code, reply.headers["content-type"])
    assert reply.text.startswith("<!DOCTYPE html>")
    order(client, "html_page", status=200)
    assert 200 == client.get(NODES).status_code


@of("empty_body")
def empty_body(client: Client) -> None:
    """200 comes with nothing."""
    order(client, "empty_body")
    reply = client.get(NODES)
    assert (200, b"") == (reply.status_code, reply.content)


@of("latency")
def latency(client: Client) -> None:
    """The answer waits."""
    slept: list[float] = []
    client.emulator.sleep = slept.append
    order(client, "latency", seconds=3.0)
    assert 200 == client.get(NODES).status_code
    assert [3.0] == slept


@of("slow_body")
def slow_body(client: Client) -> None:
    """The body comes in ten pieces with waits between, and is whole."""
    slept: list[float] = []
    client.emulator.sleep = slept.append
    whole = client.get(NODES).json()
    order(client, "slow_body", seconds=20.0)
    assert whole == client.get(NODES).json()
    assert [2.0] * 9 == slept


@of("drop")
def drop(client: Client) -> None:
    """The connection breaks off before the end of the body."""
    for size in (None, 0, 1, 100):
        order(client, "drop", bytes=size, times=1)
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(NODES)
    assert 200 == client.get(NODES).status_code


@of("truncated_json")
def truncated_json(client: Client) -> None:
    """HTTP is complete, the JSON is cut off."""
    whole = client.get(NODES).content
    order(client, "truncated_json", times=1)
    reply = client.get(NODES)
    assert (200, whole[: len(whole) // 2]) == (reply.status_code, reply.content)
    order(client, "truncated_json", bytes=10)
    assert whole[:10] == client.get(NODES).content


@of("malformed_json")
def malformed_json(client: Client) -> None:
    """The body is no JSON."""
    order(client, "malformed_json")
    with pytest.raises(json.JSONDecodeError):
        client.get(NODES).json()


@of("two_documents")
def two_documents(client: Client) -> None:
    """The body is two documents."""
    whole = client.get(NODES).content
    order(client, "two_documents")
    assert whole + b"\n" + whole == client.get(NODES).content


@of("gzip_bomb")
def gzip_bomb(client: Client) -> None:
    """A small body unpacks to a huge valid one."""
    order(client, "gzip_bomb", bytes=100_000_000)
    unpacked = 0
    packed = 0
    tail = b""
    inflate = zlib.decompressobj(31)
    with client.http.stream("GET", NODES, params={"api-version": VERSION}) as reply:
        assert "gzip" == reply.headers["content-encoding"]
        for piece in reply.iter_raw():
            packed += len(piece)
            data = inflate.decompress(piece)
            unpacked += len(data)
            tail = data[-2:] or tail
    assert inflate.eof  # length and checksum are right: nothing but the size is wrong
    assert b"]}" == tail
    assert 80_000_000 < unpacked <= 100_000_000
    assert packed < 200_000


@of("oversized_body")
def oversized_body(client: Client) -> None:
    """A valid plain body is as long as ordered."""
    whole = client.get(NODES).json()
    order(client, "oversized_body", bytes=5_000_000)
    reply = client.get(NODES)
    assert 5_000_000 == len(reply.content)
    assert "content-encoding" not in reply.headers
    assert whole == reply.json()


@of("clock_skew")
def clock_skew(client: Client) -> None:
    """The service's clock is off, for the Date header and for signatures."""
    order(client, "clock_skew", minutes=-10.0, times=1)
    date = parsedate_to_datetime(client.get(NODES).raise_for_status().headers["date"])
    assert -600 == (date - client.emulator.fleet.now).total_seconds()
    order(client, "clock_skew", minutes=20.0, times=1)
    reply = client.get(NODES)
    assert_error(reply, 403, "AuthenticationFailed")
    date = parsedate_to_datetime(reply.headers["date"])
    assert 1200 == (date - client.emulator.fleet.now).total_seconds()


def _link(kind: str, expected: str, **more: Any) -> None:
    def check(client: Client) -> None:
        order(client, kind, **more)
        for size in (10, 1000):
            link = client.get(NODES, maxresults=size).json()["odata.nextLink"]
            assert link.startswith(expected + NODES + "?")
            assert "skiptoken" in link

    CHECKS[kind] = check


_link("next_link_host", "https://evil.example", host="evil.example")
_link("next_link_port", "https://emulated.eastus.batch.azure.com:444")
_link("next_link_scheme", "http://emulated.eastus.batch.azure.com")


@of("next_link_loop")
def next_link_loop(client: Client) -> None:
    """A page leads to itself."""
    order(client, "next_link_loop")
    page = client.get(NODES, maxresults=10).json()
    again = client.follow(page["odata.nextLink"]).json()
    assert page == again


def _changed(client: Client, kind: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Order a fault on the first node; return it as it was and as it comes now."""
    before = client.get(NODES).json()["value"]
    order(client, kind, **more)
    after = client.get(NODES).json()["value"]
    assert before[1:] == after[1:]
    return before[0], after[0]


@of("wrong_types")
def wrong_types(client: Client) -> None:
    """Three values of the first node are of the wrong type."""
    before, after = _changed(client, "wrong_types")
    odd = {"totalTasksRun": "12", "allocationTime": 5, "recentTasks": {}}
    assert {**before, **odd} == after


@of("missing_id")
def missing_id(client: Client) -> None:
    """The first node has no id."""
    before, after = _changed(client, "missing_id")
    assert {"id"} == before.keys() - after.keys()


@of("unknown_fields")
def unknown_fields(client: Client) -> None:
    """Unknown members are in the node, its start task and its tasks."""
    before, after = _changed(client, "unknown_fields")
    assert {"healthScore", "rackInfo"} == after.keys() - before.keys()
    assert {"priorityClass"} == after["startTask"].keys() - before["startTask"].keys()
    task, odd = before["recentTasks"][0], after["recentTasks"][0]
    assert {"traceId"} == odd.keys() - task.keys()
    assert {"peakMemoryBytes"} == odd["executionInfo"].keys() - task["executionInfo"].keys()


@of("unknown_enums")
def unknown_enums(client: Client) -> None:
    """Known members have unknown values."""
    before, after = _changed(client, "unknown_enums")
    assert ("hibernating", "draining") == (after["state"], after["schedulingState"])
    assert before.keys() == after.keys()


@of("explicit_nulls")
def explicit_nulls(client: Client) -> None:
    """Members are null that should be left out."""
    _, after = _changed(client, "explicit_nulls")
    assert {"affinityId", "errors", "virtualMachineInfo"} == {k for k, v in after.items() if not v
                                                              and v is None}  # fmt: skip
    assert after["startTask"]["userIdentity"] is None


@of("empty_containers")
def empty_containers(client: Client) -> None:
    """Lists and objects are there and empty."""
    _, after = _changed(client, "empty_containers")
    assert ([], [], {}) == (after["recentTasks"], after["errors"], after["virtualMachineInfo"])
    assert [] == after["startTask"]["containerSettings"]["containerHostBatchBindMounts"]


@of("planted_secrets")
def planted_secrets(client: Client) -> None:
    """Every planted secret is in the text."""
    order(client, "planted_secrets", count=2)
    client.emulator.faults.add(Fault(kind="planted_secrets", route="pools"))
    for text in (client.get(NODES).text, client.get("/pools").text):
        for secret in PLANTED_SECRETS:
            assert secret in text or secret.replace("=", "%3D") in text
    pool = client.get("/pools").json()["value"][0]
    for text in (str(pool["resizeErrors"]), pool["autoScaleRun"]["results"]):
        assert PLANTED_SECRETS[5] in text


@of("duplicate_nodes")
def duplicate_nodes(client: Client) -> None:
    """A page's last nodes are the next one's first."""
    whole = [node["id"] for node in client.items(NODES)]
    order(client, "duplicate_nodes", count=2)
    ids = [node["id"] for node in client.items(NODES, maxresults=30)]
    assert set(whole) == set(ids)
    assert {2} == set(Counter(ids).values()) - {1}
    pages = client.pages(NODES, maxresults=30)
    first, second = ([node["id"] for node in page["value"]] for page in pages[:2])
    assert first[-2:] == second[:2]
    alone = [node["id"] for node in client.items(NODES)]
    assert whole + whole[-2:] == alone


@of("vanishing_nodes")
def vanishing_nodes(client: Client) -> None:
    """Nodes of later pages are gone."""
    pages = client.pages(NODES, maxresults=30)
    order(client, "vanishing_nodes", count=3)
    fewer = client.pages(NODES, maxresults=30)
    assert [30, 30, 29] == [len(page["value"]) for page in pages]
    assert [30, 27, 26] == [len(page["value"]) for page in fewer]
    assert pages[1]["value"][3:] == fewer[1]["value"]


@of("mutate")
def mutate(client: Client) -> None:
    """A callable changes a node, or a pool."""

    def change(node: dict[str, Any]) -> None:
        node["ipAddress"] = "::1"

    before, after = _changed(client, "mutate", mutate=change)
    assert {**before, "ipAddress": "::1"} == after
    client.emulator.faults.clear()
    client.emulator.faults.add(Fault(kind="mutate", route="pool", mutate=change))
    assert "::1" == client.get("/pools/render").json()["ipAddress"]


def test_whom_a_fault_meets(emulator: Emulator) -> None:
    """Route, pool and page say which requests a fault meets; others go on as ever."""
    emulator = Emulator(emulator.fleet, page_limit=2)
    with Client(emulator) as client:
        emulator.faults.add(Fault(kind="busy", route="pools", page=2))
        first = client.get("/pools").raise_for_status().json()
        assert 503 == client.follow(first["odata.nextLink"]).status_code
        emulator.faults.add(Fault(kind="pool_not_found", route="nodes", pool="render"))
        assert 404 == client.get(NODES).status_code
        assert 200 == client.get("/pools/render").status_code
        assert 200 == client.get("/pools/simulation-spot/nodes").status_code
        node = client.items("/pools/simulation-spot/nodes", maxresults=1)[0]["id"]
        emulator.faults.add(Fault(kind="wrong_types", route="nodes", node=node, count=0))
        page = client.get("/pools/simulation-spot/nodes").json()["value"]
        assert [node] == [item["id"] for item in page if item["totalTasksRun"] == "12"]


def test_any_route(client: Client) -> None:
    """A fault on route "*" meets every route of the service, but not the token endpoint."""
    client.emulator.faults.add(Fault(kind="busy"))
    for path in ("/pools", "/pools/render", NODES, f"{NODES}/x", "/nodecounts"):
        assert 503 == client.get(path).status_code
    header = {"X-Identity-Header": client.emulator.tokens.identity_header}
    query = {"api-version": "2019-08-01", "resource": "https://batch.core.windows.net/"}
    assert 200 == client.http.get("/msi/token", params=query, headers=header).status_code
    client.emulator.faults.add(Fault(kind="internal_error", route="token"))
    assert 500 == client.http.get("/msi/token", params=query, headers=header).status_code


def test_how_often(client: Client) -> None:
    """``times`` ends a fault, ``rate`` thins it out, the same way each time."""
    fault = client.emulator.faults.add(Fault(kind="busy", times=3))
    statuses = [client.get("/pools").status_code for _ in range(5)]
    assert [503, 503, 503, 200, 200] == statuses
    assert 3 == client.emulator.faults.met(fault)
    runs = []
    for _ in range(2):
        faults = Faults([Fault(kind="busy", rate=0.3)], seed=1)
        runs.append([bool(faults.for_request("pools", None, 1)) for _ in range(1000)])
    assert runs[0] == runs[1]
    assert 250 < sum(runs[0]) < 350


def test_faults_stack(client: Client) -> None:
    """Of several errors the first answers; latency, content and wire faults add up."""
    slept: list[float] = []
    client.emulator.sleep = slept.append
    faults = client.emulator.faults
    for fault in (
        Fault(kind="latency", seconds=1.0),
        Fault(kind="busy", times=1),
        Fault(kind="throttle", times=1),
        Fault(kind="unknown_fields"),
        Fault(kind="two_documents"),
    ):
        faults.add(fault)
    assert [503, 429, 200] == [client.get(NODES).status_code for _ in range(3)]
    assert [1.0, 1.0, 1.0] == slept
    assert 2 == client.get(NODES).text.count('"healthScore"')


def test_faults_are_removed(client: Client) -> None:
    """One fault, or all, can be taken away while requests are served."""
    faults = client.emulator.faults
    one, _ = faults.add(Fault(kind="busy")), faults.add(Fault(kind="throttle"))
    assert 503 == client.get(NODES).status_code
    faults.remove(one)
    assert 429 == client.get(NODES).status_code
    faults.clear()
    assert 200 == client.get(NODES).status_code
    assert 0 == len(faults)


def test_faults_of_the_fleet_file() -> None:
    """Faults in the fleet file are in force from the start, before those given."""
    config = FleetConfig(faults=(Fault(kind="busy", times=1),))
    emulator = Emulator(Fleet(config, start=START), faults=Faults([Fault(kind="throttle")]))
    with Client(emulator) as client:
        assert [429, 429] == [client.get("/pools").status_code for _ in range(2)]
        emulator.faults.remove(next(iter(emulator.faults)))
        assert [503, 200] == [client.get("/pools").status_code for _ in range(2)]


def test_faults_are_read_from_a_line() -> None:
    """A line names a fault as a command's flag can take it; what is wrong with one is reported."""
    fault = Fault(kind="throttle", route="nodes", rate=0.5, times=3, retry_after="2")
    assert fault == read_fault("throttle route=nodes rate=0.5 times=3 retry_after=2")
    for bad in (
        "",
        "explode",
        "busy nodes",
        "busy rate=often",
        "busy colour=red",
        "mutate mutate=x",
    ):
        with pytest.raises(ValueError, match="fault"):
            read_fault(bad)


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "explode"},
        {"kind": "busy", "route": "jobs"},
        {"kind": "busy", "rate": 1.5},
        {"kind": "busy", "times": -1},
        {"kind": "busy", "seconds": -1.0},
        {"kind": "busy", "colour": "red"},
        {"kind": "mutate"},
        {"kind": "busy", "mutate": "x"},
        {},
    ],
)
def test_bad_faults_are_refused(document: dict[str, Any]) -> None:
    """A fault that makes no sense is an error when it is made."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, Fault)
