"""What every benchmark shares: a figure, interleaved runs, the machine, the table of the README.

Figures are ratios of medians over interleaved runs on the same input: machines differ, and this one
may be busy, but both sides of a ratio meet the same load.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One row of the table: what was measured, what was reached, and at most what it should be.

    ``unit`` is empty for a ratio; a figure without ``limit`` is shown for its own sake. ``details``
    are the raw figures behind it, JSON values by name.
    """

    name: str
    value: float
    limit: float | None = None
    unit: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_met(self) -> bool:
        """Whether it is within its limit, if it has one."""
        return self.limit is None or self.value <= self.limit


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each contender, one run of each after the other, ``rounds`` times over.

    Every second round goes backwards, so that none always follows the same one.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders.items())
        for name, run in order[:: -1 if number % 2 else 1]:
            begun = clock()
            run()
            seconds[name].append(clock() - begun)
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each contender."""
    return {name: statistics.median(each) for name, each in seconds.items()}


def in_fresh_process(module: str, *arguments: str, **environment: str) -> Any:
    """What ``python -m module arguments`` prints as the JSON of its last line."""
    told = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        check=True,
        env=os.environ | environment,
    )
    return json.loads(told.stdout.splitlines()[-1])


def machine() -> str:
    """The machine and what runs on it, in a line."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = " ".join(
        f"{name} {_version(name)}"
        for name in "pyarrow arro3-io duckdb orjson azure-batch dlt pandas pyspark".split()
    )
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {gib:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, {packages}"
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(absent)"


def save(name: str, figures: Iterable[Figure], seconds: float) -> Path:
    """Writes a benchmark's figures to ``results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    told = {
        "machine": machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "figures": [asdict(figure) for figure in figures],
    }
    path.write_text(json.dumps(told, indent=1) + "\n")
    return path


def saved() -> tuple[list[Figure], set[str]]:
    """The figures of every benchmark whose results are there, and the machines they are of."""
    figures, machines = [], set()
    for path in sorted(RESULTS.glob("*.json"), key=_place):
        told = json.loads(path.read_text())
        figures += [Figure(**figure) for figure in told["figures"]]
        machines.add(told["machine"])
    return figures, machines


def _place(path: Path) -> tuple[int, str]:
    """Where a benchmark's figures are in the README: what users wait for first."""
    order = [
        "pages",
        "import",
        "snapshot",
        "growth",
        "bytes",
        "compact",
        "year",
        "startup",
        "tricks",
    ]
    return order.index(path.stem) if path.stem in order else len(order), path.stem


def table(figures: Iterable[Figure]) -> str:
    """The figures as a Markdown table; one over its limit is in bold."""
    lines = ["| figure | at most | reached |", "|---|---|---|"]
    for figure in figures:
        limit = "" if figure.limit is None else _shown(figure.limit, figure.unit)
        value = _shown(figure.value, figure.unit)
        lines.append(f"| {figure.name} | {limit} | {value if figure.is_met else f'**{value}**'} |")
    return "\n".join(lines)


def _shown(value: float, unit: str) -> str:
    """Two to three digits that matter: 0.0047, 0.52, 1.18, 24.1, 512; a count as it is."""
    if isinstance(value, int) and not unit:
        return f"{value:,}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.095 else 4
    text = f"{value:.{digits}f}"
    if digits == 4:
        text = text.rstrip("0")
    return f"{text} {unit}".rstrip()
