"""What a command costs before it does anything: processor time, each in a fresh process."""

from __future__ import annotations

import statistics
import sys

from tests.bench.figures import Figure
from tests.bench.processes import NODELAKE, cost

COMMANDS = (
    ("`nodelake --help`, processor time", (*NODELAKE, "--help"), 0.25),
    ("`import pipeline`, processor time", (sys.executable, "-c", "import pipeline"), 0.1),
)


def run(quick: bool) -> list[Figure]:
    """The seconds of each command: medians, files in the cache."""
    told = []
    for name, command, limit in COMMANDS:
        cost(command)
        seconds = [cost(command).cpu_seconds for _ in range(1 if quick else 15)]
        middle = statistics.median(seconds)
        told.append(Figure(name, middle, limit, "s", {"seconds": seconds}))
    return told
