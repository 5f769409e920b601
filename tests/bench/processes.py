"""Commands run as users run them: in processes of their own, their time and memory measured."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NODELAKE = (sys.executable, "-m", "pipeline")


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds of the clock and of the processor, and its peak memory."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


def cost(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Runs a command to its end, its output thrown away; it has to end well."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            command, env=os.environ | (environment or {}), stdout=told, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - begun
        if process.returncode:
            told.seek(0)
            raise RuntimeError(f"{command} ended with {process.returncode}: {told.read()!r}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def snapshot(environment: Mapping[str, str], lake: Path) -> Cost:
    """One ``nodelake snapshot``."""
    return cost([*NODELAKE, "snapshot", "--lake", str(lake)], environment)
