"""The made-up machines of a world: what each of them was and did, second by second, by chance.

Nothing here knows the polls: a poll asks a machine for its JSON at a moment (``documents``).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
DAY = timedelta(days=1)

_AGENTS = ("1.9.0", "1.10.2", "1.12.0")
_NODE_ERRORS = ("DiskFull", "UnusableNode", "AgentLost")
_TROUBLE = ("unusable", "unknown", "offline", "rebooting", "reimaging", "reimaging")


@dataclass
class Change:
    """From a moment on, a value."""

    at: datetime
    value: str


def value_at(changes: list[Change], moment: datetime) -> str | None:
    """The value that holds at a moment; None before the first change."""
    held = None
    for change in changes:
        if change.at <= moment:
            held = change.value
    return held


@dataclass
class StartRun:
    """A run of the start task; ``end`` is None where it was cut off."""

    start: datetime
    end: datetime | None
    exit_code: int
    retry_count: int


@dataclass
class Attempt:
    """An attempt at a task; one with a ``successor`` was retried and never shows an end."""

    job_id: str
    task_id: str
    subtask_id: int | None
    known: datetime
    """From then on it is among the node's recent tasks, without a start at first."""
    start: datetime
    end: datetime
    exit_code: int
    failure_code: str | None
    retry_count: int
    leaves: datetime
    """Then it slides out of the node's recent tasks."""
    has_successor: bool = False


@dataclass
class Machine:
    """One allocation of a node id, from ``allocated`` to ``leaves`` (None: it stays)."""

    pool_id: str
    node_id: str
    vm_size: str | None
    is_dedicated: bool | None
    allocated: datetime
    leaves: datetime | None
    states: list[Change] = field(default_factory=list)
    boots: list[datetime] = field(default_factory=list)
    start_runs: list[StartRun] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    jumps: list[tuple[datetime, int]] = field(default_factory=list)
    """Tasks that came and went without ever being listed: they show in the totals only."""
    errors: list[tuple[datetime, datetime, str]] = field(default_factory=list)
    agents: list[Change] = field(default_factory=list)
    images: list[Change] = field(default_factory=list)
    scheduling: list[Change] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """JSON fields that it does not always show: always missing, sometimes, midnight."""
    malformed: list[tuple[datetime, datetime]] = field(default_factory=list)
    """When its JSON has a value of the wrong type."""
    unlisted: list[tuple[datetime, datetime]] = field(default_factory=list)
    """When listings lack it though it is there."""

    def is_there(self, moment: datetime) -> bool:
        """Whether it is in its pool."""
        return self.allocated <= moment and (self.leaves is None or moment < self.leaves)

    def is_in(self, spells: list[tuple[datetime, datetime]], moment: datetime) -> bool:
        """Whether a moment lies in one of these spells."""
        return any(begins <= moment < ends for begins, ends in spells)


def moment_in(rng: random.Random, begins: datetime, ends: datetime) -> datetime:
    """A random moment, to the microsecond."""
    seconds = max((ends - begins).total_seconds(), 0.001)
    return begins + timedelta(microseconds=int(rng.random() * seconds * 1e6))


def lasting(rng: random.Random, *minutes: float) -> timedelta:
    """A random time of about one of these lengths."""
    return timedelta(minutes=rng.choice(minutes) * rng.uniform(0.3, 1.7))


class Maker:
    """Makes the machines of one pool; ``end`` is the end of the world."""

    def __init__(self, rng: random.Random, pool_id: str, end: datetime, is_spot: bool) -> None:
        self.rng = rng
        self.pool_id = pool_id
        self.end = end
        self.is_spot = is_spot
        self.waits_for_start_task = rng.random() < 0.8
        self.vm_size = rng.choice(("standard_d2s_v3", "standard_a1_v2"))
        self.has_kind = rng.random() < 0.8
        self.image = rng.choice(("24.04.1", "24.04.2"))
        self.tasks = 0

    def node(self, node_id: str) -> list[Machine]:
        """The machines that have an id one after another."""
        rng = self.rng
        made: list[Machine] = []
        begins = MONDAY + rng.choice((-0.5, 0.0, 0.0, 0.2, 1.0)) * DAY * rng.uniform(0.5, 1.2)
        while begins < self.end and len(made) < 3:
            stays = lasting(rng, 60, 600, 3000, 9000)
            leaves = begins + stays if begins + stays < self.end else None
            if leaves is not None and rng.random() < 0.4:  # about a midnight
                near = leaves.replace(hour=0, minute=0) + timedelta(seconds=rng.uniform(-20, 400))
                leaves = near if near > begins + timedelta(minutes=10) else leaves
            made.append(self._machine(node_id, begins, leaves))
            if leaves is None or rng.random() < 0.5:
                break
            begins = leaves + lasting(rng, 3, 40, 400, 1500)
        return made

    def _machine(self, node_id: str, allocated: datetime, leaves: datetime | None) -> Machine:
        rng = self.rng
        made = Machine(
            self.pool_id,
            node_id,
            None if rng.random() < 0.05 else self.vm_size,
            not self.is_spot if self.has_kind else None,
            moment_in(rng, allocated, allocated + timedelta(seconds=1)),
            leaves,
        )
        until = leaves or self.end
        made.images = [Change(made.allocated, self.image)]
        self._live(made, until)
        if leaves is not None and rng.random() < 0.5:
            at = max(made.states[-1].at, leaves - lasting(rng, 1, 10)) + timedelta(seconds=1)
            if at < leaves:
                made.states.append(Change(at, "leavingpool"))
        self._decorate(made, until)
        return made

    def _live(self, made: Machine, until: datetime) -> None:
        """Goes from state to state until its time is up."""
        rng = self.rng
        now, state = made.allocated, "creating"
        while now < until:
            made.states.append(Change(now, state))
            now, state = self._next(made, now, state)
            now = moment_in(rng, now, now + timedelta(seconds=1))

    def _next(self, made: Machine, now: datetime, state: str) -> tuple[datetime, str]:
        rng = self.rng
        if state == "creating":
            return now + lasting(rng, 1, 5, 30), "starting"
        if state in ("starting", "rebooting", "reimaging"):
            boot = now + lasting(rng, 1, 4, 60)
            made.boots.append(boot)
            if state == "reimaging":
                made.images.append(Change(boot, rng.choice(("24.04.2", "24.04.3"))))
            waits = "waitingforstarttask" if self.waits_for_start_task else "idle"
            return boot + timedelta(seconds=rng.uniform(1, 60)), waits
        if state == "waitingforstarttask":
            return self._start(made, now)
        if state == "starttaskfailed":
            return now + lasting(rng, 10, 300), "rebooting"
        if state == "idle":
            if not self.waits_for_start_task and rng.random() < 0.3:
                self._start(made, now)
            return now + lasting(rng, 2, 20, 120, 1800), self._after_work()
        if state == "running":
            return self._work(made, now)
        if state == "preempted":
            return now + lasting(rng, 5, 60, 400), rng.choice(("creating", "deallocated"))
        if state == "deallocated":
            return now + lasting(rng, 30, 600), "creating"
        return now + lasting(rng, 3, 60, 900), rng.choice(("idle", "rebooting"))

    def _after_work(self) -> str:
        rng = self.rng
        drawn = rng.random()
        if drawn < 0.6:
            return "running"
        if self.is_spot and drawn < 0.85:
            return "preempted"
        return rng.choice(_TROUBLE)

    def _start(self, made: Machine, now: datetime) -> tuple[datetime, str]:
        """Runs of the start task, retried up to two times."""
        rng = self.rng
        start = now + timedelta(seconds=rng.uniform(0.5, 20))
        for retry in range(rng.choice((1, 1, 2, 3))):
            end = start + lasting(rng, 0.2, 3, 20, 200)
            exit_code = rng.choice((0, 0, 0, 1, 2))
            made.start_runs.append(StartRun(start, end, exit_code, retry))
            if exit_code == 0:
                return end + timedelta(seconds=rng.uniform(0.1, 5)), "idle"
            start = end + timedelta(seconds=rng.uniform(0.5, 5))
        return end + timedelta(seconds=rng.uniform(0.1, 0.4)), "starttaskfailed"

    def _work(self, made: Machine, now: datetime) -> tuple[datetime, str]:
        """Some tasks, one after another or beside each other."""
        rng = self.rng
        last = start = now
        for _ in range(rng.randint(1, 4)):
            self.tasks += 1
            last = max(last, self._task(made, start))
            start = rng.choice((start, last)) + timedelta(seconds=rng.uniform(0.5, 90))
        return last + timedelta(seconds=rng.uniform(0.1, 9)), rng.choice(
            ("idle", "idle", "running")
        )

    def _task(self, made: Machine, start: datetime) -> datetime:
        rng = self.rng
        tries = rng.choice((1, 1, 1, 2))
        subtask = rng.choice((None, None, None, 0, 1))
        leaves = timedelta(minutes=rng.choice((1, 10, 60, 1200, 9000)))
        for number in range(tries):
            end = start + lasting(rng, 0.1, 2, 15, 100)
            is_last = number == tries - 1
            exit_code = rng.choice((0, 0, 0, 1, 137)) if is_last else 1
            known = start - timedelta(seconds=rng.choice((0, 0, 40, 400)))
            made.attempts.append(
                Attempt(
                    rng.choice(("job-a", "job-b")),
                    f"t{self.tasks}",
                    subtask,
                    max(known, made.allocated),
                    start,
                    end,
                    exit_code,
                    {0: None, 1: "FailureExitCode", 137: "OutOfMemory"}[exit_code],
                    number,
                    end + leaves,
                    not is_last,
                )
            )
            if number:  # it is one task: of one job, and known from its first attempt on
                made.attempts[-1].job_id = made.attempts[-2].job_id
                made.attempts[-1].known = start
                made.attempts[-2].leaves = start
            start = end + timedelta(seconds=rng.uniform(0.5, 30))
        return end

    def _decorate(self, made: Machine, until: datetime) -> None:
        """What goes on beside its states: errors, agents, jumps of totals, fields that are missing."""
        rng = self.rng
        span = (made.allocated, until)
        for _ in range(rng.choice((0, 0, 1, 2))):
            begins = moment_in(rng, *span)
            made.errors.append(
                (begins, begins + lasting(rng, 5, 100, 1500), rng.choice(_NODE_ERRORS))
            )
        agents = sorted(moment_in(rng, *span) for _ in range(rng.choice((1, 1, 2))))
        names = sorted(rng.sample(_AGENTS, len(agents)))
        made.agents = [Change(at, name) for at, name in zip(agents, names, strict=True)]
        made.agents[0].at = made.allocated + timedelta(minutes=2)
        if rng.random() < 0.2:
            at = moment_in(rng, *span)
            made.scheduling = [
                Change(at, "disabled"),
                Change(at + lasting(rng, 60, 600), "enabled"),
            ]
        for _ in range(rng.choice((0, 0, 1, 3))):
            made.jumps.append((moment_in(rng, *span), rng.randint(1, 5)))
        self._hide(made, until)

    def _hide(self, made: Machine, until: datetime) -> None:
        """What listings do not show of it, or show wrongly."""
        rng = self.rng
        for name, often in (
            ("allocationTime", 0.25),
            ("stateTransitionTime", 0.12),
            ("totalTasksRun", 0.1),
            ("isDedicated", 0.05),
            ("recentTasks", 0.05),
        ):
            if rng.random() < often:
                made.missing[name] = rng.choice(("always", "sometimes", "midnight"))
        for spells in (made.malformed, made.unlisted):
            for _ in range(rng.choice((0, 0, 1, 2))):
                begins = moment_in(rng, made.allocated, until)
                if rng.random() < 0.5:  # around a midnight
                    begins = begins.replace(hour=23, minute=rng.randint(30, 59))
                spells.append((begins, begins + lasting(rng, 5, 20, 120, 1500)))
        if made.leaves is not None and rng.random() < 0.2:
            made.malformed.append((made.leaves - lasting(rng, 10, 60, 300), made.leaves))
