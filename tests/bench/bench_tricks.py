"""What each trick of speed is worth: a whole ``nodelake snapshot`` without it against one with it.

100,000 nodes of pages made up like an account's, served without delay by a lean process; each way in
turn, as processes of their own. What gains less than 5 % goes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.bench import made_pages, processes
from tests.bench.figures import Figure
from tests.bench.served import lay_out, served

#: It is not run unless named: it takes ten minutes.
IS_LONG = True
#: Each trick, and the Python that takes it out before the command starts.
TRICKS = {
    "Arrow's memory from the system's allocator": """
import pyarrow
pyarrow.set_memory_pool = lambda pool: None
""",
    "mallopt": """
import types
from pipeline.cli import memory
memory.ctypes = types.SimpleNamespace(CDLL=lambda name: None)
""",
    "files in memory": """
from pipeline.flatten import pages
pages._HAS_MEMORY_FILES = False
""",
    "turns between threads": """
import contextlib
from pipeline.flatten import pages
pages._TURN[:] = [contextlib.nullcontext()]
""",
    "unknown-field cutter": """
from pipeline.flatten.unknown_fields import UnknownFields
UnknownFields.learn = lambda self, unknown: None
""",
    "ISA-L (zlib in its place)": """
import zlib
from pipeline.extract import body
body.isal_zlib = zlib
""",
    "google-re2 (Arrow's in its place)": """
import re
import pyarrow.compute
from pipeline.redact import gate, redactor
hint = re.compile(gate._HINTS)
def suspects(texts):
    return texts.filter(pyarrow.compute.match_substring_regex(texts, gate.GATE)).to_pylist()
gate.suspects = suspects
redactor.suspects = suspects
""",
    "columns, their quotes counted (node by node in its place)": """
from pipeline.flatten import pages
pages.read_fast = lambda *given: None
""",
}
_MAIN = processes.NODELAKE[-1]
_START = "from pipeline.cli import main\nmain()"
assert _START in _MAIN


def run(quick: bool) -> list[Figure]:
    """Each trick's ratio of processor time, wall and peak memory without it to with it."""
    pages, per_page, rounds = (2, 4, 1) if quick else (100, made_pages.NODES_PER_PAGE, 7)
    costs: dict[str, list[processes.Cost]] = {name: [] for name in ("all", *TRICKS)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder, made_pages.pools(pages, per_page))
        with served(folder, 0) as environment:
            for number in range(rounds):
                for place, (trick, patch) in enumerate({"all": "", **TRICKS}.items()):
                    program = _MAIN.replace(_START, patch + _START)
                    lake = folder / f"lake{number}-{place}.d"
                    command = [sys.executable, "-c", program, "snapshot", "--lake", str(lake)]
                    costs[trick].append(processes.cost(command, environment))
    figures = []
    for trick in TRICKS:
        ratios = {
            of: processes.ratio(costs[trick], costs["all"], of)
            for of in ("cpu_seconds", "wall_seconds", "peak_bytes")
        }
        details = {"without": [vars(each) for each in costs[trick]], "ratios": ratios}
        figures.append(
            Figure(
                f"snapshot without {trick}: processor time, clock "
                f"({ratios['wall_seconds']:.2f}) and memory ({ratios['peak_bytes']:.2f}) "
                "against with",
                ratios["cpu_seconds"],
                None,
                "",
                details,
            )
        )
    return figures
