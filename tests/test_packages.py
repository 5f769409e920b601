"""The packages: which may import which, as the contributor guide's table says, and no circles."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PIPELINE = PROJECT / "pipeline"
FILES = sorted(path for path in PIPELINE.rglob("*.py") if "_sql" not in path.parts)


def table() -> dict[str, set[str]]:
    """Each package and what it may import, from the table in the contributor guide."""
    lines = (PROJECT / ".github" / "CONTRIBUTING.md").read_text().splitlines()
    rows = [line for line in lines if re.match(r"\| `\w+(\.py|/)` \|", line)]
    packages = {}
    for row in rows:
        name, _, allowed = (cell.strip() for cell in row.strip("|").split("|"))
        packages[name.strip("`").removesuffix(".py").removesuffix("/")] = set(
            re.findall(r"`([\w.]+)`", allowed)
        ) | ({"anything"} if "anything" in allowed else set())
    return packages


def package_of(path: Path) -> str:
    """The package a file belongs to: its folder, or its own name."""
    return path.relative_to(PIPELINE).parts[0].removesuffix(".py")


PACKAGES = sorted({package_of(path) for path in FILES} - {"__init__", "__main__"})


def module_of(path: Path) -> str:
    """The dotted name of a file's module."""
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


@cache
def imported(path: Path) -> frozenset[str]:
    """The modules a file imports: at its top, inside functions, under TYPE_CHECKING."""
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
            while name and name not in MODULES:  # a name inside a module
                name = name.rpartition(".")[0]
            if name.startswith("pipeline."):
                found.add(name)
    return frozenset(found - {module_of(path)})


def circles() -> list[list[str]]:
    """Every group of modules of which each imports all others, over some way."""
    edges = {name: imported(path) for name, path in MODULES.items()}
    reach: dict[str, set[str]] = {}
    for start in edges:
        seen: set[str] = set()
        ahead = [*edges[start]]
        while ahead:
            name = ahead.pop()
            if name not in seen:
                seen.add(name)
                ahead += edges[name]
        reach[start] = seen
    groups = {
        tuple(sorted({name, *(other for other in reach[name] if name in reach[other])}))
        for name in edges
        if name in reach[name]
    }
    return sorted(map(list, groups))


def test_no_modules_import_each_other_in_a_circle() -> None:
    """No module imports itself over others, imports for type checking included."""
    assert circles() == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_the_table_allows(package: str) -> None:
    """Every package is in the table, and imports what its row names."""
    allowed = table()
    assert package in allowed, f"{package} is missing from the table in CONTRIBUTING.md"
    if "anything" in allowed[package]:
        return
    wrong = [
        f"{module_of(path)} imports {name}"
        for path in FILES
        if package_of(path) == package
        for name in sorted(imported(path))
        if not {name.split(".")[1], name.removeprefix("pipeline.")} & {*allowed[package], package}
    ]
    assert wrong == []


def test_the_table_names_no_package_that_is_not_there() -> None:
    """A package that was removed leaves the table too."""
    assert sorted(table()) == PACKAGES


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
        ("import pipeline.extract", ("azure", "duckdb", "httpx")),
        ("import pipeline.snapshot", ("azure", "duckdb", "httpx")),
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


def test_importing_changes_nothing_in_the_process() -> None:
    """No allocator, signal, locale or logging setting: only the command sets up a process."""
    code = (
        "import locale, logging, signal, importlib, pkgutil, pyarrow as pa\n"
        "def state():\n"
        "    return (pa.default_memory_pool().backend_name, locale.setlocale(locale.LC_ALL),\n"
        "            logging.getLogger().level, list(logging.getLogger().handlers),\n"
        "            [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)])\n"
        "import pipeline\n"
        "before = state()\n"
        "for each in pkgutil.walk_packages(pipeline.__path__, 'pipeline.'):\n"
        "    if not each.name.endswith('__main__'):\n"
        "        importlib.import_module(each.name)\n"
        "assert before == state(), (before, state())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PROJECT
    )
    assert done.returncode == 0, done.stderr
