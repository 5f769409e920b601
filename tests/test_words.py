"""Plain English: words that need a glossary stay out of the code, the SQL and the documentation."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import PROJECT

#: Words, and what to write instead.
WORDS = {
    r"(un)?told|tells?|telling": "stored, recorded, says, names",
    r"strangers?": "unknown fields",
    r"(im)?patient(ly)?": "slow path, fast path",
    r"cleaners?": "validator",
    r"(made|make|makes|making) anew|remakes?|remade": "rebuild, invalidate",
    r"leaning|leans? on|rowless": "expiry watermark, depends on",
    r"strays?": "unexpected file",
    r"nobody": "null listener, no one",
    r"holdings": "lake usage",
    r"made_up": "demo",
    r"notable stays?|node_stays|notable_stays": "abnormal intervals",
    r"node_lives|node_starts": "lifetimes, startups",
    r"traps": "caveats",
    r"is to come": "lies in the future",
    r"over by two hours": "ended at least two hours ago",
}
#: Names of definitions that say too little.
NAMES = {"Place", "Watch", "Nobody", "Reading", "Held", "MadeFrom", "Remake", "look", "holdings"}

#: Names that others gave: of Python's files, of a folder of old lakes; and of a module of tests.
GIVEN = r'\.tell\(\)|def tell\(self\)|"leaning"|tests/made_up'

FILES = sorted(
    path
    for folder, ending in (
        *(("pipeline", ending) for ending in ("*.py", "*.j2", "*.html", "*.js", "*.css")),
        ("sql", "*.sql"),
        ("", "*.md"),
        ("notebooks", "*.ipynb"),
    )
    for path in (PROJECT / folder).rglob(ending)
    if {"_sql", ".venv", "node_modules", "build", ".pytest_cache"}.isdisjoint(path.parts)
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_file_speaks_plain_english(path: Path) -> None:
    """No such word in code, comment, docstring, header, help text, message or page."""
    found = [
        f"line {number}: {match.group()!r}: write {better}"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for word, better in WORDS.items()
        for match in re.finditer(
            rf"(?<![A-Za-z])(?:{word})(?![A-Za-z])", re.sub(GIVEN, "", line), re.IGNORECASE
        )
    ]
    assert found == []


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.suffix == ".py"],
    ids=lambda path: str(path.relative_to(PROJECT)),
)
def test_a_definition_has_a_name_that_says_what_it_is(path: Path) -> None:
    """Classes and functions are named in the field's terms."""
    defined = {
        node.name.lstrip("_")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    assert defined & NAMES == set()


def test_a_class_has_a_name_of_its_own() -> None:
    """No two public classes share a name: what a name means does not depend on the package."""
    places: dict[str, list[str]] = {}
    for path in (path for path in FILES if path.suffix == ".py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(PROJECT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
