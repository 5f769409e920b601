"""Jobs that share nodes: seen in recentTasks, and exact in the truth log by node and slot."""

from collections import defaultdict
from datetime import datetime, timedelta

import pytest

from pipeline.emulator import Emulator, Fleet, FleetConfig, PoolConfig, TaskRun, Work

from .client import Client
from .conftest import START


@pytest.fixture(scope="module")
def lived() -> Fleet:
    """A pool of four slots a node that works on three jobs at a time, after ten hours."""
    work = Work(jobs=3, task_minutes=30.0, idle_minutes=4.0, gang_every_hours=4.0, gang_size=2)
    pool = PoolConfig(id="shared", dedicated=12, task_slots=4, work=work)
    fleet = Fleet(FleetConfig(pools=(pool,)), seed=7, start=START)
    fleet.advance(START + timedelta(hours=10))
    return fleet


def by_node(fleet: Fleet) -> dict[tuple[str, datetime], list[TaskRun]]:
    """The task runs of each incarnation."""
    runs: dict[tuple[str, datetime], list[TaskRun]] = defaultdict(list)
    for run in fleet.truth.task_runs:
        runs[run.node_id, run.allocation_time].append(run)
    return runs


def test_jobs_share_nodes_in_what_is_polled(lived: Fleet) -> None:
    """Nodes show running tasks of several jobs at once."""
    nodes = Client(Emulator(lived)).items("/pools/shared/nodes")
    mixed = [
        node
        for node in nodes
        if 1 < len({t["jobId"] for t in node.get("recentTasks", []) if t["taskState"] == "running"})
    ]
    assert len(mixed) >= 3
    for node in nodes:
        running = [t for t in node.get("recentTasks", []) if t["taskState"] == "running"]
        assert len(running) == node["runningTasksCount"]


def test_slots_are_never_taken_twice(lived: Fleet) -> None:
    """At any moment the runs on a node take different slots, and no more than it has."""
    for runs in by_node(lived).values():
        edges: list[tuple[datetime, int, TaskRun]] = []
        for run in runs:
            edges += [(run.started_at, 1, run), (run.ended_at or lived.now, 0, run)]
        taken: dict[int, TaskRun] = {}
        for _, begins, run in sorted(edges, key=lambda edge: edge[:2]):
            if begins:
                assert run.slot not in taken
                taken[run.slot] = run
                assert sum(each.slots for each in taken.values()) <= 4
            else:
                assert taken.pop(run.slot) is run


def test_node_time_can_be_apportioned(lived: Fleet) -> None:
    """From the log alone each job's node time follows: slot time adds up, and jobs are mixed."""
    share: dict[str, timedelta] = defaultdict(timedelta)
    begun: dict[str, datetime] = {}
    overlapping = 0
    for runs in by_node(lived).values():
        for run in runs:
            ended = run.ended_at or lived.now
            share[run.job_id] += (ended - run.started_at) * run.slots / 4
            begun[run.job_id] = min(begun.get(run.job_id, ended), run.started_at)
            overlapping += any(
                other.job_id != run.job_id and run.started_at < (other.ended_at or lived.now)
                and other.started_at < ended
                for other in runs
            )  # fmt: skip
    members = [(m.started_at, m.ended_at or lived.now) for m in lived.truth.memberships]
    held = sum(
        (end - max(begin, START - timedelta(hours=2)) for begin, end in members), timedelta()
    )
    assert timedelta() < sum(share.values(), timedelta()) < held
    assert overlapping > 50
    assert len(share) > 20


def test_a_multi_instance_part_takes_the_whole_node(lived: Fleet) -> None:
    """Its slot is -1 and it takes every slot."""
    parts = [run for run in lived.truth.task_runs if run.subtask_id is not None]
    assert parts
    assert {(-1, 4)} == {(run.slot, run.slots) for run in parts}
