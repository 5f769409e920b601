"""The fleet by itself: its nodes live by the rules, and their truth log records all of it."""

import json
from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.emulator import Fleet, FleetConfig
from pipeline.emulator.config import (
    Autoscale,
    FaultyNodes,
    PoolConfig,
    Rates,
    Resize,
    StartTask,
    Storm,
    Work,
)
from pipeline.emulator.http.odata import read_time
from pipeline.emulator.http.versions import for_version
from pipeline.emulator.states import AGENTLESS, COUNTER_NAMES, LEGAL, STATES
from pipeline.emulator.truth import StateInterval, TruthLog

from .client import VERSION
from .conftest import START, busy_config
from .contract import problems

BASE = "https://emulated.eastus.batch.azure.com"


def documents(fleet: Fleet) -> dict[str, list[dict[str, Any]]]:
    """Every node of a fleet by pool, as the JSON a client gets."""
    return {
        pool.id: [
            json.loads(msgspec.json.encode(fleet.node_document(node, BASE)))
            for node in fleet.nodes(pool)
        ]
        for pool in fleet.pools()
    }


def whole_bytes(fleet: Fleet) -> bytes:
    """All that a fleet shows and all that it knows, as bytes."""
    pools = [fleet.pool_document(pool, BASE, with_stats=True) for pool in fleet.pools()]
    truth = [msgspec.to_builtins(record) for record in fleet.truth]
    return msgspec.json.encode([documents(fleet), pools, truth])


def test_same_seed_gives_the_same_bytes() -> None:
    """Two fleets of the same seed agree in every byte, of another seed they do not."""
    fleets = [Fleet(seed=seed, start=START) for seed in (3, 3, 4)]
    for fleet in fleets:
        fleet.advance(START + timedelta(hours=5))
    first, second, other = (whole_bytes(fleet) for fleet in fleets)
    assert first == second
    assert first != other


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 3 * 3600), max_size=12), st.integers(0, 3))
def test_steps_do_not_matter(steps: list[int], seed: int) -> None:
    """However many steps time was moved in, the fleet comes out the same."""
    config = busy_config(24)
    end = START + timedelta(hours=16)
    at_once = Fleet(config, seed=seed, start=START)
    at_once.advance(end)
    stepped = Fleet(config, seed=seed, start=START)
    now = START
    for step in steps:
        now = min(end, now + timedelta(seconds=step))
        stepped.advance(now)
    stepped.advance(end)
    assert whole_bytes(at_once) == whole_bytes(stepped)


def test_time_does_not_run_backwards(lived_fleet: Fleet) -> None:
    """Moving the clock back is an error; moving it nowhere is none."""
    with pytest.raises(ValueError, match="backwards"):
        lived_fleet.advance(lived_fleet.now - timedelta(microseconds=1))
    lived_fleet.advance(lived_fleet.now)
    with pytest.raises(ValueError, match="zone"):
        lived_fleet.advance(lived_fleet.now.replace(tzinfo=None))


def by_incarnation(truth: TruthLog) -> dict[tuple[Any, ...], list[StateInterval]]:
    """The state intervals of each incarnation, in order."""
    intervals: dict[tuple[Any, ...], list[StateInterval]] = defaultdict(list)
    for interval in truth.states:
        key = (interval.pool_id, interval.node_id, interval.allocation_time)
        intervals[key].append(interval)
    return intervals


def assert_truth_is_whole(fleet: Fleet) -> None:
    """State intervals follow without a gap by legal steps and end with the membership."""
    members = {(m.pool_id, m.node_id, m.allocation_time): m for m in fleet.truth.memberships}
    assert len(members) == len(fleet.truth.memberships)
    intervals = by_incarnation(fleet.truth)
    assert members.keys() == intervals.keys()
    for key, states in intervals.items():
        for before, after in pairwise(states):
            assert before.ended_at == after.started_at
            assert after.state in LEGAL[before.state], (key, before, after)
        assert states[-1].ended_at == members[key].left_at
        assert all(s.ended_at is None or s.started_at <= s.ended_at for s in states)
        if members[key].left_at is not None:
            assert "leavingpool" == states[-1].state
    for run in [*fleet.truth.task_runs, *fleet.truth.start_task_runs, *fleet.truth.errors]:
        member = members[run.pool_id, run.node_id, run.allocation_time]
        assert member.joined_at <= run.started_at
        if member.left_at is not None:
            assert run.ended_at is not None
            assert run.started_at <= run.ended_at <= member.left_at


def test_truth_is_whole(lived_fleet: Fleet) -> None:
    """The demo fleet's day obeys the rules of the truth log."""
    assert_truth_is_whole(lived_fleet)


def test_week_of_500_nodes_sees_everything() -> None:
    """In a week 500 nodes visit all 16 states, reuse an id, and a spot node comes back."""
    fleet = Fleet(busy_config(500), seed=1, start=START)
    for day in range(1, 8):
        fleet.advance(START + timedelta(days=day))
    assert_truth_is_whole(fleet)
    assert set(STATES) == {interval.state for interval in fleet.truth.states}

    tenants: dict[str, set[Any]] = defaultdict(set)
    for member in fleet.truth.memberships:
        tenants[member.node_id].add(member.allocation_time)
    assert any(len(times) > 1 for times in tenants.values())

    returned = [
        states
        for states in by_incarnation(fleet.truth).values()
        if any(
            (before.state, after.state) == ("preempted", "creating")
            for before, after in pairwise(states)
        )
    ]
    assert returned
    assert all(states[0].node_id.endswith("_p") for states in returned)

    failures = {run.failure_code for run in fleet.truth.start_task_runs}
    assert {None, "FailureExitCode", "BlobAccessDenied", "ContainerImagePullFailed"} == failures
    assert any(run.retry_count for run in fleet.truth.start_task_runs)
    assert {"success", "failure", "requeued", None} == {r.outcome for r in fleet.truth.task_runs}
    assert any(run.requeue_count for run in fleet.truth.task_runs)
    assert any(run.subtask_id is not None for run in fleet.truth.task_runs)


def test_documents_agree_with_the_truth(lived_fleet: Fleet) -> None:
    """What a node shows of its present is what the truth log says is so now."""
    now: dict[tuple[str, str], StateInterval] = {
        (s.pool_id, s.node_id): s for s in lived_fleet.truth.states if s.ended_at is None
    }
    members = {(m.pool_id, m.node_id): m for m in lived_fleet.truth.memberships if not m.left_at}
    listed = set()
    for pool_id, nodes in documents(lived_fleet).items():
        assert [node["id"] for node in nodes] == sorted(node["id"] for node in nodes)
        for node in nodes:
            key = (pool_id, node["id"])
            listed.add(key)
            assert now[key].state == node["state"]
            assert (now[key].started_at, 0) == read_time(node["stateTransitionTime"])
            allocated = read_time(node["allocationTime"])
            assert allocated is not None
            assert members[key].allocation_time == allocated[0]
            assert members[key].is_dedicated == node["isDedicated"]
            assert (node["state"] in AGENTLESS) == ("lastBootTime" not in node)
            assert (node["state"] in AGENTLESS) == ("nodeAgentInfo" not in node)
            assert len(node.get("recentTasks", [])) <= 4
            running = [t for t in node.get("recentTasks", []) if t["taskState"] != "completed"]
            assert len(running) == node["runningTasksCount"]
    assert members.keys() == listed


def test_task_counters_count_final_attempts(lived_fleet: Fleet) -> None:
    """totalTasksRun grows by one with each task that is completed on a node, and by no other."""
    final: dict[tuple[str, str, Any], list[Any]] = defaultdict(list)
    for run in lived_fleet.truth.task_runs:
        if run.is_final:
            final[run.pool_id, run.node_id, run.allocation_time].append(run)
    joined = {
        (m.pool_id, m.node_id): m.allocation_time
        for m in lived_fleet.truth.memberships
        if m.left_at is None and m.joined_at > START  # their counters began at nought
    }
    seen = 0
    for pool_id, nodes in documents(lived_fleet).items():
        for node in nodes:
            allocated = joined.get((pool_id, node["id"]))
            if allocated is not None:
                runs = final[pool_id, node["id"], allocated]
                assert len(runs) == node["totalTasksRun"]
                assert sum(r.outcome == "success" for r in runs) == node["totalTasksSucceeded"]
                seen += 1
    assert seen > 10


def test_counts_pools_and_nodes_are_of_one_moment(lived_fleet: Fleet) -> None:
    """Node counts, the pool's own numbers and the listed nodes agree at every moment."""
    for pool in lived_fleet.pools():
        counts = lived_fleet.counts(pool)
        document = lived_fleet.pool_document(pool, BASE)
        nodes = list(lived_fleet.nodes(pool))
        for kind, is_dedicated, total in (
            ("dedicated", True, document["currentDedicatedNodes"]),
            ("lowPriority", False, document["currentLowPriorityNodes"]),
        ):
            of_kind = [node for node in nodes if node.is_dedicated is is_dedicated]
            assert len(of_kind) == counts[kind]["total"] == total
            for state, name in COUNTER_NAMES.items():
                assert sum(node.state == state for node in of_kind) == counts[kind][name]


def test_faulty_nodes_misbehave_all_their_life() -> None:
    """A black hole fails all it runs, a flapping node breaks often, a stuck one never starts."""
    fleet = Fleet(busy_config(60), seed=5, start=START)
    fleet.advance(START + timedelta(days=1))
    pool = fleet.pool("STEADY")
    assert pool is not None
    odd = {node.defect: node for node in fleet.nodes(pool) if node.defect}
    assert {"black_hole", "flapping", "stuck"} == odd.keys()
    truth = fleet.truth
    runs = [r for r in truth.task_runs if r.node_id == odd["black_hole"].id and r.is_final]
    assert len(runs) > 300
    assert {"failure"} == {run.outcome for run in runs}
    flaps = [s for s in truth.states if s.node_id == odd["flapping"].id and s.state == "unusable"]
    assert len(flaps) > 10
    assert "waitingforstarttask" == odd["stuck"].state


def test_storm_fails_start_tasks() -> None:
    """In a storm nodes reboot and their start tasks fail; before it few do."""
    storm = Storm(after_hours=3.0, hours=1.0, failure_rate=1.0, reboot_share=0.5)
    pool = PoolConfig(id="p", dedicated=60, storms=(storm,), start_task=StartTask(failure_rate=0.0))
    fleet = Fleet(FleetConfig(pools=(pool,)), start=START)
    fleet.advance(START + timedelta(hours=3))
    runs = [run for run in fleet.truth.start_task_runs if run.started_at >= START]
    assert not [run for run in runs if run.outcome == "failure"]
    fleet.advance(START + timedelta(hours=4))
    runs = [run for run in fleet.truth.start_task_runs if run.started_at >= START]
    failed = [run for run in runs if run.outcome == "failure"]
    assert len({run.node_id for run in failed}) > 15


def test_pools_come_and_go() -> None:
    """A pool made later is listed from then on; a deleted one lists with its nodes, then goes."""
    config = FleetConfig(
        pools=(
            PoolConfig(id="late", dedicated=5, create_after_hours=2.0),
            PoolConfig(id="doomed", dedicated=5, spot=3, delete_after_hours=1.0),
        )
    )
    fleet = Fleet(config, start=START)
    seen = []
    states = set()
    for minute in range(200):
        fleet.advance(START + timedelta(minutes=minute))
        seen.append(tuple(pool.id for pool in fleet.pools()))
        doomed = fleet.pool("doomed")
        if doomed is not None and doomed.state == "deleting":
            states |= {node.state for node in fleet.nodes(doomed)}
    assert [("doomed",), (), ("late",)] == list(dict.fromkeys(seen))
    assert "leavingpool" in states
    assert_truth_is_whole(fleet)
    ends = {m.ended_by for m in fleet.truth.memberships if m.pool_id == "doomed"}
    assert {"pool_deletion"} <= ends


def test_autoscale_and_resize_reach_their_targets() -> None:
    """Targets move with the hour and by hand, and the nodes follow within minutes."""
    config = FleetConfig(
        pools=(
            PoolConfig(
                id="auto",
                autoscale=Autoscale(min_dedicated=10, max_dedicated=40, peak_hour=12.0),
                removals_per_day=0.0,
            ),
            PoolConfig(
                id="hand",
                dedicated=10,
                spot=30,
                spot_capacity=20,
                removals_per_day=0.0,
                resizes=(Resize(after_hours=1.0, dedicated=4, spot=35),),
            ),
        )
    )
    fleet = Fleet(config, start=START)
    sizes = []
    states = set()
    for step in range(1, 24 * 12):
        fleet.advance(START + timedelta(minutes=5 * step))
        auto = fleet.pool("auto")
        assert auto is not None
        states.add(auto.allocation_state)
        sizes.append(len(auto.dedicated))
        if auto.allocation_state == "steady":
            assert auto.target_dedicated == len(auto.dedicated)
    assert {"steady", "resizing"} == states
    assert min(sizes) < 14
    assert max(sizes) > 36
    hand = fleet.pool("hand")
    assert hand is not None
    assert (4, 20) == (len(hand.dedicated), len(hand.spot))
    document = fleet.pool_document(hand, BASE)
    assert 35 == document["targetLowPriorityNodes"]
    assert ["AllocationFailed"] == [error["code"] for error in document["resizeErrors"]]


def test_usage_is_the_time_nodes_were_held() -> None:
    """Core-hours are the truth log's machine time, without preempted and deallocated time."""
    fleet = Fleet(busy_config(40), seed=2, start=START)
    fleet.advance(START + timedelta(hours=12))
    begin, end = START + timedelta(hours=3), START + timedelta(hours=9)
    held: dict[str, float] = defaultdict(float)
    for interval in fleet.truth.states:
        if interval.state not in ("preempted", "deallocated"):
            until = interval.ended_at or fleet.now
            overlap = min(until, end) - max(interval.started_at, begin)
            held[interval.pool_id] += max(overlap.total_seconds(), 0.0) / 3600 * 8
    from pipeline.emulator.times import to_micros

    used: dict[str, float] = defaultdict(float)
    rows = fleet.usage(to_micros(begin), to_micros(end))
    for row in rows:
        used[row["poolId"]] += row["totalCoreHours"]
    assert 3 * 12 == len(rows)
    assert held.keys() == used.keys()
    for pool_id, hours in held.items():
        assert pytest.approx(hours, abs=1e-3) == used[pool_id]


def test_unfollowed_fleet_is_the_same_each_time_it_is_asked() -> None:
    """A fleet that keeps no truth works nodes out on request, and always the same ones."""
    config = FleetConfig(pools=(PoolConfig(id="p", dedicated=80, spot=40),))
    lazy, other = (
        Fleet(config, start=START, keep_truth=False, cached_nodes=cache) for cache in (10, 1000)
    )
    for step in range(1, 8):
        lazy.advance(START + timedelta(minutes=30 * step))
        documents(lazy)
    other.advance(lazy.now)
    assert documents(lazy) == documents(other)
    assert 0 == len(lazy.truth)


def test_unfollowed_counts_are_of_one_moment() -> None:
    """Counts agree with the nodes, whether nodes were looked at before or not."""
    config = FleetConfig(pools=(PoolConfig(id="p", dedicated=80, spot=40),))
    fleet = Fleet(config, start=START, keep_truth=False, cached_nodes=10)
    for minutes in (0, 30, 60):
        fleet.advance(START + timedelta(minutes=minutes))
        pool = fleet.pool("p")
        assert pool is not None
        entries = fleet.entries(pool)
        for entry in entries[: minutes * 2]:
            fleet.node(pool, entry)
        counts = fleet.counts(pool)
        states = [node.state for node in fleet.nodes(pool)]
        both = counts["dedicated"], counts["lowPriority"]
        for state, name in COUNTER_NAMES.items():
            assert states.count(state) == sum(kind[name] for kind in both)


def pool_configs() -> st.SearchStrategy[PoolConfig]:
    """Small pools of every make."""
    often = st.sampled_from([0.0, 3.0])
    return st.builds(
        PoolConfig,
        id=st.just("p"),
        profile=st.sampled_from(["render", "spot", "containers", "windows"]),
        dedicated=st.integers(0, 8),
        spot=st.integers(0, 8),
        spot_capacity=st.none() | st.integers(0, 8),
        task_slots=st.integers(1, 8),
        autoscale=st.none() | st.just(Autoscale(max_dedicated=9, max_spot=9, interval_minutes=5.0)),
        work=st.builds(
            Work,
            task_minutes=st.just(20.0),
            failure_rate=st.sampled_from([0.0, 0.4]),
            retry_limit=st.integers(0, 3),
            slots_per_task=st.integers(1, 3),
            gang_every_hours=st.sampled_from([0.0, 1.0]),
            gang_size=st.integers(0, 4),
        ),
        start_task=st.builds(
            StartTask,
            is_present=st.booleans(),
            wait_for_success=st.booleans(),
            failure_rate=st.sampled_from([0.0, 0.6]),
            changes_after_hours=st.sampled_from([(), (2.0,)]),
        ),
        rates=st.builds(
            Rates,
            reboots=often,
            reimages=often,
            unusable=often,
            unknown=often,
            offline=often,
            preemptions=often,
            os_upgrades=often,
            deallocations=often,
            errors=often,
            agent_upgrades=often,
        ),
        faulty_nodes=st.sampled_from(
            [FaultyNodes(), FaultyNodes(black_hole=1, flapping=1, stuck=1)]
        ),
        storms=st.sampled_from([(), (Storm(after_hours=2.0),)]),
        resizes=st.sampled_from([(), (Resize(after_hours=3.0, dedicated=2, spot=5),)]),
        removals_per_day=st.sampled_from([0.0, 12.0]),
        id_reuse_rate=st.sampled_from([0.0, 1.0]),
        preemption_wave_hours=st.sampled_from([(), (1.0, 4.5)]),
        create_after_hours=st.sampled_from([0.0, 1.0]),
        delete_after_hours=st.none() | st.just(6.0),
    )


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(config=pool_configs(), seed=st.integers(0, 100))
def test_any_pool_obeys_the_rules(shared: Path, config: PoolConfig, seed: int) -> None:
    """Whatever its config, a pool's truth is whole and its documents are valid."""
    fleet = Fleet(FleetConfig(pools=(config,)), seed=seed, start=START)
    for hour in range(8):
        fleet.advance(START + timedelta(hours=hour, minutes=17))
        for pool in fleet.pools():
            document = fleet.pool_document(pool, BASE, with_stats=True)
            assert [] == problems(shared, "CloudPool", for_version("pool", document, VERSION))
            counts = fleet.counts(pool)
            listed = documents(fleet)[pool.id]
            assert counts["dedicated"]["total"] + counts["lowPriority"]["total"] == len(listed)
            for node in listed:
                assert [] == problems(shared, "ComputeNode", for_version("node", node, VERSION))
                assert (
                    0
                    <= node["runningTaskSlotsCount"]
                    <= max(config.task_slots, config.work.slots_per_task)
                )
    assert_truth_is_whole(fleet)


def test_stuck_from_the_first() -> None:
    """A stuck node that is allocated while the fleet runs gets to its start task and no further."""
    pool = PoolConfig(
        id="p", dedicated=3, faulty_nodes=FaultyNodes(stuck=1), create_after_hours=1.0
    )
    fleet = Fleet(FleetConfig(pools=(pool,)), start=START)
    fleet.advance(START + timedelta(days=2))
    (made,) = fleet.pools()
    (stuck,) = [node for node in fleet.nodes(made) if node.defect == "stuck"]
    assert "waitingforstarttask" == stuck.state
    assert stuck.start_task_info is not None
    assert stuck.start_task_info.ended_at is None
