"""How a node starts: allocation, boot, and its start task until that succeeds.

These are parts of a node's process (``lifecycle``); ``at`` is the node's own time.
"""

from collections.abc import Generator

from ..states import NodeState
from ..times import HOUR, MINUTE, NEVER, SECOND
from .nodes import Node
from .tasks import start_task_failure

Process = Generator[int, None, int]


def span(node: Node, low: float, high: float) -> int:
    """Draw a time between two numbers of seconds."""
    return int(node.rng.uniform(low, high) * SECOND)


def mean(node: Node, mean: float) -> int:
    """Draw from an exponential distribution with its tail cut off."""
    return int(min(node.rng.expovariate(1.0), 6.0) * mean)


def down(node: Node, at: int, state: NodeState, low: float, high: float) -> Process:
    """Stay in a state for a time between two numbers of seconds."""
    node.enter(state, at)
    yield (at := at + span(node, low, high))
    return at


def allocate(node: Node, at: int) -> Process:
    """Allocate a machine, and start it."""
    node.enter("creating", at)
    yield (at := at + span(node, 15, 90))
    return (yield from start(node, at))


def start(node: Node, at: int, *, is_doomed: bool = False) -> Process:
    """The machine starts, its agent reports, its start task runs until it succeeds.

    A doomed start task fails this time, whatever the pool's rate.
    """
    node.enter("starting", at)
    yield (at := at + span(node, 25, 150))
    node.boot(at)
    while True:
        is_ready, at = yield from _start_task(node, at, is_doomed=is_doomed)
        is_doomed = False
        if is_ready:
            return at
        if node.rng.random() < 0.3:
            at = yield from down(node, at, "reimaging", 120, 420)
            node.image_release = node.plan.image_release(at)
        else:
            at = yield from down(node, at, "rebooting", 40, 160)
        node.enter("starting", at)
        yield (at := at + span(node, 20, 60))
        node.boot(at)


def _start_task(node: Node, at: int, *, is_doomed: bool) -> Generator[int, None, tuple[bool, int]]:
    """Run the start task with its retries; return whether the node is ready, and its time."""
    settings = node.plan.config.start_task
    if not settings.is_present:
        node.enter("idle", at)
        return True, at
    node.enter("waitingforstarttask" if settings.wait_for_success else "idle", at)
    at += span(node, 0.1, 1.5)
    yield at
    if node.defect == "stuck":
        node.begin_start_task(at)
        yield NEVER
    while True:
        node.begin_start_task(at)
        failure = None
        seconds = settings.seconds
        if is_doomed or node.rng.random() < node.plan.start_task_failure_rate(at):
            document = node.plan.start_task(node.start_task_key)
            blob = document["resourceFiles"][0].get("httpUrl", "")
            is_container = node.plan.profile.is_container
            failure = start_task_failure(node.rng, is_container=is_container, blob=blob)
            if failure.exit_code is None:
                seconds = 4.0  # it fails before the command runs
            elif failure.exit_code == 124:
                seconds *= 4
        yield (at := at + int(seconds * node.rng.uniform(0.6, 1.6) * SECOND))
        node.end_start_task(at, failure)
        if failure is None:
            break
        assert node.start_task_info is not None
        if not failure.is_retried or node.start_task_info.retry_count >= settings.retry_limit:
            break
        yield (at := at + span(node, 1, 4))
    if failure is None or not settings.wait_for_success:
        node.enter("idle", at)
        return True, at
    node.enter("starttaskfailed", at)
    yield (
        at := at + 20 * MINUTE + mean(node, 5 * HOUR)
    )  # until an operator reboots or reimages it
    return False, at
