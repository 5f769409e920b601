"""Nodes in trouble: stuck, flapping, black holes, storms. Each is found, and no one else is accused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from pipeline import query
from tests.questions.planted import START, Key, Planted, at, incarnation
from tests.questions.seen import (
    Run,
    by_date_header,
    key_of,
    start_task_runs,
    stays,
)

PASSING = (
    "creating starting waitingforstarttask rebooting reimaging leavingpool deallocating upgradingos"
).split()
TROUBLE = "unusable unknown starttaskfailed rebooting reimaging".split()
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def ask(lake: query.Connection, name: str, **parameters: object) -> list[dict[str, Any]]:
    """The rows of an answer."""
    rows: list[dict[str, Any]] = lake.ask(name, **parameters).to_pylist()
    return rows


def test_the_stuck_node_is_found_and_only_it(fleet: Planted, lake: query.Connection) -> None:
    """It waits for its start task still, since long before the record."""
    (row,) = ask(lake, "stuck_nodes")
    assert key_of(row) == fleet.odd("stuck")
    assert (row["state"], row["is_stuck_now"], row["next_state"]) == (
        "waitingforstarttask",
        True,
        None,
    )
    (truth,) = [s for s in fleet.states if incarnation(s) == fleet.odd("stuck")]
    assert row["state_transition_time"] == truth.started_at
    assert row["at_most_minutes"] is None
    assert ask(lake, "stuck_nodes", pool="spot") == []


@pytest.mark.parametrize("minutes", [0.5, 3, 8])
def test_stays_in_a_passing_state_are_as_long_as_listings_can_tell(
    fleet: Planted, lake: query.Connection, minutes: float
) -> None:
    """At least to the last listing that showed them, and never less than they truly lasted."""
    expected = {
        (key, stay.truth.state, stay.truth.started_at): stay
        for key, of_node in stays(fleet).items()
        for stay in of_node
        if stay.truth.state in PASSING
        and by_date_header(stay.last) - stay.truth.started_at > minutes * MINUTE
    }
    rows = ask(lake, "stuck_nodes", minutes=minutes)
    found = {(key_of(row), row["state"], row["state_transition_time"]): row for row in rows}
    assert found.keys() == expected.keys()
    assert len(found) == len(rows)
    for key, row in found.items():
        stay = expected[key]
        certain = (by_date_header(stay.last) - stay.truth.started_at) / MINUTE
        assert row["certain_minutes"] == pytest.approx(certain, abs=0.051)
        end = stay.truth.ended_at
        assert row["is_stuck_now"] == (row["at_most_minutes"] is None)
        if row["at_most_minutes"] is not None:
            assert end is not None
            lasted = (end - stay.truth.started_at) / MINUTE
            assert certain - 0.06 <= lasted <= row["at_most_minutes"] + 0.06


def test_a_stay_is_counted_where_it_meets_the_range(fleet: Planted, lake: query.Connection) -> None:
    """Whole, though it began before and goes on after; not where the range is past or to come."""
    early = {"to": "2026-11-09"}
    assert ask(lake, "stuck_nodes", **early) == []
    during = {"from": at("11:07").isoformat(), "to": at("11:08").isoformat()}
    (row,) = ask(lake, "stuck_nodes", **during)
    assert (key_of(row), row["certain_minutes"] > 9000) == (fleet.odd("stuck"), True)
    assert ask(lake, "stuck_nodes", **{"from": "2026-11-18"}) == []
    assert ask(lake, "stuck_nodes", state="starting") == []


def entries(fleet: Planted) -> dict[Key, tuple[list[datetime], list[datetime]]]:
    """When each node was seen to fall into trouble, and to come out of it."""
    found: dict[Key, tuple[list[datetime], list[datetime]]] = {}
    for key, of_node in stays(fleet).items():
        fell, rose = found.setdefault(key, ([], []))
        for before, after in pairwise(stay.truth for stay in of_node):
            if after.state in TROUBLE and before.state not in TROUBLE:
                fell.append(after.started_at)
            elif before.state in TROUBLE and after.state not in TROUBLE:
                rose.append(after.started_at)
            elif before.state == after.state and before.state in TROUBLE:
                fell.append(after.started_at)
                rose.append(after.started_at)
    return found


def test_the_flapping_node_is_found_and_only_it(fleet: Planted, lake: query.Connection) -> None:
    """As often as listings could show, in the day and in an hour of it."""
    (row,) = ask(lake, "flapping_nodes")
    assert key_of(row) == fleet.odd("flapping")
    fell, rose = entries(fleet)[fleet.odd("flapping")]
    true = [
        s for s in fleet.states if incarnation(s) == fleet.odd("flapping") and s.state == "unusable"
    ]
    assert (row["entries"], row["exits"]) == (len(fell), len(rose))
    assert 10 < row["entries"] <= len(true)
    assert (row["first_entered_at"], row["last_entered_at"]) == (fell[0], fell[-1])
    shortest = min(after - before for before, after in zip(fell, fell[4:], strict=False))
    assert row["shortest_hours"] == pytest.approx(shortest / HOUR, abs=0.0051)
    assert row["last_trouble_state"] == "unusable"


def test_every_fall_that_listings_show_is_counted(fleet: Planted, lake: query.Connection) -> None:
    """Of every node of the fleet; a node that fell five times in five days is no flapping one."""
    expected = {
        key: (len(fell), len(rose), fell[0], fell[-1])
        for key, (fell, rose) in entries(fleet).items()
        if fell
    }
    found = {
        key_of(row): (
            row["entries"],
            row["exits"],
            row["first_entered_at"],
            row["last_entered_at"],
        )
        for row in ask(lake, "flapping_nodes", entries=1)
    }
    assert found == expected
    assert len(found) > 10
    begin, end = at("12:00"), at("18:00")
    within = {
        key: len([when for when in fell if begin <= when < end])
        for key, (fell, _) in entries(fleet).items()
    }
    rows = ask(
        lake, "flapping_nodes", entries=1, **{"from": begin.isoformat(), "to": end.isoformat()}
    )
    assert {key_of(row): row["entries"] for row in rows} == {
        key: count for key, count in within.items() if count
    }


@pytest.mark.parametrize("count", [2, 3, 5])
def test_so_many_falls_must_come_within_the_hours(
    fleet: Planted, lake: query.Connection, count: int
) -> None:
    """Half an hour takes in those that come close together, and no others."""
    rows = ask(lake, "flapping_nodes", entries=count, hours=0.5)
    assert {key_of(row) for row in rows} == {
        key
        for key, (fell, _) in entries(fleet).items()
        if any(
            after - before <= HOUR / 2
            for before, after in zip(fell, fell[count - 1 :], strict=False)
        )
    }


def test_the_black_hole_is_found_and_only_it(fleet: Planted, lake: query.Connection) -> None:
    """With every task it swallowed since the first listing: seen to end, or counted as missed."""
    (row,) = ask(lake, "black_hole_nodes", **{"from": START.isoformat()})
    hole = fleet.odd("black_hole")
    assert key_of(row) == hole
    last = fleet.seen[hole][-1]
    true = [
        run
        for run in fleet.task_runs
        if incarnation(run) == hole
        and run.is_final
        and run.ended_at is not None
        and START <= run.ended_at <= last
    ]
    assert row["ended_runs"] + row["missed_runs"] == len(true)
    assert row["short_failures"] == row["ended_runs"]
    assert row["short_failure_rate"] == 1
    assert row["missed_runs"] > 50  # a task a minute, four to be seen every five minutes
    assert row["others_rate"] < 0.05
    assert row["exit_code_runs"] < row["short_failures"]
    assert {run.exit_code for run in true} >= {row["exit_code"]}
    assert 5 <= row["mean_seconds"] <= 25
    assert row["total_tasks_run"] - row["total_tasks_succeeded"] >= len(true)


def test_black_holes_are_of_their_time(fleet: Planted, lake: query.Connection) -> None:
    """A range counts the runs that ended in it; a threshold beyond them accuses no one."""
    span = {"from": at("12:00").isoformat(), "to": at("13:00").isoformat()}
    (row,) = ask(lake, "black_hole_nodes", failures=3, **span)
    assert key_of(row) == fleet.odd("black_hole")
    assert at("12:00") <= row["last_end_time"] < at("13:00")
    assert row["jobs"] <= 2
    whole = ask(lake, "black_hole_nodes", failures=1, rate=0, others=1)
    assert whole == ask(lake, "black_hole_nodes", failures=1, rate=0, others=1, to="2100-01-01")
    assert len(whole) >= 3
    assert ask(lake, "black_hole_nodes", failures=1000) == []
    assert ask(lake, "black_hole_nodes", seconds=1) == []
    for pool in ("spot", "training", "calm"):
        assert ask(lake, "black_hole_nodes", pool=pool, failures=1, rate=0.5) == []


Storm = tuple[str, tuple[str | None, int | None], datetime, datetime, int, int, int]


def storms(runs: Iterable[Run], nodes: int, minutes: float, rate: float) -> list[Storm]:
    """(pool, cause, first failure, last, nodes, failures, runs of the pool at that time).

    By the definition: stretches of so many minutes in which so many nodes fail, joined where they
    overlap. A stretch ends at a failure, or just before one falls out of it. What ended before the
    first listing says nothing: of that only nodes that lived on are known.
    """
    width = minutes * MINUTE
    watched = START.replace(microsecond=0)
    ended = [run for run in runs if run.is_ended and (run.truth.ended_at or watched) >= watched]
    failures = defaultdict(list)
    for run in ended:
        if run.has_failed:
            assert run.truth.ended_at is not None
            moment = run.truth.ended_at
            failures[run.truth.pool_id, run.cause].append((moment, incarnation(run.truth)))
    found: list[Storm] = []
    for (pool, cause), of_cause in failures.items():
        ends = sorted({m for m, _ in of_cause} | {m + width for m, _ in of_cause})
        stretches: list[tuple[datetime, datetime]] = []
        for end in ends:
            if len({key for moment, key in of_cause if end - width <= moment <= end}) < nodes:
                continue
            if stretches and end - width <= stretches[-1][1]:
                stretches[-1] = (stretches[-1][0], end)
            else:
                stretches.append((end - width, end))
        for begin, end in stretches:
            inside = [(moment, key) for moment, key in of_cause if begin <= moment <= end]
            first, last = min(inside)[0], max(inside)[0]
            begun = min(
                run.truth.started_at
                for run in ended
                if (run.truth.pool_id, run.cause) == (pool, cause)
                and first <= (run.truth.ended_at or first) <= last
            )
            meanwhile = [
                run
                for run in ended
                if run.truth.pool_id == pool
                and run.truth.ended_at is not None
                and run.truth.ended_at >= begun
                and run.truth.started_at <= last
            ]
            if len([run for run in meanwhile if run.has_failed]) >= rate * len(meanwhile):
                machines = len({key for _, key in inside})
                found.append((pool, cause, first, last, machines, len(inside), len(meanwhile)))
    return found


def told(rows: Iterable[dict[str, Any]]) -> list[Storm]:
    """The same of an answer."""
    return [
        (
            row["pool_id"],
            (row["failure_code"], row["exit_code"]),
            row["started_at"],
            row["ended_at"],
            row["nodes"],
            row["failed_runs"],
            row["pool_runs"],
        )
        for row in rows
    ]


def test_the_storm_is_found_and_no_other(fleet: Planted, lake: query.Connection) -> None:
    """Between 11:00 and 12:00, in the pool it was planted in; its causes one by one."""
    rows = ask(lake, "start_task_storms")
    assert sorted(told(rows), key=str) == sorted(
        storms(start_task_runs(fleet), 3, 30, 0.3), key=str
    )
    assert rows
    for row in rows:
        assert (row["pool_id"], row["pool_failure_rate"] >= 0.8) == ("render", True)
        assert at("11:00") <= row["started_at"] <= row["ended_at"] < at("12:10")
    assert max(row["nodes"] for row in rows) >= 5
    assert ask(lake, "start_task_storms", **{"from": at("12:30").isoformat()}) == []
    assert ask(lake, "start_task_storms", pool="calm", nodes=1, rate=0) == []


@pytest.mark.parametrize(
    ("nodes", "minutes", "rate"),
    [(1, 30, 0), (2, 5, 0), (2, 600, 0), (2, 1, 0.5), (4, 10, 0.9), (1, 3, 0.6)],
)
def test_storms_are_by_their_definition(
    fleet: Planted, lake: query.Connection, nodes: int, minutes: float, rate: float
) -> None:
    """Whatever so many nodes, so many minutes and that share make of the failures seen."""
    rows = ask(lake, "start_task_storms", nodes=nodes, minutes=minutes, rate=rate)
    expected = storms(start_task_runs(fleet), nodes, minutes, rate)
    assert sorted(told(rows), key=str) == sorted(expected, key=str)
