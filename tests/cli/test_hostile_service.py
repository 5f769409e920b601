"""A service that answers what none should, and the whole command: each fault costs its own place."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline import cli
from tests.service import rows

pytestmark = pytest.mark.usefixtures("nowhere")

DIGITS = "9" * 5000
DEEP = "[" * 50_000 + "]" * 50_000


class Answers(BaseHTTPRequestHandler):
    """Answers each path as its server was set up to."""

    protocol_version = "HTTP/1.1"
    server: Hostile

    def do_GET(self) -> None:
        """Answers one request."""
        path = urlsplit(self.path).path
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        body = self.server.bodies.get(path, '{"value":[]}')
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body.encode()))}
        headers["Date"] = self.date_time_string()
        more = self.server.headers.get(path, {}) | self.server.headers.get("*", {})
        self.send_response_only(302 if "Location" in more else 200)
        for name, value in (headers | more).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Hostile(ThreadingHTTPServer):
    """The account: a pool that is good, and one that is bad."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: list[tuple[str, str | None]] = []
        self.headers: dict[str, dict[str, str]] = {}
        self.bodies = {
            "/pools": f'{{"value":[{pool("good")},{pool("bad")}]}}',
            "/pools/good/nodes": f'{{"value":[{node("n1")},{node("n2")}]}}',
            "/pools/bad/nodes": f'{{"value":[{node("n1")},{node("n2")}]}}',
        }
        threading.Thread(target=self.serve_forever, daemon=True).start()


def node(name: str, more: str = "") -> str:
    """A node's JSON, with more members, as given."""
    return f'{{"id":"{name}","state":"idle","stateTransitionTime":"2026-11-30T10:00:00Z"{more}}}'


def pool(name: str, more: str = "") -> str:
    """A pool's JSON, with more members, as given."""
    return f'{{"id":"{name}","vmSize":"standard_d2s_v3"{more}}}'


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    """The service; the environment leads to it."""
    server = Hostile()
    monkeypatch.setenv("AZURE_BATCH_ENDPOINT", server.url)
    monkeypatch.setenv("AZURE_BATCH_ACCOUNT", "acct")
    monkeypatch.setenv("AZURE_BATCH_ACCESS_KEY", base64.b64encode(b"k" * 32).decode())
    yield server
    server.shutdown()
    server.server_close()


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The messages on stderr."""
    return [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]


def stored(columns: str, table: str, where: str = "true") -> list[tuple[object, ...]]:
    """Rows of the default lake."""
    found = rows(Path("data/lake"), f"select {columns} from {table} where {where} order by all")
    return [tuple(row.values()) for row in found]


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        (f',"new":{DIGITS}', "new: a number that is not finite"),
        (f',"new":{{"a":[-{DIGITS}]}}', "new: a number that is not finite"),
        (f',"totalTasksRun":{DIGITS}', "totalTasksRun: expected an integer, got a number"),
        (',"new":1e999', "new: a number that is not finite"),
        (f',"new":{DEEP}', "new: nested too deeply"),
        (f',"startTask":{DEEP}', "startTask: expected an object, got a list"),
        (r',"vmSize":"\ud800"', "vmSize: a lone surrogate, which is not a character"),
        (',"vmSize":"a","vmSize":"b"', "a member named twice"),
        (',"state":{"a":1}', "state: expected a string, got an object"),
    ],
    ids=lambda value: value[:30],
)
def test_a_fault_of_a_node_costs_that_node(
    service: Hostile, capsys: pytest.CaptureFixture[str], members: str, fault: str
) -> None:
    """A snapshot and an import name pool, node and field and store all else; Get shows it as JSON."""
    bad = node("n1", members).replace('"state":"idle",', "", '"state":{' in members)
    page = f'{{"value":[{bad},{node("n2")}]}}'
    service.bodies |= {"/pools/bad/nodes": page, "/pools/bad/nodes/n1": bad}
    Path("page.json").write_text(page)

    assert cli.run(["snapshot"]) == 3
    assert f"pool bad, node n1: {fault}" in said(capsys)
    assert stored("pool_id, node_id, is_malformed", "nodes") == [
        ("bad", "n1", True),
        ("bad", "n2", False),
        ("good", "n1", False),
        ("good", "n2", False),
    ]
    assert stored("pool_id, listing", "pools") == [("bad", "complete"), ("good", "complete")]

    assert cli.run(["import", "page.json", "--pool", "bad", "--account", "other"]) == 3
    assert f"pool bad, node n1: {fault}" in said(capsys)
    assert len(stored("node_id", "nodes", "account = 'other'")) == 2

    assert cli.run(["node", "bad", "n1", "--live"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "n1"


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        (f',"new":{DIGITS}', "new: a number that is not finite"),
        (f',"new":{DEEP}', "new: nested too deeply"),
        (f',"targetDedicatedNodes":{DIGITS}', "targetDedicatedNodes: expected an integer"),
    ],
    ids=lambda value: value[:30],
)
def test_a_fault_of_a_pool_costs_that_pool(
    service: Hostile, capsys: pytest.CaptureFixture[str], members: str, fault: str
) -> None:
    """It is named; its nodes are listed, and the other pool is whole."""
    service.bodies["/pools"] = f'{{"value":[{pool("bad", members)},{pool("good")}]}}'
    assert cli.run(["snapshot"]) == 3
    assert any(line.startswith(f"pool bad: {fault}") for line in said(capsys))
    assert stored("pool_id, listing, nodes_listed", "pools") == [
        ("bad", "complete", 2),
        ("good", "complete", 2),
    ]


@pytest.mark.parametrize(
    "where", ["redirect", "link", "link with a name", "link of a relative host"]
)
def test_no_other_host_is_asked(
    service: Hostile, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    """Neither with a key nor without; the other pool is whole, and the error says why."""
    other = Hostile()
    host = other.url.removeprefix("http://")
    if where == "redirect":
        service.headers["/pools/bad/nodes"] = {"Location": f"{other.url}/pools/bad/nodes"}
    else:
        form = {"link": "http://{}", "link with a name": "http://acct@{}"}.get(where, "//{}")
        link = form.format(host) + "/pools/bad/nodes?x=1"
        service.bodies["/pools/bad/nodes"] = json.dumps({"value": [], "odata.nextLink": link})
    assert cli.run(["snapshot"]) == 3
    wanted = (
        "redirects, which is not followed" if where == "redirect" else "leaves the account's own"
    )
    assert any("pool bad" in line and wanted in line for line in said(capsys))
    assert other.asked == []
    assert ("good", "complete") in stored("pool_id, listing", "pools")
    other.server_close()


@pytest.mark.parametrize(
    "date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "yesterday", ""]
)
def test_a_date_that_cannot_be_costs_nothing(
    service: Hostile, capsys: pytest.CaptureFixture[str], date: str
) -> None:
    """This machine's clock is taken, and every question that follows has an answer."""
    service.headers["*"] = {"Date": date}
    assert cli.run(["snapshot"]) == 0
    (seen,) = {row[0] for row in stored("observed_at", "nodes", "pool_id = 'good'")}
    assert isinstance(seen, datetime)
    assert abs(seen - datetime.now(UTC)) < timedelta(minutes=10)
    capsys.readouterr()
    assert cli.run(["ask", "node_hours"]) == 0
