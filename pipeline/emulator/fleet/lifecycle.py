"""The life cycle of a node as a simulation process: a generator that yields its next wake-up time.

``at`` is the node's own time; ``Node.advance`` resumes the process when it is reached.
"""

from collections.abc import Iterator
from functools import lru_cache

from ..config import Rates
from ..times import DAY, MINUTE, NEVER
from . import incidents
from .incidents import Incident
from .nodes import Node
from .startup import Process, allocate, down, span, start
from .work import gang, next_gang, work

Chances = tuple[tuple[Incident, float], ...]

_FLAPS_PER_DAY = 40.0


def lifecycle(node: Node, settled_at: int | None) -> Iterator[int]:
    """Yield a node's whole life.

    A node older than the fleet's start begins settled, at ``settled_at``; any other (None)
    begins with its allocation.
    """
    at = node.allocated_at
    if settled_at is None:
        at = yield from allocate(node, at)
    else:
        at = _settle(node, settled_at)
        if node.defect == "stuck":
            yield NEVER
        at = yield from _trouble(node, at)
    while True:
        when, incident = _next_incident(node, at)
        at = yield from work(node, at, when)
        at = yield from incident(node, at)


def _trouble(node: Node, at: int) -> Process:
    """Break some nodes before the fleet starts, as in any real fleet."""
    drawn = node.rng.random()
    if node.defect is None and drawn < 0.03:
        return (yield from incidents.unusable(node, at))
    if node.defect is None and drawn < 0.06 and node.plan.config.start_task.is_present:
        at = yield from down(node, at, "rebooting", 40, 180)
        return (yield from start(node, at, is_doomed=True))
    return at


def _settle(node: Node, at: int) -> int:
    """Fill in the traces of the past of a node that has been up for long."""
    booted = node.allocated_at + span(node, 120, 420)
    if node.rng.random() < 0.3:  # it was rebooted at some time in between
        booted += int((at - booted) * node.rng.random() * 0.8)
    node.boot(booted)
    if node.rng.random() < 0.2:
        node.agent_version = "1.12.6"  # an agent that is one release behind
    if node.defect == "stuck":
        node.enter("waitingforstarttask", booted)
        node.begin_start_task(booted)
        return at
    if node.plan.config.start_task.is_present:
        node.begin_start_task(booted + span(node, 0.2, 2))
        assert node.start_task_info is not None
        node.end_start_task(node.start_task_info.started_at + span(node, 5, 60), None)
    work = node.plan.config.work
    cycle = (work.task_minutes + work.idle_minutes) * MINUTE
    node.tasks_run = int((at - booted) / cycle * node.plan.work_slots)
    node.tasks_succeeded = node.tasks_run - int(node.tasks_run * work.failure_rate)
    if node.defect == "black_hole":
        node.tasks_succeeded = node.tasks_run // 50
    node.enter("idle", at)
    return at


def _next_incident(node: Node, at: int) -> tuple[int, Incident]:
    """Draw the next incident and its time: a random one, or an earlier planned one of the pool."""
    plan = node.plan
    chances, total = _chances(
        plan.config.rates, node.is_dedicated, node.defect == "flapping", bool(node.errors)
    )
    when = at + int(node.rng.expovariate(total) * DAY) + 1 if total else NEVER
    incident = _pick(node, chances, total)
    if not node.is_dedicated and (wave := plan.next_wave(at)) < when:
        when, incident = wave, incidents.wave
    if (together := next_gang(node, at)) < when:
        when, incident = together, gang
    storm, _ = plan.next_storm(at)
    if storm < when:
        when, incident = storm, incidents.storm
    if node.heal_at < when:
        when, incident = max(at, node.heal_at), incidents.heal
    return when, incident


@lru_cache(maxsize=256)
def _chances(
    rates: Rates, is_dedicated: bool, is_flapping: bool, has_errors: bool
) -> tuple[Chances, float]:
    """Return the incidents that such a node can have, each with its daily rate, and their sum."""
    chances = (
        (incidents.reboot, rates.reboots),
        (incidents.reimage, rates.reimages),
        (incidents.unusable, _FLAPS_PER_DAY if is_flapping else rates.unusable),
        (incidents.unknown, rates.unknown),
        (incidents.offline, rates.offline),
        (incidents.preempt, 0.0 if is_dedicated else rates.preemptions),
        (incidents.upgrade_os, rates.os_upgrades),
        (incidents.deallocate, rates.deallocations),
        (incidents.error, 0.0 if has_errors else rates.errors),
        (incidents.upgrade_agent, rates.agent_upgrades),
    )
    return chances, sum(rate for _, rate in chances)


def _pick(node: Node, chances: Chances, total: float) -> Incident:
    left = node.rng.random() * total
    for incident, rate in chances:
        left -= rate
        if left < 0:
            return incident
    return incidents.reboot
