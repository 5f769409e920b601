"""A service that trickles: what is slow costs itself, never the others."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline import snapshot
from pipeline.config import Account, Limits, Secret
from pipeline.extract import BatchClient
from pipeline.lake import Lake
from pipeline.snapshot.rounds import Rounds
from tests.service import one, rows

DEADLINE = 8.0
#: The pools that trickle come first: they are the largest, so their listings begin first.
SLOW = [f"slow{number:02}" for number in range(12)]
HEALTHY = [f"fine{number:02}" for number in range(20)]


class Trickling(BaseHTTPRequestHandler):
    """Answers the pools at once; the nodes of some byte by byte: in the body, or in the headers."""

    protocol_version = "HTTP/1.1"
    trickles_counts = False
    released = threading.Event()

    def do_GET(self) -> None:
        """Answers one request."""
        path = self.path.partition("?")[0]
        if path == "/pools":
            sizes = {**dict.fromkeys(SLOW, 9), **dict.fromkeys(HEALTHY, 1)}
            pools = [{"id": pool, "currentDedicatedNodes": size} for pool, size in sizes.items()]
            return self.page(pools)
        pool = path.split("/")[2] if path.startswith("/pools/") else ""
        if pool in SLOW or (path == "/nodecounts" and self.trickles_counts):
            return self.trickle(in_headers=pool[-1:] in "02468")
        return self.page([{"id": f"{pool}-1", "state": "idle"}] if pool else [])

    def page(self, values: list[dict[str, object]]) -> None:
        """Answers a whole page."""
        body = json.dumps({"value": values}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def trickle(self, *, in_headers: bool) -> None:
        """Sends a byte ten times a second, for ever."""
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.wfile.write(b"X-Slow: " if in_headers else b"Content-Length: 100000\r\n\r\n")
        try:
            while not self.released.wait(0.1):
                self.wfile.write(b" ")
                self.wfile.flush()
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def trickling(*, counts: bool) -> Iterator[Account]:
    """An account at such a service."""

    class Handler(Trickling):
        trickles_counts = counts
        released = threading.Event()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        yield Account(endpoint, "acct", "acct.local", key=Secret("a2V5a2V5"))
    finally:
        Handler.released.set()
        server.shutdown()
        server.server_close()


def test_pools_that_trickle_leave_the_others_their_time(tmp_path: Path) -> None:
    """Twelve listings that would hold both connections until the deadline: the others are whole."""
    with (
        trickling(counts=False) as account,
        BatchClient(account, deadline_seconds=DEADLINE, limits=Limits(connections=2)) as client,
    ):
        outcome = snapshot.run(account, Lake(tmp_path), client)
    assert outcome.exit_code == 3
    listings = {row["pool_id"]: row["listing"] for row in rows(tmp_path, "from pools")}
    assert {pool for pool, listing in listings.items() if listing == "complete"} == {*HEALTHY}
    assert {listings[pool] for pool in SLOW} == {"failed"}
    codes = {row["error_code"] for row in rows(tmp_path, "from pools where listing <> 'complete'")}
    assert codes == {"DeadlineExceeded"}


def test_node_counts_that_trickle_hold_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The soft check is given up once every listing is done: the run is complete, and soon."""
    monkeypatch.setattr("tests.snapshot.test_slow_service.SLOW", [])
    with (
        trickling(counts=True) as account,
        BatchClient(account, deadline_seconds=60) as client,
    ):
        begun = time.monotonic()
        outcome = snapshot.run(account, Lake(tmp_path), client)
    assert outcome.exit_code == 0
    assert time.monotonic() - begun < 20
    assert one(tmp_path, "select count(nodes_counted) as n from pools")["n"] == 0


def test_rounds_come_back_to_what_was_not_done() -> None:
    """Each item has its turns, those that wait in between are not asked too soon, none is lost."""
    from concurrent.futures import ThreadPoolExecutor

    turns: dict[int, list[float]] = {}

    def job(item: int) -> float | None:
        turns.setdefault(item, []).append(time.monotonic())
        return None if len(turns[item]) > item else 0.05 * item

    with ThreadPoolExecutor(2) as executor:
        rounds = Rounds(range(4), workers=2)
        rounds.run(job, executor)
    assert {item: len(times) for item, times in turns.items()} == {0: 1, 1: 2, 2: 3, 3: 4}
    assert all(b - a >= 0.05 * item for item, at in turns.items() for a, b in pairwise(at))
    assert rounds.unfinished == 0


def test_what_a_job_raises_ends_the_rounds() -> None:
    """An error is no turn."""
    from concurrent.futures import ThreadPoolExecutor

    def job(item: int) -> float | None:
        raise KeyError(item)

    with ThreadPoolExecutor(1) as executor, pytest.raises(KeyError):
        Rounds([1], workers=1).run(job, executor)
