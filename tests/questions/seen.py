"""What the listings of the planted fleet could show of its truth, in plain Python."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.emulator.states import AGENTLESS
from pipeline.emulator.truth import StartTaskRun, StateInterval
from tests.questions.planted import Key, Planted, incarnation


def key_of(row: dict[str, Any]) -> Key:
    """The incarnation of an answer's row."""
    return row["pool_id"], row["node_id"], row["allocation_time"]


def within(
    moments: Sequence[datetime], begin: datetime, end: datetime | None
) -> Sequence[datetime]:
    """Those of some moments, in order, from ``begin`` to just before ``end`` (None: no end)."""
    until = len(moments) if end is None else bisect_left(moments, end)
    return moments[bisect_left(moments, begin) : until]


def by_date_header(moment: datetime) -> datetime:
    """When a listing of that moment was observed: the Date header is cut to the second."""
    return moment.replace(microsecond=0)


@dataclass(frozen=True)
class Stay:
    """A state of a node that listings showed: what it truly was, and the first and last of them."""

    truth: StateInterval
    first: datetime
    last: datetime


def stays(fleet: Planted) -> dict[Key, list[Stay]]:
    """The states of each node that a listing showed, in order."""
    seen = fleet.seen
    shown: dict[Key, list[Stay]] = defaultdict(list)
    for state in fleet.states:
        key = incarnation(state)
        if moments := within(seen.get(key, ()), state.started_at, state.ended_at):
            shown[key].append(Stay(state, moments[0], moments[-1]))
    return shown


@dataclass(frozen=True)
class Run:
    """A run of a start task that listings showed, and whether one showed it ended."""

    truth: StartTaskRun
    is_ended: bool

    @property
    def has_failed(self) -> bool:
        """Whether it was seen to fail."""
        return self.is_ended and self.truth.outcome == "failure"

    @property
    def cause(self) -> tuple[str | None, int | None]:
        """Its failure code and exit code."""
        return self.truth.failure_code, self.truth.exit_code


def start_task_runs(fleet: Planted) -> list[Run]:
    """The runs of start tasks that a listing showed.

    A node shows its last run until the next one begins, but not while it has no agent.
    """
    seen = fleet.seen
    dark = defaultdict(list)
    for state in fleet.states:
        if state.state in AGENTLESS:
            dark[incarnation(state)].append((state.started_at, state.ended_at or fleet.ended_at))
    runs = defaultdict(list)
    for run in fleet.start_task_runs:
        runs[incarnation(run)].append(run)
    found = []
    for key, of_node in runs.items():
        for run, after in zip(of_node, [*of_node[1:], None], strict=True):
            moments = [
                when
                for when in within(
                    seen.get(key, ()), run.started_at, after.started_at if after else None
                )
                if not any(begin <= when < end for begin, end in dark[key])
            ]
            if moments:
                is_over = run.outcome in ("success", "failure") and run.ended_at is not None
                found.append(Run(run, is_over and moments[-1] >= (run.ended_at or moments[-1])))
    return found
