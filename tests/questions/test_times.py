"""Boots, start tasks, preemptions, the census and the fleet as of a moment, against the truth."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import query
from pipeline.emulator.truth import Boot, StartTaskRun
from pipeline.lake import Lake
from tests.lakes import node, put
from tests.questions.planted import START, Key, Planted, at, incarnation
from tests.questions.truths import ALLOWED, HOUR, kinds, percentile, seconds

READY = ("idle", "running")
CHANGED = at("15:00") + timedelta(microseconds=400_000)
"""When the start task of render was changed: hours count from the fleet's start."""


# boot_latency


Steps = dict[tuple[str, bool], dict[str, list[tuple[float, float]]]]


def true_steps(fleet: Planted) -> Steps:
    """Seconds of every step of every new node, by pool and kind: as they were, and at most.

    The most is until the first listing that showed the node ready.
    """
    boots, runs, ready = defaultdict(list), defaultdict(list), defaultdict(list)
    for boot in fleet.boots:
        boots[incarnation(boot)].append(boot.started_at)
    for run in fleet.start_task_runs:
        runs[incarnation(run)].append(run)
    for state in fleet.states:
        if state.state in READY:
            ready[incarnation(state)].append(state)
    of_kind = kinds(fleet)
    steps: Steps = defaultdict(lambda: defaultdict(list))
    for key, shown in fleet.seen.items():
        allocated = key[2]
        if shown[0] - allocated > timedelta(minutes=30) or not boots[key]:
            continue
        group = steps[key[0], of_kind[key]]

        def add(step: str, begin: datetime, end: datetime, most: datetime | None = None) -> None:
            group[step].append((seconds(end, begin), seconds(most or end, begin)))  # noqa: B023

        add("1 allocation to boot", allocated, boots[key][0])
        add("2 boot to start task", boots[key][0], runs[key][0].started_at)
        ends = [run.ended_at for run in runs[key] if run.outcome == "success"]
        if ends:
            add("3 start task", runs[key][0].started_at, ends[0])
        listed = [
            when
            for state in ready[key]
            for when in shown
            if state.started_at <= when < (state.ended_at or fleet.ended_at + HOUR)
        ]
        if listed:
            idle = ready[key][0].started_at
            add("4 start task to idle", ends[0], idle, min(listed))
            add("5 allocation to idle", allocated, idle, min(listed))
    return steps


@pytest.mark.parametrize("pool", ["render", "training", "spot", "calm"])
def test_boot_latency_is_the_truth_of_every_new_node(
    fleet: Planted, lake: query.Connection, pool: str
) -> None:
    """Each step of each new node; idle at most a listing late; no node that was there before."""
    rows = lake.ask("boot_latency", pool=pool).to_pylist()
    steps = true_steps(fleet)
    for is_dedicated in (True, False):
        truth = steps.get((pool, is_dedicated), {})
        told = [row for row in rows if row["is_dedicated"] == is_dedicated]
        counted: Counter[str] = Counter()
        for row in told:
            counted[row["step"]] += row["nodes"]
        assert {step: len(values) for step, values in truth.items()} == counted
        for step, values in truth.items():
            of_step = [row for row in told if row["step"] == step]
            least, most = zip(*values, strict=True)
            longest = max(row["max_seconds"] for row in of_step)
            assert max(least) - 0.001 <= longest <= max(most) + 0.001, step
            if len(of_step) == 1:  # one image: the percentiles are over all of them
                (row,) = of_step
                for column, share in (("p50_seconds", 0.5), ("p95_seconds", 0.95)):
                    low, high = percentile(least, share), percentile(most, share)
                    assert low - 0.001 <= row[column] <= high + 0.001, (step, column)


def test_boot_latency_knows_the_image_of_the_first_boot(
    fleet: Planted, lake: query.Connection
) -> None:
    """Nodes of render allocated after 10:00 got the new one: as many as the truth has."""
    rows = lake.ask("boot_latency", pool="render").to_pylist()
    nodes = {row["image"]: row["nodes"] for row in rows if row["step"].startswith("1")}
    new = [key for key in fleet.seen if key[0] == "render" and key[2] > START - HOUR / 2]
    later = [key for key in new if key[2] >= at("10:00")]
    names = sorted(nodes)
    assert [name.split()[-1] for name in names] == ["24.04.20261001", "24.04.20261002"]
    assert [len(new) - len(later), len(later)] == [nodes[name] for name in names]


def test_boot_latency_takes_nodes_allocated_in_the_range(lake: query.Connection) -> None:
    """Two halves have as many nodes as the whole."""
    noon = at("12:00")

    def nodes(**parameters: object) -> int:
        rows = lake.ask("boot_latency", **parameters).to_pylist()
        return sum(row["nodes"] for row in rows if row["step"].startswith("1"))

    halves = nodes(to=noon), nodes(**{"from": noon})
    assert nodes() == sum(halves)
    assert min(halves) > 0
    assert nodes(minutes=0) == 0


# start_task_durations


@dataclass
class Shown:
    """A run that a listing showed: whether its definition was certain, and when it was last shown."""

    run: StartTaskRun
    is_certain: bool
    last: datetime

    @property
    def outcome(self) -> str | None:
        """How it ended, where it was shown ended: the next attempt may hide it before that."""
        ended = self.run.ended_at
        return self.run.outcome if ended is not None and ended <= self.last else None


def shown_runs(fleet: Planted) -> dict[tuple[str, int], list[Shown]]:
    """The runs that some listing showed, by pool and revision.

    A listing shows a node's latest run, and the definition it got at its last boot.
    """
    boots: dict[Key, list[Boot]] = defaultdict(list)
    runs: dict[Key, list[StartTaskRun]] = defaultdict(list)
    for boot in fleet.boots:
        boots[incarnation(boot)].append(boot)
    for run in fleet.start_task_runs:
        runs[incarnation(run)].append(run)

    def revision(key: Key, when: datetime) -> int:
        last = max((b.started_at for b in boots[key] if b.started_at <= when), default=key[2])
        return int(key[0] == "render" and last >= CHANGED)

    found: dict[tuple[str, int], list[Shown]] = defaultdict(list)
    for key, moments in fleet.seen.items():
        last: Shown | None = None
        before: int | None = None
        for when in moments:
            now = revision(key, when)
            begun = [run for run in runs[key] if run.started_at <= when]
            if begun and last is not None and begun[-1] is last.run:
                last.last = when
            elif begun:
                last = Shown(begun[-1], before in (None, now), when)
                found[key[0], now].append(last)
            before = now
    return found


def test_start_task_durations_before_and_after_the_definition_changed(
    fleet: Planted, lake: query.Connection
) -> None:
    """Render has two, distinguished in order, the others one; each run is counted where it belongs."""
    rows = lake.ask("start_task_durations").to_pylist()
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        told[row["pool_id"]].append(row)
    assert {"calm": 1, "render": 2, "spot": 1, "training": 1} == {
        pool: len(each) for pool, each in told.items()
    }
    truth = shown_runs(fleet)
    for pool, definitions in told.items():
        for number, row in enumerate(definitions):
            shown = truth[pool, number]
            certain = [each for each in shown if each.is_certain]
            assert {number} == {each.run.revision for each in certain}
            outcomes = Counter(each.outcome for each in certain)
            expected = {
                "runs": len(certain),
                "succeeded": outcomes["success"],
                "failed": outcomes["failure"],
                "uncertain_runs": len(shown) - len(certain),
                "first_start_time": min(each.run.started_at for each in certain),
                "last_start_time": max(each.run.started_at for each in certain),
            }
            assert expected == {name: row[name] for name in expected}, row
            lasted = [
                seconds(each.run.ended_at, each.run.started_at)
                for each in certain
                if each.outcome == "success" and each.run.ended_at
            ]
            assert pytest.approx(percentile(lasted, 0.5), abs=1e-3) == row["p50_seconds"]
            assert pytest.approx(percentile(lasted, 0.95), abs=1e-3) == row["p95_seconds"]
    first, second = told["render"]
    assert first["p50_change_seconds"] is None
    assert second["p50_seconds"] - first["p50_seconds"] == second["p50_change_seconds"]
    assert second["first_start_time"] > CHANGED
    assert second["uncertain_runs"] > 0


# preemptions


def true_preemptions(fleet: Planted) -> list[tuple[datetime, float | None, datetime]]:
    """Every preemption that a listing showed: when, minutes until the node was back, and since when
    it had been there."""
    of_kind = kinds(fleet)
    by_node = defaultdict(list)
    for state in fleet.states:
        by_node[incarnation(state)].append(state)
    found = []
    for key, moments in fleet.seen.items():
        if of_kind[key]:
            continue
        since = key[2]
        for number, state in enumerate(by_node[key]):
            if state.state != "preempted":
                continue
            end = state.ended_at or fleet.ended_at + HOUR
            if state.started_at >= moments[0] - ALLOWED and any(
                state.started_at <= when < end for when in moments
            ):
                back = [s.started_at for s in by_node[key][number:] if s.state in READY]
                minutes = seconds(back[0], state.started_at) / 60 if back else None
                found.append((state.started_at, minutes, since))
            since = end
    return found


def test_preemptions_are_those_that_were(fleet: Planted, lake: query.Connection) -> None:
    """Counted exactly; times to preempt exact, times to recover at most a listing late."""
    (row,) = lake.ask("preemptions").to_pylist()
    truth = true_preemptions(fleet)
    assert ("spot", "standard_f16s_v2") == (row["pool_id"], row["vm_size"])
    assert len(truth) == row["preemptions"]
    back = [minutes for _, minutes, _ in truth if minutes is not None]
    # one that was back in the last minutes no listing has shown yet
    assert len(back) - 1 <= row["recovered"] <= len(back)
    for column, share in (("p50_minutes_to_recover", 0.5), ("p95_minutes_to_recover", 0.95)):
        true = percentile(back, share)
        assert true - 0.1 <= row[column] <= true + 50, column
    # 'creating', which ends a preemption, is often over before the next listing
    hours = percentile([seconds(when, since) / 3600 for when, _, since in truth], 0.5)
    assert hours - 0.1 <= row["p50_hours_to_preempt"] <= hours + 0.1
    of_kind = kinds(fleet)
    watched = sum(
        (moments[-1] - moments[0]) / HOUR for key, moments in fleet.seen.items() if not of_kind[key]
    )
    away = sum(
        max(
            timedelta(0),
            min(state.ended_at or fleet.ended_at, fleet.seen[key][-1])
            - max(state.started_at, fleet.seen[key][0]),
        )
        / HOUR
        for state in fleet.states
        if state.state in ("preempted", "deallocated")
        and not of_kind[key := incarnation(state)]
        and key in fleet.seen
    )
    slack = len(truth) * 5 / 60
    assert watched - away - slack <= row["node_hours"] <= watched - away + 0.1
    assert row["preemptions"] / row["node_hours"] == row["preemptions_per_node_hour"]


def test_the_waves_stand_out_by_hour(fleet: Planted, lake: query.Connection) -> None:
    """08:30 and 16:15 have the most; counts are the truth's, node-hours add up to those of the pool."""
    rows = lake.ask("preemptions_by_hour").to_pylist()
    assert [("spot", hour) for hour in range(24)] == [
        (row["pool_id"], row["hour_of_day"]) for row in rows
    ]
    expected = Counter(when.hour for when, _, _ in true_preemptions(fleet))
    assert expected == {
        row["hour_of_day"]: row["preemptions"] for row in rows if row["preemptions"]
    }
    assert {8, 16} == {hour for hour, _ in expected.most_common(2)}
    (whole,) = lake.ask("preemptions").to_pylist()
    assert pytest.approx(whole["node_hours"]) == sum(row["node_hours"] for row in rows)
    # no one watched from 02:05 to 06:00
    assert [0, 0, 0] == [row["node_hours"] for row in rows[3:6]]
    assert [None] * 3 == [row["preemptions_per_node_hour"] for row in rows[3:6]]


def test_preemptions_of_a_range(fleet: Planted, lake: query.Connection) -> None:
    """Those within [from, to), and the node-hours of that time only."""
    limits = {"from": at("16:00"), "to": at("17:00")}
    (row,) = lake.ask("preemptions", **limits).to_pylist()
    truth = [each for each in true_preemptions(fleet) if at("16:00") <= each[0] < at("17:00")]
    assert len(truth) == row["preemptions"] >= 5
    assert row["node_hours"] <= 20
    hours = lake.ask("preemptions_by_hour", **limits).to_pylist()
    assert {16} == {each["hour_of_day"] for each in hours if each["node_hours"]}
    assert pytest.approx(row["node_hours"]) == sum(each["node_hours"] for each in hours)


def test_a_node_that_was_away_when_first_listed_is_no_preemption(tmp_path: Path) -> None:
    """Nor is its time away at risk; the other one was preempted, and back after 75 minutes."""
    lake = Lake(tmp_path)

    def spot(name: str, state: str, since: str) -> dict[str, Any]:
        return node(name, state, since, is_dedicated=False, allocated="08:00")

    listings = {
        "10:00": [spot("a", "preempted", "09:00"), spot("b", "idle", "09:00")],
        "11:00": [spot("a", "idle", "10:30"), spot("b", "preempted", "10:30")],
        "12:00": [spot("a", "idle", "10:30"), spot("b", "running", "11:45")],
    }
    for when, nodes in listings.items():
        put(lake, when, {"p": nodes})
    with query.connect(lake) as connection:
        (row,) = connection.ask("preemptions").to_pylist()
        hours = connection.ask("preemptions_by_hour").to_pylist()
    assert {
        "account": "acc",
        "pool_id": "p",
        "vm_size": "small",
        "node_hours": 1.5 + 0.75,
        "preemptions": 1,
        "nodes_preempted": 1,
        "preemptions_per_node_hour": 1 / 2.25,
        "p50_hours_to_preempt": 2.5,
        "recovered": 1,
        "p50_minutes_to_recover": 75,
        "p95_minutes_to_recover": 75,
    } == row
    assert {10: (1.0, 1), 11: (1.25, 0)} == {
        each["hour_of_day"]: (each["node_hours"], each["preemptions"])
        for each in hours
        if each["node_hours"]
    }


# census and fleet_at


def test_the_census_is_that_of_the_truth(fleet: Planted, lake: query.Connection) -> None:
    """Who was there, who joined, who left and how long they lived, for each pool and kind."""
    rows = lake.ask("census").to_pylist()
    of_kind = kinds(fleet)
    stays = defaultdict(list)
    for each in fleet.memberships:
        if incarnation(each) in fleet.seen:
            stays[each.pool_id, of_kind[incarnation(each)]].append(each)
    assert set(stays) == {(row["pool_id"], row["is_dedicated"]) for row in rows}
    for row in rows:
        those = stays[row["pool_id"], row["is_dedicated"]]
        assert sum(each.joined_at < START for each in those) == row["nodes_at_start"]
        assert sum(each.joined_at >= START for each in those) == row["joined"]
        left = [each for each in those if each.left_at is not None]
        proven = [each for each in left if each.left_at < fleet.ended_at - timedelta(minutes=10)]
        assert len(proven) <= row["left_pool"] <= len(left)
        assert row["nodes_at_start"] + row["joined"] - row["left_pool"] == row["nodes_at_end"]
        reused = len(those) - len({each.node_id for each in those})
        assert reused == row["reused_ids"]
        if proven:
            hours = percentile([(each.left_at - each.joined_at) / HOUR for each in proven], 0.5)
            # until the last listing: at most the gap too short
            assert hours - 0.8 <= row["p50_lifetime_hours"] <= hours + 0.1
        # what the service reports of itself
        assert row["listings"] > 0
        if row["pool_id"] in ("calm", "spot"):
            assert row["current_nodes"] == row["target_nodes"] == row["nodes_at_end"]
    told = {row["pool_id"]: row for row in rows if row["is_dedicated"]}
    assert (12, 0, 0) == tuple(
        told["calm"][name] for name in ("nodes_at_start", "joined", "listings_below_target")
    )
    assert (0, 0) == tuple(told["training"][name] for name in ("nodes_at_start", "nodes_at_end"))
    assert told["training"]["listings_below_target"] > 0


def test_the_census_of_a_range(fleet: Planted, lake: query.Connection) -> None:
    """Nodes at its start are those allocated before, not known to have gone; the parts add up."""
    noon = at("12:00")
    first = {
        (row["pool_id"], row["is_dedicated"]): row
        for row in lake.ask("census", to=noon).to_pylist()
    }
    second = {
        (row["pool_id"], row["is_dedicated"]): row
        for row in lake.ask("census", **{"from": noon}).to_pylist()
    }
    for whole in lake.ask("census").to_pylist():
        key = whole["pool_id"], whole["is_dedicated"]
        assert first[key]["nodes_at_end"] == second[key]["nodes_at_start"]
        for name in ("joined", "left_pool", "listings"):
            assert first[key][name] + second[key][name] == whole[name]


def test_the_fleet_at_a_moment_is_who_was_there_and_how(
    fleet: Planted, lake: query.Connection
) -> None:
    """Of each pool's last complete listing by then: at 10:12 the one of render at 10:10 had failed."""
    moment = at("10:12")
    last = {"render": START + timedelta(hours=4, minutes=5)}
    other = START + timedelta(hours=4, minutes=10)
    expected = {}
    for state in fleet.states:
        when = last.get(state.pool_id, other)
        key = incarnation(state)
        if when in fleet.seen.get(key, ()) and (
            state.started_at <= when < (state.ended_at or fleet.ended_at)
        ):
            expected[key] = state.state, state.started_at
    rows = lake.ask("fleet_at", moment=moment).to_pylist()
    assert expected == {
        (row["pool_id"], row["node_id"], row["allocation_time"]): (
            row["state"],
            row["state_transition_time"],
        )
        for row in rows
    }
    assert {("render", 420), ("calm", 120), ("spot", 120), ("training", 120)} == {
        (row["pool_id"], row["age_seconds"]) for row in rows
    }
    of_kind = kinds(fleet)
    assert all(
        of_kind[row["pool_id"], row["node_id"], row["allocation_time"]] == row["is_dedicated"]
        for row in rows
    )


def test_the_fleet_without_a_moment_is_the_latest(fleet: Planted, lake: query.Connection) -> None:
    """As nodes_latest has it, without the pool that was deleted; before the record there is none."""
    rows = lake.ask("fleet_at").to_pylist()
    assert {"calm", "render", "spot"} == {row["pool_id"] for row in rows}
    latest = lake.table("select node_id from nodes_latest").to_pylist()
    assert sorted(row["node_id"] for row in latest) == sorted(row["node_id"] for row in rows)
    assert 0 == lake.ask("fleet_at", moment="2026-11-16T05:00Z").num_rows
    assert 12 == lake.ask("fleet_at", moment="2026-11-16T06:00:00.5Z", pool="calm").num_rows
