"""What ``--capture-start-task-output`` costs: a snapshot of 10,000 nodes with 20 new failures.

The service is on this machine and answers at once; how much more it is where every answer takes 100 ms
is beside it. Of each of 20 nodes two files of 3 kB are read.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from tests.bench import processes
from tests.bench.bench_snapshot import LATENCY_SECONDS, emulated
from tests.bench.figures import Figure
from tests.bench.served import lay_out, served

_FAILED = 20
_FAILURE = {
    "state": "completed",
    "startTime": "2026-11-21T13:00:00.5Z",
    "endTime": "2026-11-21T13:01:00.5Z",
    "exitCode": 1,
    "retryCount": 0,
    "result": "failure",
}


def with_failures(pages: list[bytes], count: int) -> list[bytes]:
    """The pages, the start task of so many nodes of the first one failed, of all others well."""
    changed = []
    left = count
    for page in pages:
        body = json.loads(page)
        for node in body["value"]:
            node["startTaskInfo"] = _FAILURE | (
                {} if left > 0 else {"exitCode": 0, "result": "success"}
            )
            left -= 1
        changed.append(json.dumps(body, separators=(",", ":")).encode())
    return changed


def run(quick: bool) -> list[Figure]:
    """Wall of a snapshot with capture against one without, in turn, as processes of their own."""
    pools, nodes, rounds = (2, 30, 1) if quick else (10, 1000, 7)
    account = {
        pool: with_failures(pages, _FAILED // pools)
        for pool, pages in emulated(pools, nodes).items()
    }
    what = (
        f"`snapshot --capture-start-task-output`, {pools * nodes:,} nodes, {_FAILED} new failures"
    )
    figures = []
    for seconds, limit in ((0.0, 1.1), (LATENCY_SECONDS, None)):
        with tempfile.TemporaryDirectory() as name:
            costs = _costs(Path(name), account, seconds, rounds)
        ratio = processes.ratio(costs[True], costs[False], "wall_seconds")
        details = {
            "nodes": pools * nodes,
            "failed": _FAILED,
            "latency_seconds": seconds,
            "with": [vars(cost) for cost in costs[True]],
            "without": [vars(cost) for cost in costs[False]],
        }
        where = f", {seconds * 1000:g} ms an answer" if seconds else ""
        figures.append(Figure(f"{what}{where}: wall against without", ratio, limit, "", details))
    return figures


def _costs(
    folder: Path, account: dict[str, list[bytes]], seconds: float, rounds: int
) -> dict[bool, list[processes.Cost]]:
    """The costs of snapshots with and without capture, that every output is there checked."""
    costs: dict[bool, list[processes.Cost]] = {False: [], True: []}
    lay_out(folder, account)
    with served(folder, seconds) as environment:
        for number in range(rounds):
            for captures in (False, True):
                lake = folder / f"lake{number}{captures}.d"
                settings = lake.with_suffix(".toml")
                settings.write_text(f"capture_start_task_output = {str(captures).lower()}\n")
                costs[captures].append(
                    processes.snapshot({**environment, "NODELAKE_CONFIG": str(settings)}, lake)
                )
                files = [*(lake / "landing" / "start_task_output").rglob("*.parquet")]
                stored = sum(pq.read_metadata(file).num_rows for file in files)
                assert stored == (2 * _FAILED if captures else 0), "an output is missing"
    return costs
