"""Whole ``nodelake import`` commands of saved pages, by processor time.

Against a process that reads the same files and ``orjson.loads`` them, its garbage collector off; with
an unknown field in every node, or as lists, against without; and a page of empty objects, by memory.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import orjson
import pyarrow.parquet as pq

from tests.bench import made_pages, processes
from tests.bench.figures import Figure

_READ = """
import gc, sys
import orjson
gc.disable()
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        orjson.loads(file.read())
"""
#: A page of 4.5 MB that became objects 230 times its size.
_BOMB = b'{"value":[' + b"{}," * 1_500_000 + b"{}]}"


def save(
    folder: Path, pages: int, nodes: int, unknown: int = 0, is_list: bool = False
) -> list[str]:
    """Writes made-up pages as files, one a page, or only the list of nodes of each; their paths."""
    folder.mkdir()
    paths = []
    for pool, bodies in made_pages.pools(pages, nodes, unknown=unknown).items():
        for number, body in enumerate(bodies):
            path = folder / f"{pool}-{number}.json"
            path.write_bytes(orjson.dumps(orjson.loads(body)["value"]) if is_list else body)
            paths.append(str(path))
    return paths


def imported(files: Sequence[str], lake: Path, nodes: int) -> processes.Cost:
    """One import into a lake of its own, every node of which is there."""
    command = [*processes.NODELAKE, "import", *files, "--lake", str(lake), "--complete"]
    cost = processes.cost([*command, "--at", "2026-11-21T12:00Z"])
    (stored,) = (lake / "landing" / "nodes").rglob("*.parquet")
    assert nodes == pq.read_metadata(stored).num_rows, "a node is missing"
    return cost


def bomb(folder: Path) -> processes.Cost:
    """The cost of an import that refuses a page of empty objects."""
    page = folder / "bomb.json"
    page.write_bytes(_BOMB)
    command = [*processes.NODELAKE, "import", str(page), "--lake", str(folder / "bomb.d")]
    return processes.cost(
        [*command, "--pool", "p", "--account", "acct"], exit_codes=processes.REFUSED
    )


def run(quick: bool) -> list[Figure]:
    """The three, interleaved."""
    pages, per_page, rounds = (2, 20, 1) if quick else (100, made_pages.NODES_PER_PAGE, 5)
    nodes = pages * per_page
    costs: dict[str, list[processes.Cost]] = {
        name: [] for name in ("import", "unknown", "lists", "orjson")
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = save(folder / "pages", pages, per_page)
        unknown = save(folder / "unknown", pages, per_page, unknown=1)
        lists = save(folder / "lists", pages, per_page, is_list=True)
        for number in range(rounds):
            costs["import"].append(imported(files, folder / f"import{number}.d", nodes))
            costs["unknown"].append(imported(unknown, folder / f"unknown{number}.d", nodes))
            costs["lists"].append(imported(lists, folder / f"lists{number}.d", nodes))
            costs["orjson"].append(processes.cost([sys.executable, "-c", _READ, *files]))
        memory = bomb(folder)
    details = {name: [vars(cost) for cost in each] for name, each in costs.items()}
    what = f"`nodelake import` of {pages} saved pages, whole command: processor time against"
    return [
        Figure(
            f"{what} a process that reads and `orjson.loads` them, garbage collector off",
            processes.ratio(costs["import"], costs["orjson"]),
            2.0,
            "",
            details,
        ),
        Figure(
            "the same by the clock",
            processes.ratio(costs["import"], costs["orjson"], "wall_seconds"),
        ),
        Figure(
            "import of pages with one unknown field a node: processor time against the same "
            "pages without",
            processes.ratio(costs["unknown"], costs["import"]),
            1.5,
        ),
        Figure(
            "import of the same nodes as bare lists: processor time against the pages",
            processes.ratio(costs["lists"], costs["import"]),
        ),
        Figure(
            "import of a page of a million and a half empty objects: peak memory",
            memory.peak_bytes / 1e6,
            300,
            "MB",
        ),
    ]
