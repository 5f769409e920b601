"""What a year of 10,000 nodes costs its reader: every question, nodes_at, opening the lake.

The lake is made by ``tests.bench.year`` where it is missing (minutes), in ``NODELAKE_BENCH_YEAR``, or
``/var/tmp/nodelake-year``. Each question is asked of a fresh connection, files warm, over the whole
year; the question of one node's story is asked of one node.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import time as clock
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import query
from pipeline.lake import Lake
from tests.bench.figures import Figure
from tests.bench.year import make
from tests.bench.year_truth import Shape

#: It is not run unless named: the lake takes a quarter of an hour to make.
IS_LONG = True
_TINY = Shape(nodes=40, pools=4, days=3, polls=24, kept=2)
_ROUNDS = 3
#: Questions about one node, whose id they are given.
_OF_A_NODE = ("node_story", "node_states_seen")


def lake_of(shape: Shape, root: Path) -> Lake:
    """The lake of a year: made where it is missing."""
    if not (root / "history" / "manifests").exists():
        print(f"making {root}", flush=True)
        make(root, shape, lambda text: print(text, flush=True))
    return Lake(root)


def median_seconds(run: Callable[[], float], rounds: int = _ROUNDS) -> float:
    """The median seconds of some runs, after one that warms the files; of one long run, its own."""
    seconds: list[float] = []
    for _ in range(rounds + 1):
        seconds.append(run())
        if seconds[-1] > 10:
            return seconds[-1]
    return statistics.median(seconds[1:])


def timed(root: Path, answer: Callable[[query.Connection], pa.Table]) -> tuple[float, int]:
    """Seconds and rows of an answer of a fresh connection; opening is a figure of its own."""
    with query.connect(root) as connection:
        begun = time.perf_counter()
        rows = answer(connection).num_rows
        return time.perf_counter() - begun, rows


def open_and_close(root: Path) -> float:
    """Seconds to open a lake."""
    begun = time.perf_counter()
    query.connect(root).close()
    return time.perf_counter() - begun


def questions(root: Path) -> dict[str, tuple[float, int]]:
    """Seconds and rows of every question."""
    with query.connect(root) as connection:
        (node,) = connection.table(
            "select pool_id as pool, max(node_id) as node from nodes_latest "
            "where pool_id = (select max(pool_id) from nodes_latest) group by pool_id"
        ).to_pylist()
    found = {}
    for name in query.questions():
        given: dict[str, Any] = node if name in _OF_A_NODE else {}
        rows = 0

        def run(name: str = name, given: dict[str, Any] = given) -> float:
            nonlocal rows
            seconds, rows = timed(root, lambda connection: connection.ask(name, **given))
            return seconds

        seconds = median_seconds(run)
        found[name] = (seconds, rows)
        print(f"{name}: {seconds:.2f} s, {rows:,} rows", flush=True)
    return found


def part_of(root: Path, into: Path, days: int) -> None:
    """The last days of a lake, as hard links."""
    kept = {f"date={d:%Y-%m-%d}" for d in _days(root)[-days:]}
    for path in (*root.glob("compacted/*/date=*/*"), *root.glob("history/*/date=*/*")):
        if path.parent.name in kept:
            target = into / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)


def _days(root: Path) -> list[datetime]:
    found = sorted(
        path.name.removeprefix("date=") for path in root.glob("history/manifests/date=*")
    )
    return [datetime.fromisoformat(each) for each in found]


def opening(root: Path, ages: tuple[int, ...]) -> dict[int, float]:
    """Seconds to open a lake that is so many days old."""
    found = {}
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        for days in ages:
            part = Path(folder) / str(days)
            part_of(root, part, days)
            found[days] = median_seconds(partial(open_and_close, part), 5)
    return found


def moments(root: Path, kept: int) -> dict[str, float]:
    """Seconds of nodes_at, of the last, the first and a middle kept day: every column, and counts."""
    found = {}
    days = _days(root)[-kept:]
    for day in {days[0], days[len(days) // 2], days[-1]}:
        at = datetime.combine(day, clock(13, 37)) + timedelta(seconds=11)
        for what, columns in (("all columns", "*"), ("states", "pool_id, state, count(*)")):
            tail = "" if columns == "*" else " group by pool_id, state"
            asked = f"select {columns} from nodes_at(timestamptz '{at}+00'){tail}"

            def run(asked: str = asked) -> float:
                seconds, rows = timed(root, lambda connection: connection.table(asked))
                assert rows > 0
                return seconds

            found[f"{what}, {day:%Y-%m-%d}"] = median_seconds(run)
    return found


def run(quick: bool) -> list[Figure]:
    """The figures of the year; of three days of 40 nodes where it is a smoke."""
    if quick:
        with tempfile.TemporaryDirectory() as folder:
            return figures_of(Path(folder) / "lake", _TINY, (1, 3))
    root = Path(os.environ.get("NODELAKE_BENCH_YEAR", "/var/tmp/nodelake-year"))
    return figures_of(root, Shape(), (1, 30, 365))


def figures_of(root: Path, shape: Shape, ages: tuple[int, ...]) -> list[Figure]:
    """The figures of a lake."""
    lake_of(shape, root)
    opened = opening(root, ages)
    at = moments(root, shape.kept)
    asked = questions(root)
    told = {name: {"seconds": seconds, "rows": rows} for name, (seconds, rows) in asked.items()}
    slowest = sorted(asked, key=lambda name: -asked[name][0])
    over = [name for name in slowest if asked[name][0] > 1]
    year = f"year of {shape.nodes:,} nodes"
    first = f"slowest of {len(asked)} questions ({slowest[0]})"
    at_states, at_all = (
        max(value for name, value in at.items() if kind in name) for kind in ("states", "columns")
    )
    typical = statistics.median(seconds for seconds, _ in asked.values())
    found = [
        Figure(f"{year}: {first}", asked[slowest[0]][0], 1, "s", told),
        Figure(f"{year}: median of the questions", typical, 1, "s"),
        Figure(f"{year}: questions over 1 s", len(over), 0, details={"over": over}),
        Figure(f"{year}: nodes_at, all columns", at_all, 0.3, "s", at),
        Figure(f"{year}: nodes_at, counts by state", at_states, 0.3, "s"),
    ]
    found += [Figure(f"{year}: {name}", asked[name][0], 1, "s") for name in over[1:]]
    last = max(ages)
    found += [
        Figure(f"opening a lake of {days} days", seconds, 0.3 if days == last else None, "s")
        for days, seconds in opened.items()
    ]
    return found
