"""The house: which room may import which, as the README's table says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PIPELINE = PROJECT / "pipeline"


def table() -> dict[str, set[str]]:
    """Each room and what it may import, from the table in the README."""
    lines = (PROJECT / "README.md").read_text().splitlines()
    rows = [line for line in lines if re.match(r"\| `\w+(\.py|/)` \|", line)]
    rooms = {}
    for row in rows:
        name, _, allowed = (cell.strip() for cell in row.strip("|").split("|"))
        rooms[name.strip("`").removesuffix(".py").removesuffix("/")] = set(
            re.findall(r"`(\w+)`", allowed)
        ) | ({"anything"} if "anything" in allowed else set())
    return rooms


def room_of(path: Path) -> str:
    """The room a file belongs to: its module, or its folder."""
    return path.relative_to(PIPELINE).parts[0].removesuffix(".py")


FILES = sorted(path for path in PIPELINE.rglob("*.py") if "_sql" not in path.parts)
ROOMS = sorted({room_of(path) for path in FILES} - {"__init__", "__main__"})


def imported(path: Path) -> set[str]:
    """The rooms a file imports, at its top or inside functions."""
    package = path.relative_to(PROJECT).parent.parts
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            names = [".".join([*base, alias.name]) for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "pipeline" and len(parts) > 1:
                found.add(parts[1])
    return found & {*ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_table_allows(room: str) -> None:
    """Every module below pipeline/ is in the table, and imports what its row names."""
    allowed = table()
    assert room in allowed, f"{room} is missing from the README's table of rooms"
    if "anything" in allowed[room]:
        return
    met = set().union(*(imported(path) for path in FILES if room_of(path) == room)) - {room}
    assert met <= allowed[room]


def test_the_table_has_no_room_that_is_not_there() -> None:
    """A room that was removed leaves the table too."""
    assert sorted(table()) == ROOMS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PIPELINE)))
def test_a_module_says_what_it_is_for(path: Path) -> None:
    """Every module has a docstring, and none has more than 400 lines."""
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import pipeline", ("pyarrow", "duckdb", "httpx", "click")),
        ("import pipeline.cli", ("pyarrow", "duckdb", "httpx", "polars", "azure", "rich")),
        ("import pipeline.extract", ("azure", "duckdb")),
        ("import pipeline.emulator", ("cheroot", "pyarrow")),
    ],
)
def test_an_import_loads_no_more_than_it_needs(statement: str, absent: tuple[str, ...]) -> None:
    """Heavy packages are loaded when they are used, so that --help is quick."""
    code = f"import sys; {statement}; print(*(m for m in {absent} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert done.stdout.split() == []
