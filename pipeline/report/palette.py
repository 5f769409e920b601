"""The look of every node state: its group, its letter, its colours; defined only here.

The groups differ for the colour-blind (blue, amber, slate, red to purple, warm grey), and in each
theme by lightness too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["trouble", "gone", "passing", "idle", "working"]


@dataclass(frozen=True)
class Look:
    """The look of one state.

    ``group``: what it means to the payer. ``letter``: in the terminal; capitals are trouble,
    preempted too. ``terminal``: SGR colour. ``light``, ``dark``: on a light or a dark page,
    ``#rrggbb``.
    """

    group: Group
    letter: str
    terminal: str
    light: str
    dark: str


# fmt: off
#: Every state of the API, the most troubling first.
STATES: dict[str, Look] = {
    "unusable":            Look("trouble", "U", "1;97;41", "#a8123c", "#c2184f"),
    "starttaskfailed":     Look("trouble", "F", "1;31",    "#dd5427", "#e65a30"),
    "unknown":             Look("trouble", "K", "1;35",    "#74378c", "#b583cf"),
    "offline":             Look("trouble", "O", "35",      "#c477ad", "#d99cc8"),
    "preempted":           Look("gone",    "P", "1;33",    "#857a6b", "#aaa092"),
    "leavingpool":         Look("passing", "l", "90",      "#cfd8dc", "#2f3d46"),
    "rebooting":           Look("passing", "b", "36",      "#6f8a99", "#8ca6b5"),
    "reimaging":           Look("passing", "m", "36",      "#5d7887", "#9db5c2"),
    "upgradingos":         Look("passing", "g", "36",      "#4b6573", "#b0c5d0"),
    "creating":            Look("passing", "c", "34",      "#bccad2", "#3d4f5a"),
    "starting":            Look("passing", "s", "34",      "#a6b9c4", "#4f6573"),
    "waitingforstarttask": Look("passing", "w", "1;34",    "#8ba3b0", "#5f7886"),
    "deallocating":        Look("gone",    "e", "90",      "#b8aea1", "#655d52"),
    "deallocated":         Look("gone",    "d", "90",      "#d5cec3", "#49433b"),
    "idle":                Look("idle",    "i", "33",      "#ecb93f", "#e9c456"),
    "running":             Look("working", "r", "32",      "#2c6cb0", "#5795d6"),
}
# fmt: on

#: An unknown state, and a malformed node.
OTHER = Look("trouble", "?", "1;35", "#4a4a4a", "#c9c9c9")

#: The groups, from the bottom of a stacked picture to its top, with their meanings.
GROUPS: dict[Group, str] = {
    "working": "runs tasks",
    "idle": "ready, without a task",
    "passing": "on its way between states",
    "trouble": "paid for and broken",
    "gone": "not paid for: preempted or deallocated",
}

#: States in which a node costs money and does nothing.
BROKEN = tuple(state for state, look in STATES.items() if look.group == "trouble")


def look_of(state: str | None) -> Look:
    """The look of a state, known or not."""
    return STATES.get(state or "", OTHER)


def stacked() -> list[str]:
    """The states in stacking order, the bottom first."""
    order = list(GROUPS)
    return sorted(STATES, key=lambda state: order.index(STATES[state].group))
