"""What drifts apart and what the record lacks: agents, images, errors, listings, fields; and slots."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest

from pipeline import query
from pipeline.emulator.truth import PoolLife
from tests.questions.planted import (
    DAY,
    FAILED_NODES,
    FAILED_POOLS,
    OUTAGE,
    POLL,
    POLLS,
    START,
    UNKNOWN_FIELDS,
    Key,
    Planted,
    Setup,
    at,
    incarnation,
)
from tests.questions.seen import by_date_header, start_task_runs, within

HOUR = timedelta(hours=1)
NEXT_DAY = DAY + timedelta(1)


def ask(lake: query.Connection, name: str, **parameters: object) -> list[dict[str, Any]]:
    """The rows of an answer."""
    rows: list[dict[str, Any]] = lake.ask(name, **parameters).to_pylist()
    return rows


def poll(number: int) -> datetime:
    """When a poll was."""
    return START + number * POLL


#: Before the releases of agent and image, soon after each, and at the end.
MOMENTS = {"early": 10, "agent": 30, "image": 60, "late": 120, "end": POLLS - 1}


def setups_at(fleet: Planted, number: int) -> dict[Key, Setup]:
    """What the nodes were set up with at a poll.

    At the last one a node still counts that only this one lacks: two listings prove it gone.
    """
    setups = fleet.setups[poll(number)]
    return fleet.setups[poll(number - 1)] | setups if number == POLLS - 1 else setups


def image_of(told: dict[str, str]) -> str:
    """An image by name, as the service says it."""
    marketplace = [told.get(key) for key in ("publisher", "offer", "sku", "exactVersion")]
    ids = ("virtualMachineImageId", "sharedGalleryImageId", "communityGalleryImageId")
    (name,) = {" ".join(filter(None, marketplace)), *(told.get(key) for key in ids)} - {"", None}
    return str(name)


@pytest.mark.parametrize("number", MOMENTS.values(), ids=MOMENTS)
def test_agents_of_every_pool_at_a_moment(
    fleet: Planted, lake: query.Connection, number: int
) -> None:
    """The versions that its nodes had, and how long a newer one has been about."""
    moment = poll(number)
    expected = Counter((key[0], agent) for key, (agent, _) in setups_at(fleet, number).items())
    asked = {} if number == POLLS - 1 else {"moment": moment.isoformat()}
    rows = ask(lake, "agent_versions", **asked)
    assert {(r["pool_id"], r["node_agent_version"]): r["nodes"] for r in rows} == expected
    first: dict[str, datetime] = {}
    for when, setups in sorted(fleet.setups.items()):
        for key, (agent, _) in setups.items():
            # whatever has failed, some node showed each version at once
            if agent is not None and when <= moment and when in fleet.listings(key[0]):
                first.setdefault(agent, by_date_header(when))
    asked_at = moment if asked else by_date_header(moment)
    for row in rows:
        version = row["node_agent_version"]
        if version is None:
            assert (row["newer_versions"], row["behind_hours"]) == (None, None)
            continue
        newer = [when for other, when in first.items() if other > version]
        assert (row["first_observed_at"], row["newer_versions"]) == (first[version], len(newer))
        behind = (asked_at - min(newer)) / HOUR if newer else None
        assert row["behind_hours"] == (behind and pytest.approx(behind, abs=0.006))
        assert row["newest_version"] == max(first)
        assert row["share"] == pytest.approx(row["nodes"] / nodes_of(rows, row), abs=1e-4)


def nodes_of(rows: Iterable[dict[str, Any]], row: dict[str, Any]) -> int:
    """All nodes of that row's pool."""
    return sum(each["nodes"] for each in rows if each["pool_id"] == row["pool_id"])


@pytest.mark.parametrize("number", MOMENTS.values(), ids=MOMENTS)
def test_images_of_every_pool_at_a_moment(
    fleet: Planted, lake: query.Connection, number: int
) -> None:
    """Of render after its release, and of no other pool: those have one."""
    moment = poll(number)
    expected = Counter(
        (key[0], image_of(image)) for key, (_, image) in setups_at(fleet, number).items()
    )
    asked = {} if number == POLLS - 1 else {"moment": moment.isoformat()}
    rows = ask(lake, "image_drift", images=1, **asked)
    assert {(r["pool_id"], r["image"]): r["nodes"] for r in rows} == expected
    several = ask(lake, "image_drift", **asked)
    assert {r["pool_id"] for r in several} == ({"render"} if moment > at("10:00") else set())
    assert several == [r for r in rows if r["images"] > 1]
    for row in several:
        assert row["is_newest"] == (row["image"] == max(r["image"] for r in several))
        mine = [
            key[2]
            for key, (_, image) in setups_at(fleet, number).items()
            if (key[0], image_of(image)) == (row["pool_id"], row["image"])
        ]
        assert (row["first_allocation_time"], row["last_allocation_time"]) == (min(mine), max(mine))


def error_episodes(fleet: Planted) -> Counter[tuple[Any, ...]]:
    """(day, pool, code, node) of every time a node's listings went on showing an error."""
    truth = defaultdict(list)
    for each in fleet.errors:
        truth[incarnation(each), each.code].append(each)
    found: Counter[tuple[Any, ...]] = Counter()
    for (key, code), episodes in truth.items():
        was_shown = False
        for when in fleet.seen.get(key, ()):
            is_shown = any(
                each.started_at <= when and (each.ended_at is None or when < each.ended_at)
                for each in episodes
            )
            if is_shown and not was_shown:
                found[when.date(), key[0], code, key] += 1
            was_shown = is_shown
    return found


def test_node_errors_by_day_and_pool(fleet: Planted, lake: query.Connection) -> None:
    """Each stretch of listings that show a code counts once, on the day it was first seen."""
    episodes = error_episodes(fleet)
    expected: dict[tuple[Any, ...], tuple[int, int]] = {}
    for (day, pool, code, _), count in episodes.items():
        times, nodes = expected.get((day, pool, code), (0, 0))
        expected[day, pool, code] = (times + count, nodes + 1)
    rows = ask(lake, "error_codes", source="node")
    assert {
        (r["started_at"].date(), r["pool_id"], r["code"]): (r["occurrences"], r["nodes"])
        for r in rows
    } == expected
    assert sum(times for times, _ in expected.values()) > 10
    for row in rows:
        sharing = {key[1] for key in expected if (key[0], key[2]) == (DAY, row["code"])}
        assert row["started_at"].date() != DAY or row["pools"] == len(sharing)


def test_start_task_and_task_failures_by_code(fleet: Planted, lake: query.Connection) -> None:
    """Those of start tasks are what listings showed; those of tasks what recentTasks held."""
    seen = [run for run in start_task_runs(fleet) if run.has_failed]
    expected = Counter(
        (run.truth.ended_at.date(), run.truth.pool_id, run.truth.failure_code)
        for run in seen
        if run.truth.ended_at is not None
    )
    rows = ask(lake, "error_codes", source="start_task")
    assert {(r["started_at"].date(), r["pool_id"], r["code"]): r["occurrences"] for r in rows} == (
        expected
    )
    raw = lake.table(
        "select distinct pool_id, node_id, allocation_time, job_id, task_id, start_time, end_time, "
        "failure_code from recent_tasks where task_state = 'completed'"
    ).to_pylist()
    failed = {
        (*incarnation(run), run.task_id, run.started_at): run
        for run in fleet.task_runs
        if run.is_final and run.outcome == "failure"
    }
    tasks: Counter[tuple[Any, ...]] = Counter()
    for row in raw:
        key = row["pool_id"], row["node_id"], row["allocation_time"], row["task_id"]
        if (*key, row["start_time"]) in failed:
            tasks[row["end_time"].date(), row["pool_id"], row["failure_code"]] += 1
    rows = ask(lake, "error_codes", source="task")
    assert {
        (r["started_at"].date(), r["pool_id"], r["code"]): r["occurrences"] for r in rows
    } == tasks
    assert {r["pool_id"] for r in rows} >= {"render", "spot"}


def test_codes_that_a_pool_shares(lake: query.Connection) -> None:
    """Asked about one pool, the others are beside it with what they share; calm has nothing."""
    rows = ask(lake, "error_codes", step="month")
    assert {row["started_at"] for row in rows} == {datetime(2026, 11, 1, tzinfo=START.tzinfo)}
    of_spot = {(row["source"], row["code"]) for row in rows if row["pool_id"] == "spot"}
    asked = ask(lake, "error_codes", step="month", pool="spot")
    assert asked == [row for row in rows if (row["source"], row["code"]) in of_spot]
    assert {row["pool_id"] for row in asked} > {"spot"}
    assert ask(lake, "error_codes", pool="calm") == []
    span = {"from": at("11:00").isoformat(), "to": at("12:00").isoformat()}
    hourly = ask(lake, "error_codes", step="hour", source="start_task", **span)
    assert {(row["started_at"], row["pool_id"]) for row in hourly} == {(at("11:00"), "render")}


def test_coverage_of_the_day(lake: query.Connection) -> None:
    """What was planned to fail did, the outage is the longest gap, the usage is no snapshot."""
    taken = [n for n in range(POLLS) if n not in OUTAGE]
    by_day = Counter(poll(n).date() for n in taken)
    rows = {row["day"]: row for row in ask(lake, "coverage")}
    assert {day: row["snapshots"] for day, row in rows.items()} == by_day
    first = rows[DAY]
    assert (first["partial"], first["failed"]) == (len(FAILED_NODES), 1)
    assert first["complete"] == by_day[DAY] - len(FAILED_NODES) - 1
    assert first["failed_listings"] == len(FAILED_NODES)
    assert first["longest_gap_minutes"] == (len(OUTAGE) + 1) * 5
    second = rows[NEXT_DAY]
    assert (second["failed"], second["partial"], second["longest_gap_minutes"]) == (0, 0, 5)


def test_failed_listings_by_pool(fleet: Planted, lake: query.Connection) -> None:
    """Each pool's own failures and gaps; a failed list of pools is a gap of them all."""
    lives = {life.pool_id: life for life in fleet.of(PoolLife)}
    polls = [poll(n) for n in range(POLLS) if n not in OUTAGE and n != FAILED_POOLS]
    rows = {row["pool_id"]: row for row in ask(lake, "failed_listings")}
    assert rows.keys() == lives.keys()
    for pool, row in rows.items():
        there = within(polls, lives[pool].started_at, lives[pool].ended_at)
        complete = [when for when in there if when in fleet.listings(pool)]
        assert (row["listings"], row["complete"]) == (len(there), len(complete))
        assert (row["failed"], row["partial"]) == (len(there) - len(complete), 0)
        assert row["last_complete_at"] == by_date_header(complete[-1])
        assert (row["longest_gap_minutes"], row["gap_started_at"]) == (
            45,
            by_date_header(poll(OUTAGE[0] - 1)),
        )
        is_faulty = pool in FAILED_NODES.values()
        assert (row["error_code"] is not None, row["request_id"] is not None) == (
            is_faulty,
            is_faulty,
        )
    morning = {"from": at("09:00").isoformat(), "to": at("14:00").isoformat()}
    gaps = {r["pool_id"]: r["longest_gap_minutes"] for r in ask(lake, "failed_listings", **morning)}
    assert gaps == dict.fromkeys(lives, 10)
    (render,) = ask(lake, "failed_listings", pool="render")
    assert (render["failed"], render["failure_rate"]) == (1, pytest.approx(1 / 233, abs=1e-4))


def test_the_unknown_field_is_named(lake: query.Connection) -> None:
    """Where and when it came, and that it is gone again; no other field is unknown."""
    (row,) = ask(lake, "unknown_fields")
    assert (row["kind"], row["path"], row["value"]) == ("field", "nodes.madeUpField", None)
    assert (row["occurrences"] > 0, row["snapshots"]) == (True, 1)
    assert row["first_snapshot_at"] == row["last_snapshot_at"] == poll(UNKNOWN_FIELDS)
    assert row["is_in_last_snapshot"] is False
    (until,) = ask(lake, "unknown_fields", to=(poll(UNKNOWN_FIELDS) + POLL / 2).isoformat())
    assert until["is_in_last_snapshot"] is True
    assert ask(lake, "unknown_fields", **{"from": poll(UNKNOWN_FIELDS + 1).isoformat()}) == []


def rated(fleet: Planted) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """(day, pool) to runs seen to end, those that failed, those not seen to end, and nodes."""
    by = defaultdict(list)
    for run in start_task_runs(fleet):
        if run.truth.started_at >= START:
            by[run.truth.started_at.date(), run.truth.pool_id].append(run)
    return {
        key: (
            len([run for run in runs if run.is_ended]),
            len([run for run in runs if run.has_failed]),
            len([run for run in runs if not run.is_ended]),
        )
        for key, runs in by.items()
    }


def test_the_start_task_failure_rate(fleet: Planted, lake: query.Connection) -> None:
    """Runs that listings showed, by day and pool; with the image each node had then."""
    rows = ask(lake, "start_task_failure_rate")
    found: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        sums = found[row["day"], row["pool_id"]]
        for place, name in enumerate(("runs", "failed_runs", "unended_runs")):
            sums[place] += row[name]
        assert row["failure_rate"] == pytest.approx(row["failed_runs"] / row["runs"], abs=1e-4)
        assert (row["top_cause"] is None) == (row["failed_runs"] == 0)
        named = (row["top_cause_runs"] or 0) + (row["second_cause_runs"] or 0)
        assert 0 <= named <= row["failed_runs"]
        assert row["failed_nodes"] <= min(row["nodes"], row["failed_runs"])
    assert {key: tuple(sums) for key, sums in found.items()} == rated(fleet)
    images = {row["image"] for row in rows if row["pool_id"] == "render"}
    assert len(images) == 2
    assert {row["failed_runs"] for row in rows if row["pool_id"] == "calm"} <= {0}


def test_the_top_causes(fleet: Planted, lake: query.Connection) -> None:
    """The commonest causes of a pool and day, in two images together no more than there were."""
    causes: Counter[tuple[Any, ...]] = Counter()
    for run in start_task_runs(fleet):
        if run.has_failed and run.truth.started_at >= START:
            code, exit_code = run.cause
            cause = f"{code} exit {exit_code}" if exit_code is not None else code
            causes[run.truth.started_at.date(), run.truth.pool_id, cause] += 1
    told: Counter[tuple[Any, ...]] = Counter()
    for row in ask(lake, "start_task_failure_rate"):
        for place in ("top", "second"):
            if row[f"{place}_cause"] is not None:
                told[row["day"], row["pool_id"], row[f"{place}_cause"]] += row[
                    f"{place}_cause_runs"
                ]
    assert told <= causes
    assert max(told, key=lambda key: told[key]) == max(causes, key=lambda key: causes[key])
    failures = {
        (r["pool_id"], r["failure_code"], r["exit_code"]): r["runs"]
        for r in ask(lake, "start_task_failures")
    }
    assert failures == Counter(
        (run.truth.pool_id, *run.cause) for run in start_task_runs(fleet) if run.has_failed
    )


def test_slots_are_used_as_the_polls_saw(fleet: Planted, lake: query.Connection) -> None:
    """Means of what was true at each listing of the hour; tasks by the hour they ended in."""
    slots = {"render": 1, "spot": 2, "training": 1, "calm": 1}
    running = defaultdict(list)
    for run in fleet.task_runs:
        running[run.pool_id].append(run)
    nodes: dict[tuple[str, datetime], Counter[datetime]] = defaultdict(Counter)
    shown = Counter((key[0], when) for key, moments in fleet.seen.items() for when in moments)
    for life in fleet.of(PoolLife):
        # a pool may be there before its nodes are
        for when in within(fleet.listings(life.pool_id), life.started_at, life.ended_at):
            hour = when.replace(minute=0, second=0, microsecond=0)
            nodes[life.pool_id, hour][when] = shown[life.pool_id, when]
    rows = {(r["pool_id"], r["started_at"]): r for r in ask(lake, "slot_utilisation")}
    assert {key for key, row in rows.items() if row["listed_hours"]} == nodes.keys()
    for (pool, hour), counts in nodes.items():
        row = rows[pool, hour]
        busy = [
            len(
                [
                    r
                    for r in running[pool]
                    if r.started_at <= w and (not r.ended_at or w < r.ended_at)
                ]
            )
            for w in counts
        ]
        mean_nodes, mean_busy = sum(counts.values()) / len(counts), sum(busy) / len(counts)
        assert row["nodes"] == pytest.approx(mean_nodes, abs=0.0051)
        assert row["slots"] == pytest.approx(mean_nodes * slots[pool], abs=0.0051)
        assert row["running_slots"] == pytest.approx(mean_busy, abs=0.0051)
        assert row["utilisation"] == pytest.approx(mean_busy / mean_nodes / slots[pool], abs=1e-4)
        done = row["tasks_finished"] + row["tasks_missed"]
        assert row["tasks_per_node_hour"] == pytest.approx(done / mean_nodes, abs=0.00051)


def test_every_task_is_counted_as_finished_or_missed(
    fleet: Planted, lake: query.Connection
) -> None:
    """Of those that ended after their node's first listing and by its last."""
    least: Counter[str] = Counter()
    early: Counter[str] = Counter()
    lives: dict[Key, list[datetime]] = fleet.seen
    for run in fleet.task_runs:
        moments = lives.get(incarnation(run))
        if run.is_final and run.ended_at is not None and moments:
            least[run.pool_id] += moments[0] < run.ended_at <= moments[-1]
            # a node's first listing may show some that have ended by then
            early[run.pool_id] += at("06:00") <= run.ended_at <= moments[0]
    whole = {"from": at("06:00").isoformat(), "step": "month"}
    rows = ask(lake, "slot_utilisation", **whole)
    found = Counter({r["pool_id"]: r["tasks_finished"] + r["tasks_missed"] for r in rows})
    assert least <= found <= least + early
    assert early.total() < 10
    (spot,) = ask(lake, "slot_utilisation", pool="spot", **whole)
    assert spot["tasks_missed"] > 20  # the outage alone hid more
    some = {"from": at("09:30").isoformat(), "to": at("11:30").isoformat()}
    hours = [r["started_at"] for r in ask(lake, "slot_utilisation", pool="calm", **some)]
    assert hours == [at("10:00"), at("11:00")]
