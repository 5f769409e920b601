"""A whole ``nodelake snapshot`` against httpx and orjson: the same pages downloaded and parsed, no more.

The pages are made up like an account's, 100,000 nodes in 50 pools, gzipped as the real service sends
them; a lean process serves them, 100 ms after each was asked for.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.config import Limits
from tests.bench import made_pages, processes
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
    """How many elements all listings have, with so many connections: downloaded and parsed."""
    import httpx
    import orjson

    with httpx.Client(base_url=endpoint, timeout=60, trust_env=False) as client:

        def count(path: str) -> int:
            page = orjson.loads(client.get(path, headers={"Accept-Encoding": "gzip"}).content)
            following = page.get("odata.nextLink")
            return len(page["value"]) + (count(following) if following else 0)

        with ThreadPoolExecutor(connections) as workers:
            return sum(workers.map(count, paths))


def run(quick: bool) -> list[Figure]:
    """Processor time and wall of both, as processes of their own; with fewer connections too."""
    pages, per_page, rounds = (3, 4, 1) if quick else (100, made_pages.NODES_PER_PAGE, 5)
    account = made_pages.pools(pages, per_page)
    nodes = pages * per_page
    paths = ["/pools", "/nodecounts", *(f"/pools/{pool}/nodes" for pool in account)]
    what = f"whole `nodelake snapshot`, {nodes:,} nodes in {len(account)} pools, 100 ms a page:"
    told = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder, account)
        with served(folder, LATENCY_SECONDS) as environment:
            usual = Limits().connections
            for connections in (usual, usual // 2):
                ours, floor, collecting = [], [], []
                for number in range(rounds):
                    lake = folder / f"lake{connections}-{number}.d"
                    ours.append(_snapshot(environment, lake, connections))
                    (stored,) = (lake / "landing" / "nodes").rglob("*.parquet")
                    assert nodes == pq.read_metadata(stored).num_rows, "a node is missing"
                    floor.append(_download(environment, paths, connections, "gc.disable()"))
                    collecting.append(_download(environment, paths, connections, "gc.enable()"))
                details = {
                    "nodes": nodes,
                    "bytes": sum(len(body) for pages in account.values() for body in pages),
                    "connections": connections,
                    "snapshot": [vars(cost) for cost in ours],
                    "download": [vars(cost) for cost in floor],
                    "download_with_garbage_collector": [vars(cost) for cost in collecting],
                }
                if connections == usual:
                    told += [
                        Figure(
                            f"{what} processor time against httpx and orjson of the same pages, "
                            "garbage collector off",
                            processes.ratio(ours, floor),
                            1.5,
                            "",
                            details,
                        ),
                        Figure(
                            "the same, its garbage collector on", processes.ratio(ours, collecting)
                        ),
                        Figure(
                            "the same by the clock, it off",
                            processes.ratio(ours, floor, "wall_seconds"),
                        ),
                    ]
                else:
                    against = f"the same by the clock, both with {connections} connections instead"
                    ratio = processes.ratio(ours, floor, "wall_seconds")
                    told.append(Figure(f"{against} of {usual}", ratio, None, "", details))
    return told


def _snapshot(environment: Mapping[str, str], lake: Path, connections: int) -> processes.Cost:
    settings = lake.with_suffix(".toml")
    settings.write_text(f"[limits]\nconnections = {connections}\n")
    return processes.snapshot({**environment, "NODELAKE_CONFIG": str(settings)}, lake)


def _download(
    environment: Mapping[str, str], paths: Sequence[str], connections: int, collector: str
) -> processes.Cost:
    endpoint = environment["AZURE_BATCH_ENDPOINT"]
    code = (
        f"import gc; {collector}; "
        "from tests.bench.bench_snapshot import download; "
        f"print(download({endpoint!r}, {paths!r}, {connections}))"
    )
    return processes.cost([sys.executable, "-c", code])
