"""The facts about work: task runs and the gaps between them, runs of start tasks."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.simulator.facts import Table, image_of, seen, start_task_of
from tests.simulator.record import Node, Record, Row, time_of


@dataclass(eq=False)
class Sight:
    """A task, or a start task, as a row shows it."""

    row: Row
    told: dict[str, Any]
    """Its executionInfo, or its startTaskInfo."""
    task_state: str | None = None

    def time(self, name: str) -> datetime | None:
        """A time of it."""
        return time_of(self.told.get(name))

    @property
    def is_over(self) -> bool:
        """Whether it shows the task completed."""
        return self.task_state == "completed" or self.time("endTime") is not None

    @property
    def outcome(self) -> dict[str, Any]:
        """The columns that show how it went."""
        failure = self.told.get("failureInfo") or {}
        container = self.told.get("containerInfo") or {}
        category = failure.get("category")
        return {
            "end_time": self.time("endTime"),
            "exit_code": self.told.get("exitCode"),
            "result": self.told.get("result"),
            "failure_category": category and category.lower(),
            "failure_code": failure.get("code"),
            "failure_message": failure.get("message"),
            "container_state": container.get("state"),
            "container_error": container.get("error"),
            "retry_count": self.told.get("retryCount"),
            # One row wins, its nulls too.
            "vm_size": self.row.value("vmSize"),
            "is_dedicated": self.row.value("isDedicated"),
        }


@dataclass(eq=False)
class TaskRun:
    """An attempt at a task: its key, and the rows that showed it."""

    node: Node
    job_id: str
    task_id: str
    subtask_id: int | None
    start: datetime | None
    sights: list[Sight]

    @property
    def last(self) -> Sight:
        """The last observation, which wins."""
        return self.sights[-1]

    @property
    def first_completed_at(self) -> datetime | None:
        """The first listing that showed it completed."""
        return min((s.row.observed_at for s in self.sights if s.is_over), default=None)

    @property
    def has_failed(self) -> bool:
        """What its result says, or without one an exit code other than 0."""
        result, exit_code = self.last.told.get("result"), self.last.told.get("exitCode")
        return result == "failure" or (result is None and exit_code not in (None, 0))

    @property
    def task(self) -> tuple[Any, ...]:
        """Whose attempt it is."""
        return (id(self.node), self.job_id, self.task_id, self.subtask_id)


def _all_task_runs(record: Record) -> list[TaskRun]:
    found: dict[tuple[Any, ...], TaskRun] = {}
    for node in record.nodes:
        for row in node.rows:
            for told in row.value("recentTasks") or []:
                info = told.get("executionInfo") or {}
                start = time_of(info.get("startTime"))
                names = (told["jobId"], told["taskId"], told.get("subtaskId"), start)
                run = found.setdefault((id(node), *names), TaskRun(node, *names, []))
                run.sights.append(Sight(row, info, told["taskState"]))
    return list(found.values())


def task_run_list(record: Record) -> list[TaskRun]:
    """Every attempt that was ever seen; one without a start is gone once the task was seen begun."""
    runs = _all_task_runs(record)
    begun: dict[tuple[Any, ...], datetime] = {}
    for run in runs:
        if run.start is not None:
            at = run.last.row.observed_at
            begun[run.task] = max(begun.get(run.task, at), at)
    return [
        run
        for run in runs
        if run.start is not None
        or run.task not in begun
        or begun[run.task] < run.last.row.observed_at
    ]


def task_runs(record: Record) -> Table:
    """Every attempt at a task that was ever seen on a node; each retry is one."""
    return [
        run.node.key
        | {
            "job_id": run.job_id,
            "task_id": run.task_id,
            "subtask_id": run.subtask_id,
            "start_time": run.start,
            "first_completed_at": run.first_completed_at,
            "task_state": run.last.task_state,
            "requeue_count": run.last.told.get("requeueCount"),
            "is_provisional": run.start is None,
        }
        | seen([sight.row for sight in run.sights])
        | run.last.outcome
        for run in task_run_list(record)
    ]


def task_gaps(record: Record) -> Table:
    """Where totalTasksRun rose by more than the runs first seen completed meanwhile."""
    completed: dict[int, list[datetime]] = defaultdict(list)
    for run in task_run_list(record):
        if run.first_completed_at is not None:
            completed[id(run.node)].append(run.first_completed_at)
    made = []
    for node in record.nodes:
        told = [row for row in node.rows if row.value("totalTasksRun") is not None]
        for before, after in itertools.pairwise(told):
            # Reading: runs that a row between showed completed are among them, though that row told
            # no total.
            known = [
                at for at in completed[id(node)] if before.observed_at < at <= after.observed_at
            ]
            rise = after.value("totalTasksRun") - before.value("totalTasksRun")
            if rise > len(known):
                made.append(
                    node.key
                    | {
                        "after": before.observed_at,
                        "before": after.observed_at,
                        "missed": rise - len(known),
                    }
                )
    return made


@dataclass(eq=False)
class StartTaskRun:
    """A run of a start task: the rows that showed it, and the readable row just before those."""

    node: Node
    start: datetime
    sights: list[Sight]
    before: Row | None

    @property
    def last(self) -> Sight:
        """The last observation, which wins."""
        return self.sights[-1]

    @property
    def definition(self) -> str | None:
        """That of its first observation: a node carries the one that it will run next."""
        return start_task_of(self.sights[0].row)[1]

    @property
    def is_definition_certain(self) -> bool:
        """False where the row just before showed another definition: it may be of that one."""
        before = start_task_of(self.before)[1] if self.before else None
        return before is None or before == self.definition

    @property
    def image(self) -> str | None:
        """The image of its last observation: an id, or publisher, offer, SKU and exact version."""
        return image_name(self.last.row)


def image_name(row: Row) -> str | None:
    """An image's id, or publisher, offer, SKU and exact version."""
    image = image_of(row)
    custom: str | None = image.pop("image_virtual_machine_image_id")
    return custom or " ".join(part for part in image.values() if part) or None


def start_task_run_list(record: Record) -> list[StartTaskRun]:
    """Every run of a start task that was ever seen."""
    made: dict[tuple[int, datetime], StartTaskRun] = {}
    for node in record.nodes:
        before = None
        for row in node.readable:
            info = row.value("startTaskInfo") or {}
            start = time_of(info.get("startTime"))
            if start is not None:
                key = (id(node), start)
                run = made.setdefault(key, StartTaskRun(node, start, [], before))
                run.sights.append(Sight(row, info))
            before = row
    return list(made.values())


def start_task_runs(record: Record) -> Table:
    """Every run of a start task; the last observation wins, its definition is that of the first."""
    return [
        run.node.key
        | {
            "start_time": run.start,
            "start_task_id": start_task_of(run.sights[0].row)[0],
            "start_task_definition_id": run.definition,
            "is_definition_certain": run.is_definition_certain,
            "state": run.last.told.get("state"),
        }
        | seen([sight.row for sight in run.sights])
        | run.last.outcome
        | image_of(run.last.row)
        for run in start_task_run_list(record)
    ]
