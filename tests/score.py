"""The score: what history says of a recorded fleet against what happened in it, without SQL."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pipeline import query
from pipeline.emulator import Emulator, Fleet, FleetConfig
from pipeline.emulator.config import (
    Autoscale,
    FaultyNodes,
    PoolConfig,
    Rates,
    Resize,
    StartTask,
    Work,
)
from pipeline.lake import Lake
from tests.service import Service

Key = tuple[Any, ...]

#: A Date header is cut to the second, and the service's clocks may differ a little.
ALLOWED = timedelta(seconds=2)
HOUR = timedelta(hours=1)


def fleet_config(scale: float = 1.0) -> FleetConfig:
    """Four pools that grow, shrink, are preempted, deleted and made; ids are reused often."""

    def some(nodes: int) -> int:
        return max(2, round(nodes * scale))

    return FleetConfig(
        pools=(
            PoolConfig(
                id="render",
                dedicated=some(12),
                autoscale=Autoscale(min_dedicated=some(6), max_dedicated=some(16)),
                start_task=StartTask(failure_rate=0.15, changes_after_hours=(7.0,)),
                faulty_nodes=FaultyNodes(black_hole=1, flapping=1, stuck=1),
                agent_releases_after_hours=(5.0,),
                removals_per_day=8.0,
                id_reuse_rate=0.8,
            ),
            PoolConfig(
                id="spot",
                profile="spot",
                spot=some(10),
                task_slots=2,
                work=Work(task_minutes=8, gang_every_hours=6.0, gang_size=3),
                rates=Rates(preemptions=2.0, reboots=0.5, errors=0.5),
                preemption_wave_hours=(3.5, 13.25),
            ),
            PoolConfig(
                id="short",
                dedicated=some(4),
                work=Work(task_minutes=1.5, idle_minutes=0.5),
                delete_after_hours=15.0,
            ),
            PoolConfig(
                id="late",
                profile="containers",
                dedicated=some(5),
                create_after_hours=6.0,
                start_task=StartTask(failure_rate=0.3, retry_limit=1),
                resizes=(Resize(after_hours=12.0, dedicated=some(2)),),
            ),
        )
    )


@dataclass
class Record:
    """A recorded fleet: its truth, its lake, and when exactly each snapshot was taken."""

    fleet: Fleet
    lake: Lake
    taken_at: dict[str, datetime] = field(default_factory=dict)


def record(
    lake: Lake,
    start: datetime,
    *,
    hours: float,
    minutes: float,
    scale: float = 1.0,
    seed: int = 11,
) -> Record:
    """Lets a fleet live and takes snapshots of it, some of them marred: seeded, so repeatable.

    About one listing in 30 fails, one in 60 breaks off, one in 60 misses a node, and twice nothing
    is polled for more than 15 minutes. Polls come up to 20 seconds late, at fractions of a second.
    """
    fleet = Fleet(fleet_config(scale), seed=seed, start=start)
    service = Service(Emulator(fleet, page_limit=5))
    recorded = Record(fleet, lake)
    rng = random.Random(seed)
    count = int(hours * 60 / minutes)
    outages = [(count // 3, 40), (2 * count // 3, 25)]
    for number in range(count):
        if any(begin <= number < begin + length / minutes for begin, length in outages):
            continue
        late = timedelta(seconds=rng.uniform(0, 20))
        fleet.advance(start + number * timedelta(minutes=minutes) + late)
        faults = service.emulator.faults
        faults.clear()
        pool = rng.choice(fleet.config.pools).id
        drawn = rng.random()
        if drawn < 1 / 30:
            service.fault("forbidden", route="nodes", pool=pool)
        elif drawn < 3 / 60:
            service.fault("forbidden", route="nodes", pool=pool, page=2)
        elif drawn < 4 / 60:
            service.fault("vanishing_nodes", route="nodes", pool=pool, count=1)
        elif drawn < 5 / 60:
            service.fault("wrong_types", route="nodes", pool=pool, count=1)
        elif drawn < 5.5 / 60:
            service.fault("forbidden", route="pools")
        outcome = service.run(lake)
        recorded.taken_at[str(outcome.row["snapshot_id"])] = fleet.now
    return recorded


def incarnation(row: Any) -> Key:
    """(pool, node, allocation) of a row of a fact or of the truth."""
    if isinstance(row, dict):
        return row["pool_id"], row["node_id"], row["allocation_time"]
    return row.pool_id, row.node_id, row.allocation_time


class Score:
    """What is wrong with the history of a record, and how much of it was checked."""

    def __init__(self, recorded: Record) -> None:
        self.recorded = recorded
        self.truth = recorded.fleet.truth
        self.wrong: list[str] = []
        self.checked: Counter[str] = Counter()
        with query.connect(recorded.lake) as connection:
            self.facts = {
                name: connection.table(f"from {name}").to_pylist()
                for name in (*query.history.FACTS, "pools", "snapshots")
            }
            self.nodes = connection.table(
                "select snapshot_id, pool_id, node_id, allocation_time, observed_at, "
                "is_malformed, total_tasks_run from nodes order by observed_at"
            ).to_pylist()
            self.tasks = connection.table(
                "select snapshot_id, pool_id, node_id, allocation_time, job_id, task_id, "
                "subtask_id, start_time, task_state from recent_tasks"
            ).to_pylist()
        self.last_seen = {
            incarnation(row): row["last_observed_at"] for row in self.facts["node_incarnations"]
        }

    def check(self, what: str, is_right: bool, detail: object) -> None:
        """Counts one comparison; keeps it where it failed."""
        self.checked[what] += 1
        if not is_right:
            self.wrong.append(f"{what}: {detail}")

    def all(self) -> Score:
        """Every part of the score."""
        self.states()
        self.lives()
        self.task_runs()
        self.task_gaps()
        self.start_task_runs()
        self.boots()
        self.errors()
        self.hours()
        self.pool_hours()
        return self

    def states(self) -> None:
        """Starts exact, ends inside their bounds, and every end known that two proofs have shown."""
        truth = {
            (*incarnation(each), each.state, each.started_at): each for each in self.truth.states
        }
        seen: set[Key] = set()
        for row in self.facts["node_states"]:
            key = (*incarnation(row), row["state"], row["state_transition_time"])
            self.check("state seen once", key not in seen, key)
            seen.add(key)
            self.check("state start exact", key in truth, key)
            if key not in truth:
                continue
            end = truth[key].ended_at
            after, before = row["ended_after"], row["ended_before"]
            if before is None:
                is_right = end is None or end >= after - ALLOWED
            else:
                is_right = end is not None and after - ALLOWED <= end <= before + ALLOWED
            self.check("state end inside its bounds", is_right, (key, after, end, before))
            if before is not None:
                self.checked["state end bounded"] += 1

    def lives(self) -> None:
        """No one declared gone who was there, everybody who had gone is, ids never merged."""
        truth = {incarnation(each): each for each in self.truth.memberships}
        proofs = defaultdict(list)
        for row in self.facts["pools"]:
            if row["listing"] == "complete":
                proofs[row["pool_id"]].append(row["listing_finished_at"])
        lists = sorted(
            row["pool_listing_finished_at"]
            for row in self.facts["snapshots"]
            if row["pool_listing"] == "complete"
        )
        seen: set[Key] = set()
        for row in self.facts["node_incarnations"]:
            key = incarnation(row)
            self.check("incarnation seen once", key not in seen, key)
            seen.add(key)
            self.check("incarnation true", key in truth, key)
            if key not in truth:
                continue
            left = truth[key].left_at
            if row["ended_by"] is not None:
                is_right = left is not None and (
                    row["ended_after"] - ALLOWED <= left <= row["ended_before"] + ALLOWED
                )
                self.check("gone when it says", is_right, (key, left, row))
                if row["ended_by"] == "absent":
                    is_proof = row["ended_before"] in proofs[row["pool_id"]]
                    self.check("gone by a complete listing", is_proof, row)
            elif left is not None:
                later = [at for at in proofs[row["pool_id"]] if at > left + ALLOWED]
                self.check("gone is known", len(later) < 2, (key, left, later[:2]))
                if not later:
                    gone_pool = self._pool_gone(row["pool_id"], left)
                    late_lists = [at for at in lists if gone_pool and at > gone_pool + ALLOWED]
                    self.check("gone with its pool is known", not late_lists, (key, left))
        ids = Counter(key[:2] for key in seen)
        self.checked["reused ids kept apart"] = sum(count > 1 for count in ids.values())
        expected = {incarnation(row) for row in self.nodes if row["allocation_time"] is not None}
        self.check("every listed node is there", seen == expected, seen ^ expected)

    def _pool_gone(self, pool_id: str, _: datetime) -> datetime | None:
        from pipeline.emulator.truth import PoolLife

        return next(life.ended_at for life in self.truth.of(PoolLife) if life.pool_id == pool_id)

    def task_runs(self) -> None:
        """Every run that was ever listed, exactly once, and as it was."""
        truth = {
            (*incarnation(e), e.job_id, e.task_id, e.subtask_id, e.started_at): e
            for e in self.truth.task_runs
        }

        def key_of(row: dict[str, Any]) -> Key:
            task = row["job_id"], row["task_id"], row["subtask_id"], row["start_time"]
            return (*incarnation(row), *task)

        listed = {key_of(row) for row in self.tasks}
        harvested = Counter(key_of(row) for row in self.facts["task_runs"])
        self.check("task runs harvested", set(harvested) == listed, set(harvested) ^ listed)
        self.checked["task runs harvested"] = len(listed)
        for key, count in harvested.items():
            self.check("task run once", count == 1, key)
        for row in self.facts["task_runs"]:
            key = key_of(row)
            # what ran before the truth log began is not in it
            known = row["start_time"] >= self.recorded.fleet.start
            self.check("task run true", key in truth or not known, key)
            if key in truth and row["end_time"] is not None:
                run = truth[key]
                is_right = (run.ended_at, run.exit_code, run.outcome) == (
                    row["end_time"],
                    row["exit_code"],
                    row["result"],
                )
                self.check("task end exact", is_right, row)

    def task_gaps(self) -> None:
        """Missed runs, exactly where they were missed."""
        observed = defaultdict(list)
        for row in self.nodes:
            if not row["is_malformed"]:
                at = self.recorded.taken_at[row["snapshot_id"]]
                observed[incarnation(row)].append((at, row["observed_at"], row["snapshot_id"]))
        completed = {
            (
                row["snapshot_id"],
                *incarnation(row),
                row["job_id"],
                row["task_id"],
                row["subtask_id"],
                row["start_time"],
            )
            for row in self.tasks
            if row["task_state"] == "completed"
        }
        expected: Counter[Key] = Counter()
        for run in self.truth.task_runs:
            key = incarnation(run)
            if not run.is_final or run.ended_at is None or key not in observed:
                continue
            seen = observed[key]
            later = next((i for i, (at, _, _) in enumerate(seen) if at >= run.ended_at), None)
            if not later:  # after the last listing, or before the first
                continue
            task = run.job_id, run.task_id, run.subtask_id, run.started_at
            if (seen[later][2], *key, *task) not in completed:
                expected[*key, seen[later - 1][1], seen[later][1]] += 1
        found = Counter(
            {
                (*incarnation(row), row["after"], row["before"]): row["missed"]
                for row in self.facts["task_gaps"]
            }
        )
        self.check("task gaps exact", found == expected, (found - expected, expected - found))
        self.checked["task gaps exact"] = len(expected)
        self.checked["task runs missed"] = expected.total()

    def start_task_runs(self) -> None:
        """Starts exact, outcomes those that were, definitions right where said to be certain."""
        truth = {(*incarnation(e), e.started_at): e for e in self.truth.start_task_runs}
        revisions = defaultdict(set)
        seen: set[Key] = set()
        for row in self.facts["start_task_runs"]:
            key = (*incarnation(row), row["start_time"])
            self.check("start task run once", key not in seen, key)
            seen.add(key)
            known = row["start_time"] >= self.recorded.fleet.start
            self.check("start task run true", key in truth or not known, key)
            if key not in truth:
                continue
            run = truth[key]
            if row["end_time"] is not None:
                is_right = (run.ended_at, run.outcome) == (row["end_time"], row["result"])
                self.check("start task end exact", is_right, row)
            if row["is_definition_certain"]:
                revisions[row["pool_id"], row["start_task_definition_id"]].add(run.revision)
        for definition, found in revisions.items():
            self.check("start task definition right", len(found) == 1, (definition, found))

    def boots(self) -> None:
        """Every boot that was seen is one that was."""
        truth = {(*incarnation(each), each.started_at) for each in self.truth.boots}
        for row in self.facts["node_boots"]:
            key = (*incarnation(row), row["boot_time"])
            known = row["boot_time"] >= self.recorded.fleet.start
            self.check("boot exact", key in truth or not known, key)

    def errors(self) -> None:
        """Every stretch begins and ends with an error that was there, inside its bounds.

        An error that went and came again between two listings is one stretch: listings cannot show it.
        """
        truth = defaultdict(list)
        for each in self.truth.errors:
            truth[(*incarnation(each), each.code)].append(each)
        forever = self.recorded.fleet.now + HOUR
        for row in self.facts["node_error_episodes"]:

            def there(at: datetime, row: dict[str, Any] = row) -> list[Any]:
                return [
                    e
                    for e in truth[(*incarnation(row), row["code"])]
                    if e.started_at - ALLOWED <= at <= (e.ended_at or forever) + ALLOWED
                ]

            first, last = there(row["first_observed_at"]), there(row["last_observed_at"])
            after, before = row["started_after"], row["ended_before"]
            is_right = bool(first and last)
            if is_right and after is not None:
                is_right = any(e.started_at >= after - ALLOWED for e in first)
            if is_right and before is not None:
                is_right = any((e.ended_at or forever) <= before + ALLOWED for e in last)
            self.check("error episode true", is_right, (row, first, last))

    def hours(self) -> None:
        """True hours of a state lie between certain_hours and those plus all uncertain hours."""
        true: Counter[Key] = Counter()
        ended = {incarnation(row) for row in self.facts["node_incarnations"] if row["ended_by"]}
        days = sorted({row["date"] for row in self.facts["node_hours"]})
        pieces: Counter[Key] = Counter()
        for each in self.truth.states:
            key = incarnation(each)
            if key not in self.last_seen:
                continue
            end = each.ended_at or self.recorded.fleet.now
            if key not in ended:  # counted as far as it was seen
                end = min(end, self.last_seen[key])
            for day in days:
                begin = datetime(day.year, day.month, day.day, tzinfo=end.tzinfo)
                inside = min(end, begin + 24 * HOUR) - max(each.started_at, begin)
                if inside > timedelta(0):
                    true[day, each.pool_id, each.state] += inside / HOUR
                    pieces[day, each.pool_id] += 1
        certain: Counter[Key] = Counter()
        uncertain: Counter[Key] = Counter()
        for row in self.facts["node_hours"]:
            where = row["date"], row["pool_id"]
            certain[(*where, row["state"])] += row["certain_hours"]
            uncertain[where] += row["hours"] - row["certain_hours"]
            self.check("hours hold their certain part", row["hours"] >= row["certain_hours"], row)
        for key in {*true, *certain}:
            slack = pieces[key[:2]] * (ALLOWED / HOUR) + 1e-6
            low, high = certain[key] - slack, certain[key] + uncertain[key[:2]] + slack
            if key[2] == "unobserved":
                self.check("unobserved is never certain", certain[key] == 0, key)
            else:
                self.check("true hours inside the bounds", low <= true[key] <= high,
                           (key, low, true[key], high))  # fmt: skip
        self.checked["certain hours, percent"] = round(
            100 * certain.total() / (certain.total() + uncertain.total())
        )

    def pool_hours(self) -> None:
        """Tasks are counted in the hour they ended, each harvested end once."""
        expected: Counter[Key] = Counter()
        for row in self.facts["task_runs"]:
            if row["end_time"] is not None:
                hour = row["end_time"].replace(minute=0, second=0, microsecond=0)
                expected[row["pool_id"], hour] += 1
        first = min(row["date"] for row in self.facts["pool_hours"])
        found = {
            (row["pool_id"], row["hour"]): row["tasks_finished"]
            for row in self.facts["pool_hours"]
            if row["tasks_finished"]
        }
        within = {key: count for key, count in expected.items() if key[1].date() >= first}
        self.check("tasks in their hour", found == within, set(found.items()) ^ set(within.items()))
