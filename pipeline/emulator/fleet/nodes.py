"""A compute node: its state, its tasks, and the records it writes to the truth log.

``lifecycle`` decides when something happens; all times are microseconds since 1970.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ..states import UNBILLED, NodeState
from ..streams import digest, stream
from ..times import NEVER, to_datetime
from ..truth import (
    Boot,
    EndedBy,
    ErrorEpisode,
    Membership,
    StartTaskRun,
    StateInterval,
    TaskRun,
    TruthLog,
)
from .plan import PoolPlan
from .tasks import Task, TaskFailure
from .usage import Usage

RECENT_TASKS = 4  # the highest in recordings; the service documents no limit


@dataclass(slots=True)
class StartTaskInfo:
    """The current or last attempt at the node's start task."""

    started_at: int
    ended_at: int | None = None
    exit_code: int | None = None
    failure: TaskFailure | None = None
    retry_count: int = 0
    last_retry_at: int | None = None
    record: StartTaskRun | None = None


@dataclass(slots=True)
class NodeError:
    """An error that the node has now."""

    code: str
    message: str
    details: tuple[tuple[str, str], ...] = ()
    record: ErrorEpisode | None = None


def node_id(plan: PoolPlan, is_dedicated: bool, seat: int, identity: int) -> str:
    """Return the id that a node in this seat gets, in the service's own form."""
    kind = "d" if is_dedicated else "p"
    text = f"{plan.seed}/{plan.config.id}/{kind}/{seat}/{identity}"
    return f"tvmps_{hashlib.sha256(text.encode()).hexdigest()}_{kind}"


class Node:
    """One incarnation of a node: from its allocation until it leaves its pool."""

    __slots__ = (
        "agenda", "agent_updated_at", "agent_version", "allocated_at", "booted_at", "changes",
        "counter", "defect", "errors", "gone_at", "heal_at", "id", "image_release", "is_dedicated",
        "is_scheduling", "leaving_at", "life", "log", "membership", "next_at",
        "plan", "recent", "requeued", "rng", "running", "seat", "start_task_info",
        "start_task_key", "state", "state_record", "state_since", "tasks_run", "tasks_succeeded",
        "usage",
    )  # fmt: skip

    def __init__(
        self,
        plan: PoolPlan,
        seat: int,
        tenancy: int,
        identity: int,
        allocated_at: int,
        *,
        is_dedicated: bool,
        log: TruthLog | None,
        usage: Usage | None,
    ) -> None:
        """Allocate a node to a seat; ``tenancy`` counts the nodes that had the seat before."""
        self.plan = plan
        self.seat = seat
        self.is_dedicated = is_dedicated
        self.id = node_id(plan, is_dedicated, seat, identity)
        self.allocated_at = allocated_at
        self.rng = stream(plan.seed, plan.config.id, is_dedicated, seat, tenancy, "life")
        self.counter = tenancy * 100_000
        self.log = log
        self.usage = usage
        self.defect = plan.defect(is_dedicated, seat)
        self.state: NodeState = "creating"
        self.state_since = allocated_at
        self.state_record: StateInterval | None = None
        self.booted_at: int | None = None
        self.agent_version = ""
        self.agent_updated_at = 0
        self.image_release = plan.image_release(allocated_at)
        self.start_task_key = plan.start_task_key(allocated_at)
        self.start_task_info: StartTaskInfo | None = None
        self.is_scheduling = True
        self.errors: list[NodeError] = []
        self.heal_at = NEVER
        self.running: dict[int, Task] = {}
        self.recent: list[Task] = []
        self.requeued: list[Task] = []
        self.agenda: list[tuple[int, int]] = []
        self.tasks_run = 0
        self.tasks_succeeded = 0
        self.leaving_at = NEVER
        self.gone_at = NEVER
        self.changes = 0
        self.next_at = NEVER
        self.life: Iterator[int] = iter(())
        self.membership: Membership | None = None
        if log is not None:
            moment = to_datetime(allocated_at)
            self.membership = Membership(
                plan.config.id, self.id, moment, moment, self.vm_size, is_dedicated
            )
            log.add(self.membership)

    def advance(self, to: int) -> None:
        """Run every event up to ``to``."""
        while self.next_at <= to and self.next_at < self.leaving_at:
            self.changes += 1
            self.next_at = next(self.life)
        if self.leaving_at <= to and self.state != "leavingpool":
            self.changes += 1
            self.interrupt(self.leaving_at)
            self.enter("leavingpool", self.leaving_at)
        if self.gone_at <= to and self.membership is not None:
            self._close(self.gone_at)

    def leave(self, leaving_at: int, gone_at: int, ended_by: EndedBy) -> None:
        """Set when the node starts to leave its pool, and when its listing ends."""
        self.leaving_at = leaving_at
        self.gone_at = gone_at
        if self.membership is not None:
            self.membership.ended_by = ended_by

    def _close(self, at: int) -> None:
        moment = to_datetime(at)
        if self.membership is not None:
            self.membership.ended_at = moment
            self.membership = None
        if self.state_record is not None:
            self.state_record.ended_at = moment
        self._count(at)
        self.heal(at)

    def _count(self, until: int) -> None:
        if self.usage is not None and self.state not in UNBILLED:
            self.usage.add(self.state_since, until)

    def enter(self, state: NodeState, at: int) -> None:
        """Move to a state; does nothing if the node is in it."""
        if state == self.state and self.state_record is not None:
            return
        if self.log is not None:
            moment = to_datetime(at)
            if self.state_record is not None:
                self.state_record.ended_at = moment
            self.state_record = StateInterval(*self.incarnation, moment, state)
            self.log.add(self.state_record)
        self._count(at)
        self.state = state
        self.state_since = at

    @property
    def vm_size(self) -> str:
        """Return the size of the node's machine."""
        return self.plan.vm_size(self.seat)

    @property
    def incarnation(self) -> tuple[str, str, datetime]:
        """Return (pool id, node id, allocation time), the key of every record."""
        return self.plan.config.id, self.id, to_datetime(self.allocated_at)

    def boot(self, at: int) -> None:
        """The machine is up and its agent has reported."""
        self.booted_at = at
        version = self.plan.agent_version(at)
        if version != self.agent_version and self.agent_version and self.rng.random() < 0.15:
            version = self.agent_version  # some machines boot with the agent they had
        if version != self.agent_version:
            self.agent_version = version
            self.agent_updated_at = at
        self.start_task_key = self.plan.start_task_key(at)
        if self.log is not None:
            self.log.add(Boot(*self.incarnation, to_datetime(at)))

    def begin_start_task(self, at: int) -> None:
        """Start the first attempt at the start task, or the next one after a failed attempt."""
        before = self.start_task_info
        is_retry = before is not None and before.failure is not None and before.failure.is_retried
        if before is not None and is_retry and before.started_at >= (self.booted_at or 0):
            info = StartTaskInfo(at, retry_count=before.retry_count + 1, last_retry_at=at)
        else:
            info = StartTaskInfo(at)
        if self.log is not None:
            info.record = StartTaskRun(
                *self.incarnation, to_datetime(at), self.start_task_key[0], info.retry_count
            )
            self.log.add(info.record)
        self.start_task_info = info

    def end_start_task(self, at: int, failure: TaskFailure | None) -> None:
        """End the running attempt at the start task."""
        info = self.start_task_info
        assert info is not None
        info.ended_at = at
        info.failure = failure
        info.exit_code = 0 if failure is None else failure.exit_code
        if info.record is not None:
            info.record.ended_at = to_datetime(at)
            info.record.exit_code = info.exit_code
            info.record.outcome = "success" if failure is None else "failure"
            info.record.failure_code = None if failure is None else failure.code

    def begin_task(self, slot: int, task: Task, at: int) -> None:
        """Start a task, or the next attempt at it, in a slot."""
        if task not in self.recent:
            self.recent.append(task)
            if len(self.recent) > RECENT_TASKS:
                self._drop_one()
        self.running[slot] = task
        task.started_at = at
        if self.plan.profile.is_container:
            task.container_id = digest(self.id, task.task_id, at).hex()
        if self.log is not None:
            task.record = TaskRun(
                *self.incarnation,
                to_datetime(at),
                task.job_id,
                task.task_id,
                task.subtask_id,
                task.retry_count,
                task.requeue_count,
                slot,
                self.slots_of(slot),
            )
            self.log.add(task.record)

    def slots_of(self, slot: int) -> int:
        """Return how many task slots a task takes: all of them for a multi-instance part (-1)."""
        return self.plan.config.task_slots if slot < 0 else self.plan.config.work.slots_per_task

    def _drop_one(self) -> None:
        # The window drops finished tasks first: running tasks are always in it.
        for position, task in enumerate(self.recent):
            if task.is_completed:
                del self.recent[position]
                return
        del self.recent[0]

    def end_attempt(self, task: Task, at: int, failure: TaskFailure | None, *, final: bool) -> None:
        """End an attempt; after a final one the task is completed and counted."""
        exit_code = 0 if failure is None else failure.exit_code
        if task.record is not None:
            task.record.ended_at = to_datetime(at)
            task.record.exit_code = exit_code
            task.record.outcome = "success" if failure is None else "failure"
            task.record.is_final = final
            task.record = None
        if not final:
            task.retry_count += 1
            task.last_retry_at = at
            return
        task.state = "completed"
        task.ended_at = at
        task.exit_code = exit_code
        task.failure = failure
        self.tasks_run += 1
        self.tasks_succeeded += failure is None

    def interrupt(self, at: int) -> None:
        """Interrupt the running tasks: they return to the queue."""
        for task in self.running.values():
            if task.record is not None:
                task.record.ended_at = to_datetime(at)
                task.record.outcome = "requeued"
                task.record = None
            if task in self.recent:  # more slots than the window has entries
                self.recent.remove(task)
            if task.subtask_id is None:
                self.requeued.append(task)
        self.running.clear()
        self.agenda.clear()
        info = self.start_task_info
        if info is not None and info.ended_at is None and info.record is not None:
            info.record.ended_at = to_datetime(at)
            info.record.outcome = "interrupted"

    def err(self, at: int, error: NodeError, heal_at: int) -> None:
        """Add an error, which ends at ``heal_at``."""
        if self.log is not None:
            error.record = ErrorEpisode(*self.incarnation, to_datetime(at), error.code)
            self.log.add(error.record)
        self.errors.append(error)
        self.heal_at = heal_at

    def heal(self, at: int) -> None:
        """End every error."""
        for error in self.errors:
            if error.record is not None:
                error.record.ended_at = to_datetime(at)
        self.errors.clear()
        self.heal_at = NEVER
