"""The administrative path: clock, faults, tokens, truth; for loopback clients only."""

import json
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
    """The overview tells the clock, the pools and the faults."""
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
    assert 400 == admin.post("/advance", content=b"{").status_code


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
        admin.post("/tokens/revoke").raise_for_status()


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
    assert 405 == admin.delete("/advance").status_code


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
