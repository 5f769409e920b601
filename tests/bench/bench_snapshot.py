"""A whole ``nodelake snapshot`` against downloading the same pages and doing nothing with them.

The pages are the emulator's, 100,000 nodes in 100 pools, gzipped as the real service sends them; a lean
process serves them, 100 ms after each was asked for.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.config import Limits
from tests.bench import processes
from tests.bench.figures import Figure
from tests.bench.served import lay_out, served
from tests.service import START, make_service, small_fleet

LATENCY_SECONDS = 0.1


def emulated(pools: int, nodes: int) -> dict[str, list[bytes]]:
    """The pages of an emulated account, two hours into its life, by pool."""
    names = [f"pool{number:03}" for number in range(pools)]
    service = make_service(small_fleet(**dict.fromkeys(names, nodes)), page_limit=1000)
    service.emulator.fleet.advance(START + timedelta(hours=2))
    with service.client(limits=Limits(page_size=1000)) as client:
        return {name: [page.body for page in client.nodes(name)] for name in names}


def download(endpoint: str, paths: Sequence[str], connections: int) -> int:
    """Bytes of all pages, with so many connections: asked for, inflated and let go."""
    import httpx

    with httpx.Client(timeout=60, trust_env=False) as client:

        def size(path: str) -> int:
            return len(client.get(endpoint + path, headers={"Accept-Encoding": "gzip"}).content)

        with ThreadPoolExecutor(connections) as workers:
            return sum(workers.map(size, paths))


def run(quick: bool) -> list[Figure]:
    """Wall of both, as processes of their own; with fewer connections too, where the wire is slower."""
    pools, nodes, rounds = (3, 4, 1) if quick else (100, 1000, 5)
    account = emulated(pools, nodes)
    listed = sum(body.count(b'"vmSize"') for pages in account.values() for body in pages)
    sizes = sum(len(body) for pages in account.values() for body in pages)
    paths = ["/pools", "/nodecounts", *(f"/pools/{pool}/nodes" for pool in account)]
    what = f"whole `nodelake snapshot`, {listed:,} nodes in {pools} pools, 100 ms a page: wall"
    told = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder, account)
        with served(folder, LATENCY_SECONDS) as environment:
            usual = Limits().connections
            for connections in (usual, usual // 2):
                ours, floor = [], []
                for number in range(rounds):
                    lake = folder / f"lake{connections}-{number}.d"
                    ours.append(_snapshot(environment, lake, connections))
                    (stored,) = (lake / "landing" / "nodes").rglob("*.parquet")
                    assert listed == pq.read_metadata(stored).num_rows, "a node is missing"
                    floor.append(_download(environment, paths, connections))
                details = {
                    "nodes": listed,
                    "bytes": sizes,
                    "connections": connections,
                    "snapshot": [vars(cost) for cost in ours],
                    "download": [vars(cost) for cost in floor],
                }
                against = f"{what} against downloading the same pages"
                if connections != usual:
                    against = f"the same, both with {connections} connections instead of {usual}"
                ratio = _wall(ours) / _wall(floor)
                limit = 1.25 if connections == usual else None
                told.append(Figure(against, ratio, limit, "", details))
    return told


def _wall(costs: Sequence[processes.Cost]) -> float:
    return statistics.median(cost.wall_seconds for cost in costs)


def _snapshot(environment: Mapping[str, str], lake: Path, connections: int) -> processes.Cost:
    settings = lake.with_suffix(".toml")
    settings.write_text(f"[limits]\nconnections = {connections}\n")
    return processes.snapshot({**environment, "NODELAKE_CONFIG": str(settings)}, lake)


def _download(
    environment: Mapping[str, str], paths: Sequence[str], connections: int
) -> processes.Cost:
    endpoint = environment["AZURE_BATCH_ENDPOINT"]
    code = (
        "from tests.bench.bench_snapshot import download; "
        f"print(download({endpoint!r}, {paths!r}, {connections}))"
    )
    return processes.cost([sys.executable, "-c", code])
