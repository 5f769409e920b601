"""The sixteen states of a compute node and the transitions between them.

Names and meanings are those of ``ComputeNodeState`` in the published OpenAPI; which state may
follow which is not published, so ``LEGAL`` is this emulator's reading of the descriptions.
"""

from typing import Final, Literal, get_args

NodeState = Literal[
    "idle", "rebooting", "reimaging", "running", "unusable", "creating", "starting",
    "waitingforstarttask", "starttaskfailed", "unknown", "leavingpool", "offline", "preempted",
    "upgradingos", "deallocated", "deallocating",
]  # fmt: skip

STATES: Final[tuple[NodeState, ...]] = get_args(NodeState)

#: Each state in ``/nodecounts``: camelCase, where a node has lower case.
COUNTER_NAMES: Final[dict[NodeState, str]] = {
    "creating": "creating",
    "idle": "idle",
    "leavingpool": "leavingPool",
    "offline": "offline",
    "preempted": "preempted",
    "rebooting": "rebooting",
    "reimaging": "reimaging",
    "running": "running",
    "starting": "starting",
    "starttaskfailed": "startTaskFailed",
    "unusable": "unusable",
    "unknown": "unknown",
    "upgradingos": "upgradingOS",
    "waitingforstarttask": "waitingForStartTask",
    "deallocated": "deallocated",
    "deallocating": "deallocating",
}

#: States without a machine: no core-hours accrue.
UNBILLED: Final[frozenset[NodeState]] = frozenset({"preempted", "deallocated"})

#: States before the node agent reports: these nodes lack the agent's members.
AGENTLESS: Final[frozenset[NodeState]] = frozenset({"creating", "starting"})

_WORKING: Final = frozenset[NodeState]({"idle", "running"})
_TAKEN_DOWN: Final = frozenset[NodeState](
    {"rebooting", "reimaging", "unusable", "unknown", "preempted"}
)

#: ``LEGAL[a]`` are the states that may directly follow ``a``; every state may become
#: ``leavingpool``, which is the last.
LEGAL: Final[dict[NodeState, frozenset[NodeState]]] = {
    "creating": frozenset({"starting", "unusable", "preempted", "leavingpool"}),
    "starting": frozenset({"waitingforstarttask", "idle", "unusable", "preempted", "leavingpool"}),
    "waitingforstarttask": frozenset(
        {"idle", "starttaskfailed", "rebooting", "unusable", "preempted", "leavingpool"}
    ),
    "starttaskfailed": frozenset({"rebooting", "reimaging", "preempted", "leavingpool"}),
    "idle": _TAKEN_DOWN | {"running", "offline", "upgradingos", "deallocating", "leavingpool"},
    "running": _TAKEN_DOWN | {"idle", "offline", "leavingpool"},
    "rebooting": frozenset({"starting", "unusable", "preempted", "leavingpool"}),
    "reimaging": frozenset({"starting", "unusable", "preempted", "leavingpool"}),
    "unusable": _WORKING | {"rebooting", "reimaging", "preempted", "leavingpool"},
    "unknown": _WORKING | {"unusable", "rebooting", "preempted", "leavingpool"},
    "offline": frozenset({"idle", "rebooting", "preempted", "leavingpool"}),
    "preempted": frozenset({"creating", "leavingpool"}),
    "upgradingos": frozenset({"starting", "idle", "unusable", "leavingpool"}),
    "deallocating": frozenset({"deallocated", "leavingpool"}),
    "deallocated": frozenset({"starting", "leavingpool"}),
    "leavingpool": frozenset(),
}
