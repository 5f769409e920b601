"""The truth log: what really happened in the fleet, with exact times.

A client sees only what it polls; tests score its answers against these records.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar

from .states import NodeState

R = TypeVar("R", bound="Record")
EndedBy = Literal["resize", "removal", "pool_deletion"]


@dataclass(slots=True)
class Record:
    """The members of every record: the incarnation and the interval.

    An incarnation is (pool_id, node_id, allocation_time): a node id can be reused. Times are
    UTC and exact to the microsecond. ``ended_at`` is None while the interval is open.
    """

    pool_id: str
    node_id: str
    allocation_time: datetime
    started_at: datetime
    ended_at: datetime | None = field(default=None, kw_only=True)


@dataclass(slots=True)
class Membership(Record):
    """A node's membership of its pool: listed from ``started_at`` until just before ``ended_at``."""

    vm_size: str
    is_dedicated: bool
    ended_by: EndedBy | None = None

    @property
    def joined_at(self) -> datetime:
        """When the node was first listed: its allocation time."""
        return self.started_at

    @property
    def left_at(self) -> datetime | None:
        """When its listing ended; None while it is a member."""
        return self.ended_at


@dataclass(slots=True)
class StateInterval(Record):
    """A period in one state; those of an incarnation have no gap between them."""

    state: NodeState


@dataclass(slots=True)
class TaskRun(Record):
    """One attempt at a task. A retry or a requeued attempt is a run of its own.

    ``slot`` is the node's place in which it runs, from 0 (-1 for a part of a multi-instance
    task); ``slots`` is how many of the node's task slots it takes.
    ``outcome`` is "success" or "failure" of a finished attempt, "requeued" where the node was
    taken from under it, None while it runs. ``is_final`` says that the task was completed by
    this attempt: only such attempts count in totalTasksRun and ever show an end time.
    """

    job_id: str
    task_id: str
    subtask_id: int | None
    retry_count: int
    requeue_count: int
    slot: int
    slots: int
    exit_code: int | None = None
    outcome: Literal["success", "failure", "requeued"] | None = None
    is_final: bool = False


@dataclass(slots=True)
class StartTaskRun(Record):
    """One attempt at the start task. ``failure_code`` is that of failureInfo.

    ``outcome`` is "interrupted" where the node was taken away during the attempt.
    """

    revision: int
    retry_count: int
    exit_code: int | None = None
    failure_code: str | None = None
    outcome: Literal["success", "failure", "interrupted"] | None = None


@dataclass(slots=True)
class Boot(Record):
    """A boot of the machine; ``started_at`` is what lastBootTime shows from then on.

    It is a moment: ``ended_at`` is always None.
    """


@dataclass(slots=True)
class ErrorEpisode(Record):
    """A period in which a node's ``errors`` had this code."""

    code: str


@dataclass(slots=True)
class PoolLife(Record):
    """A pool's time in the account's listing; node_id is empty."""


@dataclass(slots=True)
class ResizeError(PoolLife):
    """A period in which a pool showed this resize error.

    It begins when the allocation state becomes steady and ends when the next resize begins.
    ``dedicated_short`` and ``spot_short`` are the nodes that were missing to the targets.
    """

    code: str = ""
    dedicated_short: int = 0
    spot_short: int = 0


@dataclass(slots=True)
class AutoscaleError(PoolLife):
    """A period in which the last evaluation of a pool's formula had failed with this code.

    It begins with the first failed evaluation and ends with the next one that succeeds or fails
    otherwise.
    """

    code: str = ""
    evaluations: int = 0


class TruthLog:
    """All records of a fleet, those still open included; iterates in order of time.

    The order does not depend on the steps in which the fleet's time was moved.
    """

    def __init__(self) -> None:
        """Start an empty log."""
        self._records: list[Record] = []
        self._sorted = 0

    def add(self, record: Record) -> None:
        """Append a record; an open one is completed in place."""
        self._records.append(record)

    def drop_before(self, before: datetime) -> None:
        """Drop records that ended before a time: a fleet may run for years."""
        self._records = [record for record in self._records if not _is_over(record, before)]
        self._sorted = 0

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        """Yield every record, by start, pool, node and kind."""
        if self._sorted != len(self._records):
            self._records.sort(key=_order)
            self._sorted = len(self._records)
        return iter(tuple(self._records))

    def of(self, kind: type[R]) -> list[R]:
        """Return the records of one kind, in order of time."""
        return [record for record in self if type(record) is kind]

    @property
    def memberships(self) -> list[Membership]:
        """Every membership of a node."""
        return self.of(Membership)

    @property
    def states(self) -> list[StateInterval]:
        """Every state interval."""
        return self.of(StateInterval)

    @property
    def task_runs(self) -> list[TaskRun]:
        """Every attempt at a task."""
        return self.of(TaskRun)

    @property
    def start_task_runs(self) -> list[StartTaskRun]:
        """Every attempt at a start task."""
        return self.of(StartTaskRun)

    @property
    def boots(self) -> list[Boot]:
        """Every boot."""
        return self.of(Boot)

    @property
    def resize_errors(self) -> list[ResizeError]:
        """Every resize error of a pool."""
        return self.of(ResizeError)

    @property
    def autoscale_errors(self) -> list[AutoscaleError]:
        """Every failure of an autoscale formula."""
        return self.of(AutoscaleError)

    @property
    def errors(self) -> list[ErrorEpisode]:
        """Every episode of a node error."""
        return self.of(ErrorEpisode)


def _is_over(record: Record, before: datetime) -> bool:
    ended = record.started_at if isinstance(record, Boot) else record.ended_at
    return ended is not None and ended < before


def _order(record: Record) -> tuple[datetime, str, str, str, str]:
    task = f"{record.task_id}/{record.subtask_id}" if isinstance(record, TaskRun) else ""
    return record.started_at, record.pool_id, record.node_id, type(record).__name__, task
