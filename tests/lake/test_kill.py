"""kill -9 in the middle of a snapshot: what queries see afterwards, and what the next run does."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.emulator import Emulator, Fault, Fleet
from pipeline.lake import Lake
from tests import forked
from tests.service import START, rows, small_fleet

SIZES = {"alpha": 400, "beta": 300, "gamma": 100}


def snapshot_process(lake: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    """`nodelake snapshot` as cron would start it."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "snapshot", "--lake", str(lake)],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def snapshot(lake: Path) -> None:
    """The same in a process that has its imports done: kills then meet it at work."""
    sys.exit(cli.run(["snapshot", "--lake", str(lake)]))


def whole_snapshots(lake: Path) -> int:
    """Counts the snapshots, after checking that each has all its rows, and no row has no snapshot."""
    broken = rows(
        lake,
        """
        with counted as (
            select snapshot_id, 'nodes' as name, count(*) as n from nodes group by 1
            union all select snapshot_id, 'pools', count(*) from pools group by 1
            union all select snapshot_id, 'start_tasks', count(*) from start_tasks group by 1
            union all select snapshot_id, 'recent_tasks', count(*) from recent_tasks group by 1
            union all select snapshot_id, 'node_errors', count(*) from node_errors group by 1
        ),
        told as (
            unpivot (select snapshot_id, nodes_rows as nodes, pools_rows as pools,
                            start_tasks_rows as start_tasks, recent_tasks_rows as recent_tasks,
                            node_errors_rows as node_errors from snapshots)
            on nodes, pools, start_tasks, recent_tasks, node_errors into name name value n
        )
        select * from told full join counted using (snapshot_id, name)
        where coalesce(told.n, 0) <> coalesce(counted.n, 0)
        """,
    )
    assert broken == []
    found = rows(lake, "select snapshot_id, status, nodes_rows from snapshots")
    assert all(row["status"] == "complete" for row in found)
    assert all(row["nodes_rows"] == sum(SIZES.values()) for row in found)
    return len(found)


def kill_at_random(lake: Path, kills: int, seed: int) -> None:
    """Kills so many snapshots at random moments of their run; checks the lake after each."""
    chance = random.Random(seed)
    fleet = Fleet(small_fleet(**SIZES), seed=3, start=START)
    with Emulator(fleet, page_limit=50).serve() as server:

        def begin() -> ForkServerProcess:
            return forked.start(snapshot, lake, settings=server.settings)

        def ended(process: ForkServerProcess) -> int | None:
            process.join()
            return process.exitcode

        assert ended(begin()) == 0  # and what forks is there now
        since = time.monotonic()
        assert ended(begin()) == 0
        seconds = time.monotonic() - since
        committed = whole_snapshots(lake)
        assert committed == 2
        killed = 0
        while killed < kills:
            process = begin()
            time.sleep(chance.uniform(0, 1.05) * seconds)
            process.kill()
            code = ended(process)
            killed += code == -signal.SIGKILL
            now = whole_snapshots(lake)
            # one that was killed after its commit is there; one that ended by itself must be
            assert now - committed in ((0, 1) if code else (1,))
            committed = now
        assert ended(begin()) == 0
        assert whole_snapshots(lake) == committed + 1
        left = [*Lake(lake).root.rglob("*.staging")]
        print(f"{killed} killed, {committed + 1} committed, {len(left)} staging files left")


def test_a_killed_snapshot_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """After each of 20 kills every query sees whole snapshots only; the next run works."""
    kill_at_random(tmp_path / "lake", 20, seed=1)


@pytest.mark.long
def test_two_hundred_killed_snapshots(tmp_path: Path) -> None:
    """The same, 200 times."""
    kill_at_random(tmp_path / "lake", 200, seed=2)


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_terminated_snapshot_ends_cleanly(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    """The exit code is the signal's; no rows are visible, a failed ledger row is, no file is left."""
    lake = tmp_path / "lake"
    fleet = Fleet(small_fleet(alpha=50), seed=3, start=START)
    is_waiting, is_over = threading.Event(), threading.Event()

    def hold(seconds: float) -> None:
        is_waiting.set()
        is_over.wait(seconds)

    emulator = Emulator(fleet, page_limit=10, sleep=hold)
    emulator.faults.add(Fault(kind="latency", route="nodes", page=3, seconds=60))
    with emulator.serve() as server:
        process = snapshot_process(lake, server.settings)
        assert is_waiting.wait(30)  # for the third page
        deadline = time.monotonic() + 30
        while not [*lake.rglob("*.staging")]:  # until the first one is written
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(sent)
        assert process.wait(timeout=20) == code
        is_over.set()  # a server that is stopped waits for its answers
    (ledger,) = rows(lake, "select status, error_code, nodes_rows from snapshots")
    assert ledger == {"status": "failed", "error_code": "Interrupted", "nodes_rows": 0}
    assert rows(lake, "from nodes") == []
    assert [*lake.rglob("*.staging")] == []
