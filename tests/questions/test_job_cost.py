"""What jobs cost: shares of node time against the truth log, worked out in plain Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline import query
from pipeline.emulator import Emulator, Fleet, FleetConfig
from pipeline.emulator.config import PoolConfig, Rates, Work
from pipeline.emulator.truth import Membership, Record, StateInterval, TaskRun
from pipeline.lake import Lake
from tests.lakes import node, put, task
from tests.service import Service

START = datetime(2026, 11, 16, 20, 30, 0, 400_000, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 17, tzinfo=UTC)
POLL = timedelta(minutes=5)
POLLS = 72
#: No poll, from 23:25 to 00:10: a gap of 45 minutes over midnight.
OUTAGE = range(36, 44)
HOUR = timedelta(hours=1)
RANGES: tuple[dict[str, str], ...] = ({}, {"to": "2026-11-17"}, {"from": "2026-11-17"})
#: Hours: what times cut to the second may make of a few hundred runs and states.
ALLOWED = 0.05

#: Jobs share nodes, nodes come and go, are out of reach, preempted and rebooted.
FLEET = FleetConfig(
    pools=(
        PoolConfig(
            id="shared",
            vm_size="standard_d4s_v5",
            dedicated=5,
            task_slots=2,
            removals_per_day=8.0,
            id_reuse_rate=0.8,
            work=Work(jobs=3, task_minutes=20.0, failure_rate=0.1),
            rates=Rates(reboots=1.0, unusable=1.0, unknown=2.0, offline=1.0, deallocations=1.0),
        ),
        PoolConfig(
            id="spot",
            profile="spot",
            vm_size="standard_f16s_v2",
            dedicated=1,
            spot=4,
            task_slots=3,
            work=Work(jobs=2, task_minutes=25.0),
            rates=Rates(preemptions=3.0),
        ),
    )
)

Key = tuple[str, str, datetime]
"""An incarnation."""
Group = tuple[str, bool]
"""A pool's nodes of one kind."""
Piece = tuple[datetime, datetime]


@dataclass
class Recorded:
    """A lake, and what was true."""

    lake: Path
    records: tuple[Record, ...]
    polls: list[datetime]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Six hours of the fleet, polled every five minutes."""
    lake = Lake(tmp_path_factory.mktemp("job-cost") / "lake")
    fleet = Fleet(FLEET, seed=5, start=START)
    service = Service(Emulator(fleet, account="acc"))
    polls = []
    for number in range(POLLS):
        if number not in OUTAGE:
            fleet.advance(START + number * POLL)
            service.run(lake)
            polls.append(fleet.now)
    return Recorded(Path(lake.root), tuple(fleet.truth), polls)


@pytest.fixture(scope="module")
def lake(recorded: Recorded) -> Iterator[query.Connection]:
    """A connection to that lake."""
    with query.connect(recorded.lake) as connection:
        yield connection


def key_of(record: Record) -> Key:
    """The incarnation that a record is about."""
    return record.pool_id, record.node_id, record.allocation_time


class Truth:
    """True hours of a range: of jobs, each instant of a node shared by what ran there, and of uses."""

    def __init__(self, recorded: Recorded, given: dict[str, str]) -> None:
        self.polls = recorded.polls
        self.begin = MIDNIGHT if "from" in given else datetime(2026, 11, 16, tzinfo=UTC)
        self.end = MIDNIGHT if "to" in given else recorded.polls[-1]
        kinds: dict[Key, bool] = {}
        runs: dict[Key, list[TaskRun]] = defaultdict(list)
        states: dict[Key, list[StateInterval]] = defaultdict(list)
        for record in recorded.records:
            if isinstance(record, Membership):
                kinds[key_of(record)] = record.is_dedicated
            elif isinstance(record, TaskRun):
                runs[key_of(record)].append(record)
            elif isinstance(record, StateInterval):
                states[key_of(record)].append(record)
        self.jobs: dict[tuple[str, bool, str], float] = defaultdict(float)
        self.shown: dict[tuple[str, bool, str], float] = defaultdict(float)
        """The same, of runs that were going on at a poll: those a listing showed for certain."""
        self.free: dict[tuple[str, bool, str], float] = defaultdict(float)
        """Hours by state in which nothing ran."""
        self.unshown: dict[tuple[str, bool, str], float] = defaultdict(float)
        """Hours by state in which nothing ran that was going on at a poll."""
        for key, kind in kinds.items():
            if any(self.is_listed(each) for each in states[key]):
                self._share((key[0], kind), runs[key], states[key])

    def clipped(self, record: Record) -> Piece:
        """Its begin and end, within the range."""
        return max(record.started_at, self.begin), min(record.ended_at or self.end, self.end)

    def is_listed(self, record: Record) -> bool:
        """Whether it was going on at a poll."""
        ended_at = record.ended_at or self.polls[-1] + POLL
        return any(record.started_at <= poll < ended_at for poll in self.polls)

    def _share(self, group: Group, runs: list[TaskRun], states: list[StateInterval]) -> None:
        of_runs = [(*self.clipped(run), run, self.is_listed(run)) for run in runs]
        of_states = [(*self.clipped(state), state.state) for state in states]
        edges = sorted({moment for each in (*of_runs, *of_states) for moment in each[:2]})
        for begin, end in pairwise(edges):
            hours = (end - begin) / HOUR
            now = [each for each in of_runs if each[0] <= begin and end <= each[1]]
            for _, _, run, is_shown in now:
                self.jobs[*group, run.job_id] += hours / len(now)
                if is_shown:
                    self.shown[*group, run.job_id] += hours / len(now)
            for first, last, state in of_states:
                if first <= begin and end <= last:
                    self.free[*group, state] += 0 if now else hours
                    self.unshown[*group, state] += 0 if any(each[3] for each in now) else hours


def group_of(row: dict[str, Any]) -> Group:
    """The pool and kind of a row."""
    return row["pool_id"], row["is_dedicated"]


def jobs_in(rows: list[dict[str, Any]]) -> dict[tuple[str, bool, str], dict[str, Any]]:
    """The rows of jobs, by pool, kind and job."""
    return {(*group_of(row), row["job_id"]): row for row in rows if row["used_for"] == "job"}


@pytest.mark.parametrize("given", RANGES, ids=str)
def test_true_hours_of_each_job_lie_within_its_bounds(
    recorded: Recorded, lake: query.Connection, given: dict[str, str]
) -> None:
    """Certain hours are the least; possible hours are the most of what a listing showed."""
    truth = Truth(recorded, given)
    answered = jobs_in(lake.ask("job_cost", **given).to_pylist())
    assert {key for key, hours in truth.shown.items() if hours > 0} <= answered.keys()
    for key, row in answered.items():
        assert row["certain_hours"] <= row["hours"] + 1e-9, row
        assert row["hours"] <= row["possible_hours"] + 1e-9, row
        assert row["certain_hours"] <= truth.jobs[key] + 0.002, (row, truth.jobs[key])
        assert truth.shown[key] - 0.002 <= row["possible_hours"], (row, truth.shown[key])
        assert key in truth.jobs or row["hours"] == pytest.approx(0, abs=1e-6), row


def test_hours_of_jobs_are_near_the_truth(recorded: Recorded, lake: query.Connection) -> None:
    """Of what listings showed, within 3 percent in all; jobs shared nodes, so it is no sum of runs."""
    truth = Truth(recorded, {"from": "2026-11-17"})
    answered = jobs_in(lake.ask("job_cost", **{"from": "2026-11-17"}).to_pylist())
    hours = sum(row["hours"] for row in answered.values())
    assert pytest.approx(sum(truth.jobs.values()), rel=0.03) == hours
    runs = [each for each in recorded.records if isinstance(each, TaskRun)]
    clipped = [truth.clipped(run) for run in runs]
    alone = sum(max((end - begin) / HOUR, 0) for begin, end in clipped)
    assert alone > 1.3 * hours


@pytest.mark.parametrize("given", RANGES, ids=str)
def test_the_hours_of_a_pool_are_its_node_hours(
    recorded: Recorded, lake: query.Connection, given: dict[str, str]
) -> None:
    """Jobs and the rest are all of node_hours; the true sum lies within the sums of the bounds."""
    sums: dict[Group, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for row in lake.ask("job_cost", **given).to_pylist():
        for place, column in enumerate(("certain_hours", "hours", "possible_hours")):
            sums[group_of(row)][place] += row[column]
    counted: dict[Group, float] = defaultdict(float)
    least: dict[Group, float] = defaultdict(float)
    for row in lake.ask("node_hours", **given).to_pylist():
        counted[group_of(row)] += row["hours"]
        least[group_of(row)] += row["certain_hours"]
    assert counted.keys() == sums.keys()
    for group, (certain, hours, possible) in sums.items():
        assert pytest.approx(counted[group], abs=0.01) == hours
        assert certain <= counted[group] <= possible
        assert certain <= hours <= possible
        assert possible >= least[group]


USES = {
    "running": ("running",),
    "idle": ("idle",),
    "broken": ("unusable", "starttaskfailed", "offline", "unknown"),
    "no machine": ("preempted", "deallocated"),
}


@pytest.mark.parametrize("given", RANGES, ids=str)
def test_true_hours_without_a_job_lie_within_their_bounds(
    recorded: Recorded, lake: query.Connection, given: dict[str, str]
) -> None:
    """Idle, broken, without a machine; running is what no listing showed a task of."""
    truth = Truth(recorded, given)
    found = set()
    for row in lake.ask("job_cost", **given).to_pylist():
        states = USES.get(row["used_for"], ())
        if row["used_for"] != "job":
            assert row["job_id"] is None
        if states:
            found.add(row["used_for"])
            free = sum(truth.free[*group_of(row), state] for state in states)
            unshown = sum(truth.unshown[*group_of(row), state] for state in states)
            assert row["certain_hours"] <= unshown + ALLOWED, (row, unshown)
            assert free - ALLOWED <= row["possible_hours"], (row, free)
    assert found >= {"running", "idle", "broken", "no machine"} - (
        {"broken", "no machine"} if given else set()
    )


# tiny lakes


@pytest.fixture
def tiny(tmp_path: Path) -> Lake:
    """A lake to put listings in."""
    return Lake(tmp_path / "lake")


def ask(lake: Lake, **given: Any) -> list[dict[str, Any]]:
    """The answer, by pool, use and job."""
    prices = given.pop("prices", None)
    with query.connect(lake, prices=prices) as connection:
        rows: list[dict[str, Any]] = connection.ask("job_cost", **given).to_pylist()
    return sorted(rows, key=lambda row: (row["pool_id"], row["used_for"], row["job_id"] or ""))


def minutes(rows: list[dict[str, Any]]) -> dict[str, tuple[float, float, float]]:
    """hours, certain and possible hours by job, or by use, in minutes."""
    return {
        row["job_id"] or row["used_for"]: tuple(  # type: ignore[misc]
            round(row[column] * 60, 6) for column in ("hours", "certain_hours", "possible_hours")
        )
        for row in rows
    }


def busy(*tasks: dict[str, Any], since: str = "00:10", **columns: Any) -> dict[str, Any]:
    """A node that runs these tasks."""
    return node("n", "running", since, tasks=tasks, **columns)


def test_runs_at_the_same_time_share_each_instant(tiny: Lake) -> None:
    """a: 10 minutes alone, 20 shared by two, 10 by three; b and c the rest of these."""
    tasks = [
        task("1", "00:10", "00:50", job_id="a"),
        task("2", "00:20", "01:00", job_id="b"),
        task("3", "00:40", "00:50", job_id="c"),
    ]
    put(tiny, "00:00", {"p": [node("n")]})
    put(tiny, "01:00", {"p": [node("n", "idle", "01:00", tasks=tasks)]})
    third = 10 / 3
    found = minutes(ask(tiny))
    assert {"a": 10 + 10 + third, "b": 10 + third + 10, "c": third} == pytest.approx(
        {job: found[job][0] for job in "abc"}
    )
    assert all(pytest.approx(found[job][0]) == value for job in "abc" for value in found[job])
    assert pytest.approx(60) == sum(hours for hours, _, _ in found.values())


def test_a_run_without_an_end_is_certain_to_its_last_listing(tiny: Lake) -> None:
    """And possible until the next one without it: b has less for certain while a may go on."""
    a, b = task("1", "00:10", job_id="a"), task("2", "00:10", job_id="b")
    put(tiny, "00:10", {"p": [busy(a, b)]})
    put(tiny, "00:20", {"p": [busy(a, b)]})
    put(tiny, "00:30", {"p": [busy(b, task("3", "00:30", job_id="c"))]})
    found = minutes(ask(tiny))
    assert ((10, 5, 10), (10, 10, 15)) == (found["a"], found["b"])
    assert "c" not in found


def test_a_run_had_ended_when_its_node_became_idle(tiny: Lake) -> None:
    """At the service's own time, sooner than the listing."""
    put(tiny, "00:10", {"p": [busy(task("1", "00:10"))]})
    put(tiny, "00:20", {"p": [busy(task("1", "00:10"))]})
    put(tiny, "00:30", {"p": [node("n", "idle", "00:24")]})
    assert (14, 10, 14) == minutes(ask(tiny))["job"]


def test_a_run_had_ended_when_the_next_attempt_began(tiny: Lake) -> None:
    """A retry is a run of its own; the two are never at once."""
    put(tiny, "00:10", {"p": [busy(task("1", "00:10"))]})
    put(tiny, "00:20", {"p": [busy(task("1", "00:13", "00:19"))]})
    assert (9, 6, 9) == minutes(ask(tiny))["job"]


def test_after_a_long_gap_hours_end_with_the_last_listing(tiny: Lake) -> None:
    """More than 15 minutes: possible only, as node_hours has it under unobserved."""
    put(tiny, "00:10", {"p": [busy(task("1", "00:10"))]})
    put(tiny, "00:20", {"p": [busy(task("1", "00:10"))]})
    put(tiny, "01:20", {"p": [node("n", "idle", "01:10")]})
    found = minutes(ask(tiny))
    assert (10, 10, 60) == found["job"]
    assert 50 + 10 == found["unobserved"][0]  # 10 from its allocation to its first state


def test_tasks_that_no_listing_showed_lower_what_is_certain(tiny: Lake) -> None:
    """Two came and went beside it: for those 10 minutes a third may be its share."""
    run = task("1", "00:10")
    put(tiny, "00:10", {"p": [busy(run, total_tasks_run=5)]})
    put(tiny, "00:20", {"p": [busy(run, total_tasks_run=7)]})
    put(tiny, "00:30", {"p": [busy(run, total_tasks_run=7)]})
    assert pytest.approx((20, 10 / 3 + 10, 20)) == minutes(ask(tiny))["job"]


def test_a_run_is_clipped_to_the_days_that_node_hours_counts(tiny: Lake) -> None:
    """From 23:00 to 01:00 three days later: an hour on the first and the last day, alone."""
    begun = task("1", "0 23:00")
    put(tiny, "0 23:00", {"p": [busy(begun, since="0 23:00", allocated="0 23:00")]})
    put(tiny, "0 23:30", {"p": [busy(begun, since="0 23:00", allocated="0 23:00")]})
    ended = task("1", "0 23:00", "3 01:00")
    put(tiny, "3 02:00", {"p": [node("n", "idle", "3 01:00", allocated="0 23:00", tasks=[ended])]})
    with query.connect(tiny) as connection:
        counted: dict[str, float] = defaultdict(float)
        for row in connection.ask("node_hours").to_pylist():
            if row["state"] in ("running", "unobserved"):
                counted[str(row["day"])] += row["hours"] * 60
    assert (60, 60) == (counted["2026-11-16"], counted["2026-11-19"])
    whole = minutes(ask(tiny))["job"]
    assert pytest.approx((sum(counted.values()),) * 3) == whole
    assert (60,) * 3 == minutes(ask(tiny, to="2026-11-17"))["job"]
    assert (60,) * 3 == minutes(ask(tiny, **{"from": "2026-11-19"}))["job"]
    between = minutes(ask(tiny, **{"from": "2026-11-17", "to": "2026-11-19"}))
    assert sum(counted.values()) - 120 == between.get("job", (0,))[0]


def test_a_run_open_over_the_start_of_the_range_is_possible_in_it(tiny: Lake) -> None:
    """The range begins between the listing that showed it last and the next one."""
    run = task("1", "0 23:00")
    put(tiny, "0 23:00", {"p": [busy(run, since="0 23:00")]})
    put(tiny, "0 23:55", {"p": [busy(run, since="0 23:00")]})
    other = task("2", "1 00:04", job_id="other")
    put(tiny, "1 00:05", {"p": [busy(other, since="0 23:00")]})
    put(tiny, "1 00:15", {"p": [busy(other, since="0 23:00")]})
    found = minutes(ask(tiny, **{"from": "2026-11-17"}))
    assert ((4.5, 0, 4.5), (10.5, 10.5, 11)) == (found["job"], found["other"])


def test_money_is_hours_times_the_price_and_no_machine_costs_nothing(
    tiny: Lake, tmp_path: Path
) -> None:
    """Of its size and kind; null without a price; a currency a row."""
    prices = tmp_path / "prices.csv"
    prices.write_text(
        "vm_size,kind,price_per_hour,currency\nsmall,dedicated,6,EUR\nbig,spot,60,USD\n"
    )
    done = [task("1", "00:10", "00:30")]
    size = {"vm_size": "Big", "is_dedicated": False}
    pools = {
        "p": [node("n", "idle", "00:30", tasks=done)],
        "q": [node("n", "preempted", "00:30", tasks=done, **size)],
        "r": [node("n", "idle", "00:30", tasks=done, is_dedicated=None)],
    }
    put(tiny, "00:50", pools)
    put(tiny, "01:00", pools)
    rows = ask(tiny, prices=prices)
    found = {(row["pool_id"], row["used_for"]): row for row in rows}
    for (pool, used_for), row in found.items():
        price, currency = {"p": (6, "EUR"), "q": (60, "USD"), "r": (None, None)}[pool]
        if used_for == "no machine":
            price = 0
        for hours, cost in (
            ("hours", "cost"),
            ("certain_hours", "certain_cost"),
            ("possible_hours", "possible_cost"),
        ):
            expected = None if price is None else pytest.approx(row[hours] * price)
            assert expected == row[cost]
        assert currency == row["currency"]
    assert {(pool, "job") for pool in "pqr"} < found.keys()
    assert pytest.approx(2.0) == found["p", "job"]["cost"]
    assert ("q", "no machine") in found
    without = ask(tiny)
    assert [row["hours"] for row in rows] == [row["hours"] for row in without]
    assert {None} == {row["cost"] for row in without} | {row["currency"] for row in without}


def test_nodes_that_run_nothing_and_pools_of_their_own(tiny: Lake) -> None:
    """pool= gives the rows of that pool; a node without a task has no job."""
    pools = {"p": [node("n")], "q": [busy(task("1", "00:10"))]}
    put(tiny, "00:10", pools)
    put(tiny, "00:20", pools)
    rows = ask(tiny)
    assert {("p", "idle", None), ("q", "job", "job"), ("q", "unobserved", None)} == {
        (row["pool_id"], row["used_for"], row["job_id"]) for row in rows if row["hours"]
    }
    assert rows == ask(tiny, pool="p") + ask(tiny, pool="q")
    assert [] == ask(tiny, pool="' or true --")


def test_an_empty_lake_gives_columns(tiny: Lake) -> None:
    """Those of the header."""
    with query.connect(tiny) as connection:
        answer = connection.ask("job_cost")
    assert (0, query.questions()["job_cost"].columns) == (
        answer.num_rows,
        tuple(answer.column_names),
    )
