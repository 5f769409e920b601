"""The protocol is small: its lines are counted, and each rule names the code that keeps it."""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
from pathlib import Path

import pytest

from pipeline import config
from pipeline.lake import paths
from tests.conftest import PROJECT

README = PROJECT / "pipeline/lake/README.md"
#: Catalog, writer, watermark, compaction, history files, sweeping.
PROTOCOL = (
    *(f"lake/{name}.py" for name in ("catalog", "manifest", "watermark", "writer")),
    *(f"maintain/{name}.py" for name in ("compaction", "expiry", "history", "sweep")),
)
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(path: Path) -> int:
    """Lines that are neither blank nor a comment nor a docstring."""
    text = path.read_text()
    strings = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    docs = {n for each in strings for n in range(each.lineno, (each.end_lineno or 0) + 1)}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {
        number
        for token in tokens
        if token.type not in _NO_CODE
        for number in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - docs)


def test_the_protocol_fits_in_one_head(capsys: pytest.CaptureFixture[str]) -> None:
    """At most 900 lines of code: a reviewer can hold the rules to them line by line."""
    counts = {name: code_lines(PROJECT / "pipeline" / name) for name in PROTOCOL}
    with capsys.disabled():
        print(f"\nthe lake's protocol: {sum(counts.values())} lines of code: {counts}")
    assert sum(counts.values()) <= 900


def rules() -> list[str]:
    """The numbered rules."""
    return re.findall(r"^\d+\. (.+)$", README.read_text(), re.MULTILINE)


def named(rule: str) -> list[str]:
    """The functions that a rule names: dotted names of lower-case packages."""
    return re.findall(r"`((?:lake|storage|maintain|query)\.[\w.]+)`", rule)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule[:40])
def test_a_rule_names_the_code_that_keeps_it(rule: str) -> None:
    """Each is there: a function, a method, or a piece of SQL."""
    assert named(rule)
    for name in named(rule):
        parts = name.split(".")
        found: object = importlib.import_module(f"pipeline.{parts[0]}.{parts[1]}")
        for part in parts[2:]:
            found = getattr(found, part)
        assert callable(found) or isinstance(found, str), name


def test_the_rules_are_numbered_without_a_gap() -> None:
    """From one on."""
    numbers = [int(n) for n in re.findall(r"^(\d+)\. ", README.read_text(), re.MULTILINE)]
    assert numbers == [*range(1, len(numbers) + 1)]
    assert len(numbers) > 20


def test_what_goes_wrong_has_ten_lines() -> None:
    """A table that is read."""
    table = README.read_text().partition("## What goes wrong")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\| ", table, re.MULTILINE)) == 11  # and its heading


@pytest.mark.parametrize(
    "label",
    [
        "a-late-20260101T050000Z-12345678",
        "20260101T050000Z-12345678",
        "x.staging",
        "x.parquet",
        "x.json",
        "x.lock",
        ".x",
        "../x",
        "a/b",
        "",
        "a b",
        "a\n",
    ],
)
def test_a_label_is_no_other_files_name(label: str) -> None:
    """Refused where settings are read and before it becomes part of a path, by one form."""
    assert not paths.is_label(label)
    assert config.label_problem(label)


@pytest.mark.parametrize("label", ["a", "render.westeurope", "a-late", "late-2026", "staging", "_"])
def test_any_other_name_is_a_label(label: str) -> None:
    """In both places."""
    assert paths.is_label(label)
    assert not config.label_problem(label)
