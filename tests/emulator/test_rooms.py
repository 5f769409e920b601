"""How the emulator is built: it stands alone, its fleet knows no HTTP, no module circles."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOM = Path(__file__).resolve().parents[2] / "pipeline" / "emulator"
MODULES = sorted(ROOM.rglob("*.py"))

#: What the fleet and its HTTP face both speak of: the fleet file, faults, states, the truth log.
SHARED = {"config", "faults", "states", "streams", "times", "truth"}


def name_of(path: Path) -> str:
    """A module's dotted name below the emulator, "" for the package itself."""
    parts = path.relative_to(ROOM).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> set[str]:
    """The modules that a file imports, inside functions and for types too, absolute."""
    package = path.relative_to(ROOM.parents[1]).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base = (*base, *(node.module.split(".") if node.module else ()))
            names = {".".join((*base, name.name)) for name in node.names}
            known = {f"pipeline.emulator.{name_of(module)}".rstrip(".") for module in MODULES}
            found |= (names & known) or {".".join(base)}
    return found


def inside(path: Path) -> set[str]:
    """The emulator's own modules that a file imports, by their names below the emulator."""
    names = {name for name in imports(path) if name.startswith("pipeline.emulator")}
    return {name.removeprefix("pipeline.emulator").lstrip(".") for name in names}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_nothing_of_the_rest(path: Path) -> None:
    """No module imports anything of nodelake outside the emulator."""
    for name in imports(path):
        assert name.startswith("pipeline.emulator.") or not name.startswith("pipeline")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_layers(path: Path) -> None:
    """The shared modules import only each other, the fleet no HTTP; the face may import all."""
    name = name_of(path)
    used = inside(path)
    if name in SHARED:
        assert used <= SHARED
    elif name.startswith("fleet"):
        assert all(module in SHARED or module.startswith("fleet") for module in used)
    else:
        assert name in ("",) or name.startswith("http")
    if not name.startswith("http"):
        heads = {imported.split(".")[0] for imported in imports(path)}
        assert not heads & {"http", "httpx", "cheroot", "urllib", "socket", "wsgiref"}


def test_no_import_circles() -> None:
    """No module reaches itself over imports, those for types and inside functions included."""
    edges = {name_of(path): inside(path) for path in MODULES if path.name != "__init__.py"}

    def reach(name: str, seen: tuple[str, ...] = ()) -> None:
        assert name not in seen, " imports ".join([*seen[seen.index(name) :], name])
        for target in edges.get(name, ()):
            reach(target, (*seen, name))

    for name in edges:
        reach(name)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_short(path: Path) -> None:
    """No module passes 400 lines."""
    assert len(path.read_text().splitlines()) <= 400


def test_import_is_cheap() -> None:
    """Importing the package loads none of what serving and decoding need."""
    heavy = "{'httpx', 'cheroot', 'msgspec', 'cryptography', 'pipeline.emulator.http.emulator'}"
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
        assert name.isupper() or getattr(room, name).__name__ == name
        assert getattr(room, name)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = room.Nothing
