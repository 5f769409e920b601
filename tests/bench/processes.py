"""Commands run as users run them: in processes of their own, their time and memory measured."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# pyarrow imports pandas where it is installed. nodelake does without, and the benchmark's rivals
# bring it: it is hidden, as in an installation of nodelake alone.
_MAIN = """
import sys

class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("pandas", "tornado"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden)
from pipeline.cli import main
main()
"""
NODELAKE = (sys.executable, "-c", _MAIN)
# A process inherits its parent's peak, which here is a benchmark with its pages: so a small one starts
# the command, and prints what the system counted.
_STARTER = """
import json, os, subprocess, sys, time
begun = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdout=open(sys.argv[1], "wb"), stderr=subprocess.STDOUT)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - begun
process.returncode = os.waitstatus_to_exitcode(status)
told = [process.returncode, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds of the clock and of the processor, and its peak memory."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


def ratio(ours: Sequence[Cost], theirs: Sequence[Cost], figure: str = "cpu_seconds") -> float:
    """The medians of one figure of two commands' costs, the first against the second."""
    one, other = (
        statistics.median(getattr(cost, figure) for cost in each) for each in (ours, theirs)
    )
    return float(one / other)


#: Exit codes of a command that ends well, and of one that refuses its input.
DONE, REFUSED = (0,), (1, 2, 3)


def cost(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    exit_codes: Sequence[int] = DONE,
) -> Cost:
    """Runs a command to its end, its output thrown away; it has to end with one of these codes."""
    with tempfile.NamedTemporaryFile() as told:
        starter = [sys.executable, "-S", "-c", _STARTER, told.name, *command]
        done = subprocess.run(
            starter, env=os.environ | (environment or {}), stdout=subprocess.PIPE, check=True
        )
        exit_code, *figures = json.loads(done.stdout)
        if exit_code not in exit_codes:
            raise RuntimeError(f"{command} ended with {exit_code}: {told.read()!r}")
    return Cost(*figures)


def snapshot(environment: Mapping[str, str], lake: Path, *options: str) -> Cost:
    """One ``nodelake snapshot``."""
    return cost([*NODELAKE, "snapshot", "--lake", str(lake), *options], environment)
