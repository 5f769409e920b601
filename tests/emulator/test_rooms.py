"""How the emulator is built: it stands alone, and its fleet knows no HTTP."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOM = Path(__file__).resolve().parents[2] / "pipeline" / "emulator"
MODULES = sorted(ROOM.glob("*.py"))

#: The fleet: pools and nodes and what becomes of them. The rest is the face.
FLEET = {
    "boots", "documents", "fleet", "incidents", "lives", "nodes", "plan", "pool_documents",
    "pools", "profile_pools", "profiles", "roster", "states", "streams", "tasks", "times",
    "truth", "usage", "work",
}  # fmt: skip
#: Fleet files are read in one place, and may order faults too.
SHARED = {"config", "faults"}


def imports(path: Path) -> set[str]:
    """The modules that a file imports, its own package's with a dot before them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level
            names = [node.module] if node.module else [name.name for name in node.names]
            found |= {dots + str(name) for name in names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_nothing_of_the_rest(path: Path) -> None:
    """No module imports anything of nodelake outside the emulator."""
    for name in imports(path):
        assert not name.startswith("..")
        assert not name.startswith("pipeline")


@pytest.mark.parametrize("name", sorted(FLEET))
def test_fleet_knows_no_http(name: str) -> None:
    """The fleet imports its own modules, the config and the standard library: no HTTP."""
    for imported in imports(ROOM / f"{name}.py"):
        if imported.startswith("."):
            assert imported.strip(".") in FLEET | SHARED
        else:
            assert imported.split(".")[0] not in {"http", "httpx", "cheroot", "urllib", "socket"}


def test_every_module_is_known() -> None:
    """Every module stands in the list above, or is part of the face."""
    face = {path.stem for path in MODULES} - FLEET - SHARED - {"__init__"}
    assert {
        "access", "admin", "breakage", "emulator", "odata", "paging", "replies", "requests",
        "server", "service", "transport",
    } == face  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_modules_are_short(path: Path) -> None:
    """No module passes 400 lines."""
    assert len(path.read_text().splitlines()) <= 400


def test_import_is_cheap() -> None:
    """Importing the package loads none of what serving and decoding need."""
    heavy = "{'httpx', 'cheroot', 'msgspec', 'cryptography', 'pipeline.emulator.emulator'}"
    code = f"import pipeline.emulator, sys; print({heavy} & set(sys.modules))"
    root = ROOM.parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert "set()" == done.stdout.strip()


def test_exported_names_load() -> None:
    """Every exported name can be had, and no other."""
    import pipeline.emulator as room

    for name in room.__all__:
        assert getattr(room, name).__name__ == name
    with pytest.raises(AttributeError, match="Nothing"):
        _ = room.Nothing
