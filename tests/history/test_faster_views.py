"""What is read faster than the views that join the days, or summed by day, and is the same."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from pipeline import query
from pipeline.lake import Lake
from tests.lakes import node, put, task

_DAYS = 3
_NODE = "pool_id, node_id, allocation_time"
#: What a view or a sum has, and the same from a view that joins the days.
PAIRS = {
    "start_task_begins": (
        f"select {_NODE}, start_time, first_observed_at, start_task_definition_id, "
        "is_definition_certain from start_task_begins",
        f"select {_NODE}, start_time, first_observed_at, start_task_definition_id, "
        "is_definition_certain from start_task_runs",
    ),
    "start_task_ends": (
        f"select {_NODE}, start_time, last_observed_at, end_time, result, exit_code, "
        "image_exact_version, case when cast(next_start_time as date) = cast(start_time as date) "
        "then next_start_time end from start_task_ends",
        f"select {_NODE}, start_time, last_observed_at, end_time, result, exit_code, "
        "image_exact_version, lead(start_time) over ("
        f"partition by {_NODE}, image_exact_version, cast(start_time as date) "
        "order by start_time) from start_task_runs",
    ),
    "ended_task_runs": (
        f"select {_NODE}, job_id, task_id, start_time, end_time, exit_code, is_failed "
        "from ended_task_runs",
        f"select {_NODE}, job_id, task_id, start_time, end_time, exit_code, "
        "coalesce(result = 'failure', false) from task_runs where end_time is not null",
    ),
    "task_outcomes": (
        f"select {_NODE}, date, job_id, failure_code, runs, first_end_time, last_end_time "
        "from task_outcomes",
        f"select {_NODE}, cast(first_completed_at as date), job_id, "
        "case when result = 'failure' then coalesce(failure_code, '') end, count(*), "
        "min(end_time), max(end_time) from task_runs where end_time is not null group by all",
    ),
    "pool_hours": (
        "select pool_id, hour, tasks_finished, tasks_failed from pool_hours "
        "where tasks_finished > 0",
        "select pool_id, date_trunc('hour', end_time), count(*), "
        "count(*) filter (where result = 'failure') from task_runs "
        "where end_time is not null group by all",
    ),
}


def _clock(minutes: int) -> str:
    return f"{minutes // 1440} {minutes % 1440 // 60:02}:{minutes % 60:02}"


class _Node:
    """A node at work: tasks and start tasks that begin, end, fail, over midnight too."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name, self.rng = name, rng
        self.tasks: list[dict[str, Any]] = []
        self.run: dict[str, Any] = {}
        self.agent, self.image, self.definition = "1.1", "v1", "old"
        self.number = 0

    def move(self, minutes: int) -> dict[str, Any]:
        """As a listing shows it then; what happened since the last one did so a minute before."""
        rng, now = self.rng, _clock(minutes - 1)
        self.tasks = [each for each in self.tasks if not each["end_time"] or rng.random() < 0.6]
        for each in self.tasks:
            if not each["end_time"] and rng.random() < 0.5:
                told: dict[str, Any] = {}
                if rng.random() < 0.5:
                    told = {"exit_code": 1, "result": "failure", "failure_code": rng.choice("xy")}
                each |= task("", None, now, job_id=each["job_id"], **told) | {
                    "task_id": each["task_id"],
                    "start_time": each["start_time"],
                }
        if rng.random() < 0.7:
            self.number += 1
            self.tasks.append(task(f"t{self.number}", now, job_id=f"j{rng.randint(1, 2)}"))
        if rng.random() < 0.3:
            self.run = {"start_task_state": "running", "start_task_start_time": now}
            self.agent, self.image = rng.choice(("1.1", "1.2")), rng.choice(("v1", "v1", "v2"))
        elif self.run.get("start_task_state") == "running" and rng.random() < 0.6:
            result = rng.choice(("success", "failure"))
            self.run = self.run | {
                "start_task_state": "completed",
                "start_task_end_time": now,
                "start_task_result": result,
                "start_task_exit_code": int(result == "failure"),
            }
        if rng.random() < 0.2:
            self.definition = rng.choice(("old", "new"))
        return node(
            self.name,
            tasks=[dict(each) for each in self.tasks],
            node_agent_version=self.agent,
            image_exact_version=self.image,
            start_task_definition_id=self.definition,
            **self.run,
        )


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> query.Connection:
    """Three days of two pools, every listing complete."""
    root: Path = tmp_path_factory.mktemp("told") / "lake"
    lake, rng = Lake(root), random.Random(3)
    pools = {pool: [_Node(name, rng) for name in ("a", "b")] for pool in ("p", "q")}
    for minutes in range(60, _DAYS * 1440, 173):
        put(lake, _clock(minutes), {p: [n.move(minutes) for n in ns] for p, ns in pools.items()})
    return query.connect(lake)


@pytest.mark.parametrize("fact", PAIRS)
def test_it_is_what_the_joined_days_have(connection: query.Connection, fact: str) -> None:
    """Runs over midnight are there once, with the values of the joined days."""
    told, joined = (sorted(map(repr, connection.sql(text).fetchall())) for text in PAIRS[fact])
    assert len(joined) > 2
    assert joined == told


def test_a_node_has_one_key_and_no_other_has_it(connection: query.Connection) -> None:
    """The same in every view, whatever the day."""
    expected = "select distinct pool_id, node_id, incarnation_key from node_lifetimes order by all"
    keys = connection.sql(expected).fetchall()
    for view in ("task_outcomes", "node_startups"):
        assert connection.sql(expected.replace("node_lifetimes", view)).fetchall() == keys
    assert len({key for *_, key in keys}) == 4
