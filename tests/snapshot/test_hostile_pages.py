"""Pages that would take all memory or all of Python's stack: each costs no more than what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.lake import Lake
from pipeline.snapshot import Outcome
from tests.conftest import PROJECT
from tests.service import Service, make_service, rows

DEEP = '{"a":[' * 50_000 + "]}" * 50_000


class Replacing(httpx.BaseTransport):
    """The emulator, with other bodies for the pages whose path ends so."""

    def __init__(self, service: Service, end: str, body: Callable[[dict[str, Any]], bytes]) -> None:
        self.inner = service.emulator.transport()
        self.end = end
        self.body = body

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer of the emulator, or the other body in its place."""
        response = self.inner.handle_request(request)
        if not request.url.path.endswith(self.end):
            return response
        page = json.loads(response.read())
        headers = {"date": response.headers["date"], "content-type": "application/json"}
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(self.body(page)))


def run(lake: Path, end: str, body: Callable[[dict[str, Any]], bytes]) -> Outcome:
    """A snapshot of alpha, beta and gamma, some of whose pages have another body."""
    from pipeline import snapshot

    service = make_service(page_limit=1000)
    transport = Replacing(service, end, body)
    fleet = service.emulator.fleet
    with service.client(transport=transport) as client:
        return snapshot.run(service.account, Lake(lake), client, clock=lambda: fleet.now)


def with_deep(page: dict[str, Any], name: str = "new") -> bytes:
    """The page, its first element with a member nested 100,000 levels deep."""
    page["value"][0][name] = "DEEP"
    return json.dumps(page).replace('"DEEP"', DEEP).encode()


@pytest.mark.parametrize("name", ["new", "state", "startTask", "recentTasks"])
def test_a_deep_value_costs_its_node_only(tmp_path: Path, name: str) -> None:
    """The node is malformed; the rest of its page, its pool and the account are whole."""
    outcome = run(tmp_path, "/beta/nodes", lambda page: with_deep(page, name))
    found = rows(tmp_path, "select pool_id, is_malformed from nodes")
    assert 3 == outcome.exit_code
    assert [("beta", True)] == [(r["pool_id"], True) for r in found if r["is_malformed"]]
    assert 20 == len(found)
    listings = rows(tmp_path, "select pool_id, listing from pools order by pool_id")
    assert ["complete"] * 3 == [row["listing"] for row in listings]
    [problem] = rows(tmp_path, "select unnest(problems) as p from snapshots")
    assert "beta" == problem["p"]["pool_id"]
    assert name in problem["p"]["path"]


def test_a_deep_value_of_a_pool_costs_that_pool_only(tmp_path: Path) -> None:
    """The account's other pools are listed, and that one's nodes too."""
    outcome = run(tmp_path, "/pools", with_deep)
    assert 3 == outcome.exit_code
    assert 20 == len(rows(tmp_path, "from nodes"))
    [snapshot] = rows(tmp_path, "from snapshots")
    assert (3, "complete", 1) == (
        snapshot["pools_complete"], snapshot["pool_listing"], snapshot["malformed"],
    )  # fmt: skip


def test_more_nodes_than_a_page_can_have_are_an_error_of_their_pool(tmp_path: Path) -> None:
    """A million empty objects: the pool's listing fails with a word, the others are whole."""
    body = b'{"value":[' + b",".join([b"{}"] * 1_000_000) + b"]}"
    outcome = run(tmp_path, "/beta/nodes", lambda page: body)
    assert 3 == outcome.exit_code
    [pool] = rows(tmp_path, "from pools where listing <> 'complete'")
    assert ("beta", "failed", "TooManyElements") == (
        pool["pool_id"], pool["listing"], pool["error_code"],
    )  # fmt: skip
    assert "1,000,000 elements" in pool["error_message"]
    assert 15 == len(rows(tmp_path, "from nodes"))


@pytest.mark.parametrize("count", [1_000_000, 6_000_000])
def test_such_a_page_takes_little_memory(tmp_path: Path, count: int) -> None:
    """A page of a million (or, beyond 16 MB, six million) empty objects: below 300 MB in all."""
    code = (
        "import sys; from pathlib import Path;"
        "from tests.snapshot import test_hostile_pages as t;"
        f"body = b'{{\"value\":[' + b'{{}},' * {count - 1} + b'{{}}]}}';"
        "t.run(Path(sys.argv[1]), '/beta/nodes', lambda page: body);"
        # ru_maxrss would count what the process was before it became this one, too
        "status = Path('/proc/self/status').read_text();"
        "print(status.partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, check=True, cwd=PROJECT,
    )  # fmt: skip
    assert int(done.stdout) < 300_000
