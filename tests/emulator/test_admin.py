"""The administrative path: clock, faults, tokens, truth; for loopback clients only."""

import json
import threading
import time
from datetime import timedelta

import httpx
import pytest

from pipeline.emulator import Emulator, Fault, Fleet

from .client import Client
from .conftest import START


@pytest.fixture
def admin(emulator: Emulator) -> httpx.Client:
    """A client without any key."""
    return httpx.Client(transport=emulator.transport(), base_url="http://127.0.0.1:1/_emulator")


def test_overview(emulator: Emulator, admin: httpx.Client) -> None:
    """The overview shows the clock, the pools and the faults."""
    emulator.faults.add(Fault(kind="mutate", mutate=print))
    body = admin.get("/").raise_for_status().json()
    assert START.isoformat().replace("+00:00", "Z") == body["now"]
    assert {"dedicated": 8, "spot": 112} == body["pools"]["simulation-spot"]
    assert ["mutate"] == [fault["kind"] for fault in body["faults"]]


def test_clock(emulator: Emulator, admin: httpx.Client) -> None:
    """The clock is moved by seconds or to a time, and never back."""
    assert 200 == admin.post("/advance", json={"seconds": 90}).status_code
    assert START + timedelta(seconds=90) == emulator.fleet.now
    assert 200 == admin.post("/advance", json={"to": "2026-11-02T00:05:00.5Z"}).status_code
    assert START + timedelta(minutes=5, seconds=0.5) == emulator.fleet.now
    for bad in (
        {},
        {"seconds": -1},
        {"to": "2026-11-01T00:00:00Z"},
        {"to": "later"},
        {"seconds": 1, "to": "2026-11-03T00:00:00Z"},
        {"minutes": 5},
        {"seconds": 1e300},
        {"seconds": 1e9},
    ):
        reply = admin.post("/advance", json=bad)
        assert 400 == reply.status_code, bad
        assert reply.json()["error"]
    broken = admin.post("/advance", content=b"{", headers={"Content-Type": "application/json"})
    assert 400 == broken.status_code


def test_running_clock_is_not_moved() -> None:
    """A clock that runs by itself cannot be moved as well."""
    emulator = Emulator(Fleet(start=START), speed=2.0)
    with httpx.Client(transport=emulator.transport(), base_url="http://127.0.0.1:1") as http:
        assert 400 == http.post("/_emulator/advance", json={"seconds": 1}).status_code


def test_faults(client: Client, admin: httpx.Client) -> None:
    """Faults are added, listed with how often they were met, and cleared."""
    reply = admin.post("/faults", json={"kind": "throttle", "route": "nodes", "retry_after": "7"})
    assert 201 == reply.status_code
    assert "7" == client.get("/pools/render/nodes").headers["retry-after"]
    (fault,) = admin.get("/faults").json()
    assert ("throttle", 1) == (fault["kind"], fault["met"])
    bad = admin.post("/faults", json={"kind": "explode"})
    assert 400 == bad.status_code
    assert "explode" in bad.json()["error"]
    assert [] == admin.delete("/faults").json()
    assert 200 == client.get("/pools/render/nodes").status_code


def test_tokens(emulator: Emulator, admin: httpx.Client, client: Client) -> None:
    """Every token can be taken back."""
    token, _ = emulator.tokens.issue("https://batch.core.windows.net/", emulator.clock())
    headers = {"Authorization": f"Bearer {token}"}
    query = {"api-version": "2024-07-01.20.0"}
    for status in (200, 401):
        reply = client.http.get("/pools", params=query, headers=headers, auth=None)
        assert status == reply.status_code
        admin.post("/tokens/revoke", json={}).raise_for_status()


def test_truth(emulator: Emulator, admin: httpx.Client) -> None:
    """The truth log comes as JSON lines, all of it."""
    lines = admin.get("/truth").raise_for_status().text.splitlines()
    records = [json.loads(line) for line in lines]
    assert len(emulator.fleet.truth) == len(records)
    kinds = {"Membership", "StateInterval", "TaskRun", "StartTaskRun", "Boot", "PoolLife"}
    assert kinds <= {record["kind"] for record in records}


def test_paths_and_methods(admin: httpx.Client) -> None:
    """Other paths are 404, other methods 405."""
    assert 404 == admin.get("/nothing").status_code
    assert 405 == admin.delete("/truth").status_code
    assert 405 == admin.put("/advance", json={}).status_code


@pytest.mark.parametrize(
    ("remote", "status"),
    [
        ("127.0.0.1", 200),
        ("127.8.8.8", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("10.0.0.7", 403),
        ("::ffff:10.0.0.7", 403),
        ("", 403),
        ("localhost", 403),
    ],
)
def test_loopback_only(emulator: Emulator, remote: str, status: int) -> None:
    """Clients from elsewhere are refused, whatever address the server is bound to."""
    transport = httpx.WSGITransport(app=emulator.app, remote_addr=remote)
    with httpx.Client(transport=transport, base_url="http://127.0.0.1:1") as http:
        assert status == http.get("/_emulator/").status_code


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost:8080", 200),
        ("LOCALHOST:8080", 200),
        ("[::1]:8080", 200),
        ("127.0.0.9:8080", 200),
        ("batch.test:8080", 200),
        ("127.0.0.1", 403),
        ("127.0.0.1:80", 403),
        ("127.0.0.1:8081", 403),
        ("rebound.example:8080", 403),
        ("rebound.example", 403),
        ("localhost.rebound.example:8080", 403),
        ("0.0.0.0:8080", 403),
        ("10.0.0.7:8080", 403),
        ("127.0.0.1:x", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_own_host_only(emulator: Emulator, host: str, status: int) -> None:
    """The Host header must name loopback or the name served, with the port: no rebound name."""
    emulator.listens_on.add("batch.test")
    with httpx.Client(transport=emulator.transport(), base_url="http://127.0.0.1:8080") as http:
        for method, path in (("GET", "/_emulator/"), ("DELETE", "/_emulator/faults")):
            reply = http.request(method, path, headers={"Host": host})
            assert status == reply.status_code
        assert 200 == http.get("/_emulator/").status_code


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://127.0.0.1:8080"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_no_other_origin(emulator: Emulator, headers: dict[str, str], status: int) -> None:
    """A web page of another origin can neither read nor change anything."""
    before = emulator.fleet.now
    with httpx.Client(transport=emulator.transport(), base_url="http://127.0.0.1:8080") as http:
        assert status == http.get("/_emulator/truth", headers=headers).status_code
        reply = http.post("/_emulator/advance", json={"seconds": 1}, headers=headers)
        assert status == reply.status_code
    assert (status == 200) == (emulator.fleet.now > before)


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)
@pytest.mark.parametrize("path", ["advance", "faults", "tokens/revoke", "versions"])
def test_no_simple_posts(emulator: Emulator, admin: httpx.Client, path: str, kind: str) -> None:
    """A POST as an HTML form sends it, which browsers send without asking, is refused."""
    headers = {"Content-Type": kind} if kind else {}
    reply = admin.post(f"/{path}", content=b'{"seconds": 60}', headers=headers)
    assert 415 == reply.status_code
    assert "application/json" in reply.json()["error"]
    assert START == emulator.fleet.now
    assert 0 == len(emulator.faults)


def test_versions(client: Client, admin: httpx.Client) -> None:
    """Which versions are refused can be changed while the emulator runs."""
    assert {"refused": []} == admin.get("/versions").json()
    order = {"refused": ["2024-07-01.20.0"]}
    assert order == admin.post("/versions", json=order).json()
    reply = client.get("/pools")
    assert (400, "UnsupportedRequestVersion") == (reply.status_code, reply.json()["code"])
    assert order["refused"] == admin.get("/").json()["refused_versions"]
    assert 400 == admin.post("/versions", json={"refuse": []}).status_code


def test_bytes_of_faults_are_bounded(admin: httpx.Client) -> None:
    """No fault sends more than 4 GiB, or has a client unpack more."""
    for kind in ("oversized_body", "gzip_bomb"):
        reply = admin.post("/faults", json={"kind": kind, "bytes": 5 << 30})
        assert 400 == reply.status_code
        assert "4 GiB" in reply.json()["error"]
    assert 201 == admin.post("/faults", json={"kind": "gzip_bomb", "bytes": 4 << 30}).status_code


def test_a_long_advance_can_be_stopped() -> None:
    """Others are answered while the clock moves far, and one of them can stop it."""
    with Emulator(Fleet(start=START)).serve() as server:
        base = f"{server.endpoint}/_emulator"
        replies: list[httpx.Response] = []

        def far() -> None:
            order = {"to": "2027-10-01T00:00:00Z"}
            replies.append(httpx.post(f"{base}/advance", json=order, timeout=60))

        mover = threading.Thread(target=far)
        mover.start()
        while server.emulator.fleet.now == START:
            time.sleep(0.01)
        assert 200 == httpx.get(f"{base}/", timeout=30).status_code
        stopped = httpx.delete(f"{base}/advance", timeout=30).json()["now"]
        mover.join(timeout=30)
        assert not mover.is_alive()
        assert 503 == replies[0].status_code
        assert "stopped at 2026-" in replies[0].json()["error"]
        assert stopped < "2027"
        again = httpx.post(f"{base}/advance", json={"seconds": 60}, timeout=30)
        assert 200 == again.status_code


def test_a_server_that_stops_ends_an_advance() -> None:
    """Leaving the server's context does not wait for the clock to come to its end."""
    with Emulator(Fleet(start=START)).serve() as server:
        order = {"to": "2027-10-01T00:00:00Z"}
        url = f"{server.endpoint}/_emulator/advance"
        seen: list[object] = []

        def far() -> None:
            try:
                seen.append(httpx.post(url, json=order, timeout=60).status_code)
            except httpx.TransportError as error:
                seen.append(error)

        mover = threading.Thread(target=far)
        mover.start()
        while server.emulator.fleet.now == START:
            time.sleep(0.01)
        left = time.monotonic()
    mover.join(timeout=30)
    assert time.monotonic() - left < 20
    assert seen
    assert server.emulator.fleet.now.year == 2026
