"""A random world: accounts, pools, machines, and when each account is polled and how that goes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from tests.simulator import documents
from tests.simulator.documents import Json
from tests.simulator.machines import DAY, MONDAY, Change, Machine, Maker, lasting, moment_in

Fault = Literal["refused", "gone"]
#: Two runs of an account are at least so far apart, and none takes longer.
_APART = timedelta(minutes=4)


@dataclass
class Pool:
    """A pool, its machines and the start tasks it was given; it is there until ``ends_at``."""

    pool_id: str
    machines: list[Machine]
    start_tasks: list[Change]
    begins_at: datetime
    ends_at: datetime | None
    slots: int
    errors: list[tuple[datetime, datetime, str, str]]
    """From when to when it shows an error: of its resize, or of its autoscale run; and its code."""

    def is_there(self, moment: datetime) -> bool:
        """Whether the account has it."""
        return self.begins_at <= moment and (self.ends_at is None or moment < self.ends_at)

    def document(self, moment: datetime) -> Json:
        """Its CloudPool."""
        there = [each for each in self.machines if each.is_there(moment)]
        spot = sum(each.is_dedicated is False for each in there)
        shown = [
            (kind, {"code": code, "message": f"{code} in it"})
            for begins, ends, kind, code in self.errors
            if begins <= moment < ends
        ]
        begun = [begins for begins, _, kind, _ in self.errors if kind == "resize"]
        resized = [self.begins_at, *(begins for begins in begun if begins <= moment)]
        resize = [error for kind, error in shown if kind == "resize"]
        runs = [error for kind, error in shown if kind == "autoscale"]
        more: Json = {"resizeErrors": resize} if resize else {}
        if runs:
            more["autoScaleRun"] = {"timestamp": documents.text_of(moment), "error": runs[-1]}
        return more | {
            "id": self.pool_id,
            "state": "active",
            "allocationState": "steady",
            "allocationStateTransitionTime": documents.text_of(max(resized)),
            "vmSize": "standard_d2s_v3",
            "currentDedicatedNodes": len(there) - spot,
            "targetDedicatedNodes": len(there) - spot,
            "currentLowPriorityNodes": spot,
            "targetLowPriorityNodes": spot + 1,
            "taskSlotsPerNode": self.slots,
        }


@dataclass
class Page:
    """A page of nodes: its Date header and what it holds, as text would be parsed."""

    observed_at: datetime
    nodes: list[Json]
    malformed: set[str] = field(default_factory=set)
    """Ids of nodes that have a value of the wrong type here."""


@dataclass
class PoolPages:
    """The pages of a pool's listing; with a ``fault`` the page after the last one fails."""

    pages: list[Page]
    fault: Fault | None = None


@dataclass
class Poll:
    """A run of one account, or an import (``source``): all that the service says, before it does."""

    account: str
    at: datetime
    """By the service's clock; its seconds are whole."""
    local_at: datetime
    source: Literal["live", "import"] = "live"
    wanted: tuple[str, ...] = ()
    """Pools of a run limited by --pool."""
    pools: list[Json] = field(default_factory=list)
    pool_fault: bool = False
    """The list of pools breaks off after these."""
    nodes: dict[str, PoolPages] = field(default_factory=dict)
    is_complete: bool = False
    """An import with --complete."""
    is_late: bool = False
    """It comes into the lake after its day was closed."""


@dataclass
class World:
    """Everything a seed makes."""

    seed: int
    days: int
    pools: dict[str, list[Pool]]
    polls: list[Poll]
    """Of all accounts, in the order in which they begin."""

    @property
    def end(self) -> datetime:
        """When it ends."""
        return MONDAY + self.days * DAY


def make(seed: int) -> World:
    """The world of a seed."""
    rng = random.Random(seed)
    days = rng.randint(2, 6)
    end = MONDAY + days * DAY
    pools, polls = {}, []
    for account in ("north", "south", "west")[: rng.choice((1, 1, 1, 2, 3))]:
        pools[account] = [
            _pool(rng, f"pool{i}", end) for i in range(rng.choice((1, 1, 2, 2, 3, 4)))
        ]
        skew = timedelta(seconds=rng.choice((0, 0, 0, 45, -45)))
        for at in _times(rng, days):
            polls.append(_poll(rng, account, pools[account], at, skew))
    polls.sort(key=lambda poll: (poll.at, poll.account))
    return World(seed, days, pools, polls)


def _pool(rng: random.Random, pool_id: str, end: datetime) -> Pool:
    maker = Maker(rng, pool_id, end, is_spot=rng.random() < 0.4)
    machines = [each for i in range(rng.choice((1, 2, 2, 3, 5))) for each in maker.node(f"n{i}")]
    if rng.random() < 0.3:
        _end_at_midnight(machines, MONDAY + rng.randint(1, 3) * DAY)
    begins_at = min(each.allocated for each in machines)
    ends_at = None
    if rng.random() < 0.2:
        ends_at = moment_in(rng, begins_at + timedelta(hours=6), end)
        machines = [each for each in machines if each.allocated < ends_at]
        for each in machines:
            each.leaves = min(each.leaves or ends_at, ends_at)
    start_tasks = []
    if maker.waits_for_start_task or rng.random() < 0.5:
        names = [f"{rng.choice('abc')} {rng.choice('12')}" for _ in range(rng.choice((1, 2, 3)))]
        start_tasks = [Change(moment_in(rng, MONDAY, end), name) for name in names]
        start_tasks.sort(key=lambda change: change.at)
        start_tasks[0].at = MONDAY - DAY
    errors = []
    for _ in range(rng.choice((0, 0, 1, 3))):
        at = moment_in(rng, begins_at, end)
        code = rng.choice(("AllocationTimedout", "AccountCoreQuotaReached"))
        kind = rng.choice(("resize", "resize", "autoscale"))
        errors.append((at, at + lasting(rng, 10, 200, 2000), kind, code))
    return Pool(pool_id, machines, start_tasks, begins_at, ends_at, rng.choice((1, 2, 4)), errors)


def _end_at_midnight(machines: list[Machine], midnight: datetime) -> None:
    """Lets the pool's first node, if it is there then, go just after a midnight."""
    for machine in machines:
        if machine.node_id == "n0" and machine.is_there(midnight):
            machine.leaves = min(machine.leaves or midnight + DAY, midnight + timedelta(minutes=3))


def _times(rng: random.Random, days: int) -> list[datetime]:
    """When an account is polled: at irregular intervals, at some midnights, on some days never."""
    drawn: list[datetime] = []
    for day in range(days):
        begins = MONDAY + day * DAY
        if day and rng.random() < 0.2:
            continue
        for _ in range(rng.choice((1, 3, 6, 12))):
            drawn.append(moment_in(rng, begins, begins + DAY))
        if rng.random() < 0.5:  # a spell of polls close together
            at = moment_in(rng, begins, begins + DAY)
            for _ in range(rng.randint(2, 6)):
                at += lasting(rng, 5, 12)
                drawn.append(at)
        if rng.random() < 0.6:  # one that goes on over midnight
            drawn.append(begins + DAY - timedelta(seconds=rng.randint(3, 60)))
        if rng.random() < 0.5:
            drawn.append(begins + DAY + lasting(rng, 6, 30))
    times: list[datetime] = []
    for at in sorted(each.replace(microsecond=0) for each in drawn):
        if at >= MONDAY and at < MONDAY + days * DAY and (not times or at - times[-1] >= _APART):
            times.append(at)
    return times


def _poll(
    rng: random.Random, account: str, pools: list[Pool], at: datetime, skew: timedelta
) -> Poll:
    poll = Poll(account, at, at - skew, is_late=rng.random() < 0.04)
    there = [pool for pool in pools if pool.is_there(at)]
    drawn = rng.random()
    if drawn < 0.12 and there:
        return _import(rng, poll, there)
    if drawn < 0.2 and there:
        there = rng.sample(there, rng.randint(1, len(there)))
        poll.wanted = tuple(pool.pool_id for pool in there)
    elif 0.2 <= drawn < 0.26:
        poll.pool_fault = True
        there = there[: rng.randint(0, len(there))]
    poll.pools = [pool.document(at) for pool in there]
    # A listing that begins just before midnight is to go on over it.
    slow = 40 if (at.hour, at.minute) == (23, 59) else rng.choice((1, 2, 15, 40))
    for pool in there:
        poll.nodes[pool.pool_id] = _pages(rng, pool, at + timedelta(seconds=1), slow)
    return poll


def _pages(rng: random.Random, pool: Pool, moment: datetime, slow: int) -> PoolPages:
    """The listing of a pool, page by page, each at a moment of its own: a page is no point in time."""
    made = PoolPages([])
    size = rng.choice((1, 2) if slow == 40 else (1, 2, 2, 3, 9))
    last = ""
    fault_at = rng.choice((0, 1, 2)) if rng.random() < 0.08 else None
    while True:
        if not pool.is_there(moment):
            made.fault = "gone"
            return made
        if fault_at == len(made.pages):
            made.fault = "refused"
            return made
        page = Page(moment, [])
        left = [each for each in _listed(pool, moment) if each.node_id > last]
        for machine in left[:size]:
            _add(rng, page, pool, machine)
        if made.pages and made.pages[-1].nodes and rng.random() < 0.03:
            page.nodes.insert(0, made.pages[-1].nodes[-1])  # met twice
        made.pages.append(page)
        if len(left) <= size:
            return made
        last = left[size - 1].node_id
        moment += timedelta(seconds=rng.randint(1, slow))


def _listed(pool: Pool, moment: datetime) -> list[Machine]:
    """The machines that a listing shows, by id; the Date is of a whole second, or up to one earlier."""
    seen = moment + timedelta(milliseconds=500)
    there = [m for m in pool.machines if m.is_there(seen) and not m.is_in(m.unlisted, seen)]
    return sorted(there, key=lambda machine: machine.node_id)


def _add(rng: random.Random, page: Page, pool: Pool, machine: Machine) -> None:
    seen = page.observed_at + timedelta(milliseconds=500)
    document = documents.node(machine, seen, pool.start_tasks, rng)
    if machine.is_in(machine.malformed, seen) or rng.random() < 0.02:
        document = documents.spoilt(document, rng)
        page.malformed.add(machine.node_id)
    page.nodes.append(document)


def _import(rng: random.Random, poll: Poll, there: list[Pool]) -> Poll:
    """Saved pages of some pools, of one moment."""
    poll.source = "import"
    poll.local_at = poll.at
    poll.is_complete = rng.random() < 0.6
    poll.is_late = rng.random() < 0.6
    for pool in rng.sample(there, rng.randint(1, len(there))):
        page = Page(poll.at, [])
        shown = _listed(pool, poll.at)
        if not poll.is_complete:
            shown = rng.sample(shown, rng.randint(0, len(shown)))
        for machine in sorted(shown, key=lambda each: each.node_id):
            _add(rng, page, pool, machine)
        if page.nodes:
            poll.nodes[pool.pool_id] = PoolPages([page])
    return poll
