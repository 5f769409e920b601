"""Incidents of a node: each is a process that ends with the node at work again."""

from collections.abc import Callable

from ..times import HOUR, MINUTE
from .nodes import Node, NodeError
from .startup import Process, allocate, down, mean, span, start
from .work import drain


def reboot(node: Node, at: int) -> Process:
    """The machine is rebooted, by hand or by the service."""
    node.interrupt(at)
    at = yield from down(node, at, "rebooting", 40, 180)
    return (yield from start(node, at))


def reimage(node: Node, at: int) -> Process:
    """The machine gets a new disk with the newest image."""
    node.interrupt(at)
    at = yield from down(node, at, "reimaging", 120, 420)
    node.image_release = node.plan.image_release(at)
    return (yield from start(node, at))


_UNUSABLE_ERRORS = (
    NodeError(
        "DiskFull",
        "There is not enough disk space on the node",
        (("VolumeName", "/mnt/resource"), ("FreeBytes", "1048576")),
    ),
    NodeError(
        "NodeAgentStopped",
        "The node agent stopped reporting and could not be restarted",
        (("LastCommand", "waagent -daemon --token Bearer eyJhbGciOiJub25lIn0.made.up"),),
    ),
)


def unusable(node: Node, at: int) -> Process:
    """The node becomes unusable, with errors or unreachable, and recovers or is rebooted."""
    node.interrupt(at)
    node.enter("unusable", at)
    is_flapping = node.defect == "flapping"
    lasts = span(node, 120, 900) if is_flapping else 5 * MINUTE + mean(node, 2 * HOUR)
    node.heal(at)
    # Without errors: the service cannot reach the machine.
    if node.rng.random() < 0.6:
        found = node.rng.choice(_UNUSABLE_ERRORS)
        node.err(at, NodeError(found.code, found.message, found.details), at + lasts)
    yield (at := at + lasts)
    node.heal(at)
    if is_flapping or node.rng.random() < 0.4:
        node.enter("idle", at)
        return at
    return (yield from reboot(node, at))


def unknown(node: Node, at: int) -> Process:
    """The service loses contact with the node for a while; its tasks continue."""
    return (yield from down(node, at, "unknown", 60, 900))


def offline(node: Node, at: int) -> Process:
    """Scheduling is disabled, running tasks end, and later it is enabled again."""
    node.is_scheduling = False
    at = yield from drain(node, at)
    at = yield from down(node, at, "offline", 900, 7200)
    node.is_scheduling = True
    node.enter("idle", at)
    return at


def preempt(node: Node, at: int) -> Process:
    """Spot capacity is reclaimed; the node stays listed and returns under its id."""
    node.interrupt(at)
    node.enter("preempted", at)
    yield (at := at + 4 * MINUTE + mean(node, HOUR))  # until capacity returns
    node.heal(at)
    node.image_release = node.plan.image_release(at)
    return (yield from allocate(node, at))


def wave(node: Node, at: int) -> Process:
    """Spot capacity is reclaimed on a large scale: this node may be preempted."""
    if node.rng.random() < node.plan.config.preemption_wave_share:
        return (yield from preempt(node, at))
    return at


def storm(node: Node, at: int) -> Process:
    """A start-task failure storm begins: some nodes reboot into it."""
    begins, share = node.plan.next_storm(at - 1)
    if begins == at and node.rng.random() < share:
        yield (at := at + span(node, 1, 600))
        return (yield from reboot(node, at))
    return at


def upgrade_os(node: Node, at: int) -> Process:
    """The image is upgraded while no task runs."""
    at = yield from drain(node, at)
    at = yield from down(node, at, "upgradingos", 240, 900)
    node.image_release = node.plan.image_release(at)
    return (yield from start(node, at))


def deallocate(node: Node, at: int) -> Process:
    """The machine is deallocated and started again hours later."""
    at = yield from drain(node, at)
    at = yield from down(node, at, "deallocating", 40, 180)
    node.enter("deallocated", at)
    yield (at := at + 20 * MINUTE + mean(node, 3 * HOUR))
    return (yield from start(node, at))


def error(node: Node, at: int) -> Process:
    """An error that does not stop the node from working."""
    error = NodeError(
        "ApplicationPackageError",
        "An application package could not be downloaded to the node",
        (
            ("ApplicationId", "blender"),
            ("Version", "4.2"),
            ("Source", "https://farmassets.blob.core.windows.net/app.zip?sp=r&sig=bWFkZXVw"),
        ),
    )
    node.err(at, error, at + 10 * MINUTE + mean(node, 3 * HOUR))
    yield at
    return at


def heal(node: Node, at: int) -> Process:
    """The errors end."""
    node.heal(at)
    yield at
    return at


def upgrade_agent(node: Node, at: int) -> Process:
    """The node agent is replaced in place, with no reboot."""
    version = node.plan.agent_version(at)
    if version != node.agent_version:
        node.agent_version = version
        node.agent_updated_at = at
    yield at
    return at


Incident = Callable[[Node, int], Process]
