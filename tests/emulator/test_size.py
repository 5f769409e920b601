"""Fleets of a million nodes: made at once, worked out page by page, within bounds."""

import resource
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.emulator import Emulator, Fleet, FleetConfig
from pipeline.emulator.config import PoolConfig, ProfileName

from .client import Client
from .conftest import START

PROFILES: tuple[ProfileName, ...] = ("render", "spot", "containers", "windows")


def million() -> FleetConfig:
    """200 pools of 5,000 nodes."""
    return FleetConfig(
        pools=tuple(
            PoolConfig(id=f"p{n:03d}", profile=PROFILES[n % 4], dedicated=2500, spot=2500)
            for n in range(200)
        )
    )


def test_a_million_nodes_are_made_on_request() -> None:
    """A fleet of 1,000,000 nodes is there at once; a pool of it is read in pages, and moves."""
    fleet = Fleet(million(), seed=7, start=START)
    assert 1_000_000 == fleet.config.node_count
    assert not fleet.keeps_truth
    with Client(Emulator(fleet)) as client:
        assert 200 == len(client.items("/pools", _select="id"))
        pages = client.pages("/pools/p123/nodes")
        assert [1000] * 5 == [len(page["value"]) for page in pages]
        ids = [node["id"] for page in pages for node in page["value"]]
        assert sorted(set(ids)) == ids
        (counts,) = client.items("/nodecounts", _filter="poolId eq 'p123'")
        states = [node["state"] for page in pages for node in page["value"]]
        idle = counts["dedicated"]["idle"] + counts["lowPriority"]["idle"]
        assert states.count("idle") == idle
        assert 200 == len(client.items("/poolusagemetrics"))
        before = pages[0]["value"]
        fleet.advance(START + timedelta(minutes=10))
        after = client.get("/pools/p123/nodes").json()["value"]
        assert before != after
        assert {node["id"] for node in before} & {node["id"] for node in after}


def test_stepped_and_fresh_million_agree() -> None:
    """What is worked out late is what would have been worked out early."""
    one, other = (Fleet(million(), seed=7, start=START) for _ in range(2))
    first, second = Client(Emulator(one)), Client(Emulator(other))
    for minutes in (0, 5, 10):
        one.advance(START + timedelta(minutes=minutes))
        first.get("/pools/p007/nodes", maxresults=300)
    other.advance(START + timedelta(minutes=10))
    path = "/pools/p007/nodes"
    assert first.get(path, maxresults=300).content == second.get(path, maxresults=300).content


def read_all() -> None:
    """Read every node twice and print what it took; run by the long test in a process."""
    from time import process_time

    fleet = Fleet(million(), seed=7, start=START)
    with Client(Emulator(fleet)) as client:
        seconds = []
        for _ in range(2):
            begun = process_time()
            nodes = 0
            for pool in client.items("/pools", _select="id"):
                reply = client.get(f"/pools/{pool['id']}/nodes")
                while True:
                    nodes += reply.content.count(b'"affinityId"')
                    at = reply.content.rfind(b'"odata.nextLink":"')
                    if at < 0:
                        break
                    reply = client.follow(reply.content[at + 18 : -2].decode())
            seconds.append(process_time() - begun)
            assert 1_000_000 == nodes
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds[0]:.0f} {seconds[1]:.0f} {megabytes:.0f}")


@pytest.mark.long
def test_a_million_nodes_within_bounds() -> None:
    """All 1,000,000 nodes are read twice within 1.5 GB; the second time from cached bytes."""
    code = "from tests.emulator.test_size import read_all; read_all()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, megabytes = map(int, done.stdout.split())
    print(f"first {first} s, again {second} s of processor time, {megabytes} MB at most")
    assert second < first / 3
    assert megabytes < 1500
