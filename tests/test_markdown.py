"""What every Markdown page shows of commands, settings and Python: the program takes it."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

from pipeline import cli, config
from tests.bench import figures
from tests.conftest import PROJECT

PAGES = sorted(
    path
    for path in PROJECT.rglob("*.md")
    if {".venv", "node_modules", ".pytest_cache", "build"}.isdisjoint(path.parts)
)
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: `nodelake …` in prose, in a block, behind a variable or a pipe; up to what ends a command.
_CALL = re.compile(r"(?:^|[`$;&|]|\s)nodelake((?: (?:'[^'\n]*'|\"[^\"\n]*\"|[^\s`'\"#;&|<>)]+))+)")


def blocks(kind: str) -> list[tuple[str, str]]:
    """The fenced blocks of a kind: page and text."""
    return [
        (str(path.relative_to(PROJECT)), text)
        for path in PAGES
        for found, text in _BLOCK.findall(path.read_text("utf-8"))
        if found == kind
    ]


def calls() -> list[tuple[str, str]]:
    """Every call of the command on a page, once for each page."""
    found = {}
    for path in PAGES:
        for match in _CALL.finditer(path.read_text("utf-8")):
            words = match[1].strip().rstrip(".,:")
            if words.split()[0] in cli.nodelake.commands or words.startswith("-"):
                found[str(path.relative_to(PROJECT)), words] = None
    return [*found]


@pytest.mark.parametrize(("page", "words"), calls(), ids="-".join)
def test_a_command_has_the_options_that_a_page_shows(page: str, words: str) -> None:
    """Each command exists, and takes each option that follows it."""
    command: click.Command = cli.nodelake
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    for word in shlex.split(words.replace("…", ""), comments=True):
        if isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
            known |= {
                name for each in command.params for name in (*each.opts, *each.secondary_opts)
            }
        elif re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word):
            assert word.partition("=")[0] in known | {"--help", "-h", "--version"}, page


@pytest.mark.parametrize(("page", "text"), blocks("toml"))
def test_settings_load(page: str, text: str, tmp_path: Path) -> None:
    """A `nodelake.toml` of a page is one."""
    file = tmp_path / "nodelake.toml"
    file.write_text(text)
    settings = config.load(file, {})
    assert len(settings.accounts) == text.count("[[accounts]]"), page


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_names_what_is_there(page: str, text: str) -> None:
    """Each example parses, and what it imports from nodelake is there."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


def test_exit_codes_are_the_same_on_both_pages() -> None:
    """The front page and the command's page say the same of every code."""

    def codes(page: str) -> dict[str, str]:
        text = (PROJECT / page).read_text("utf-8")
        table = text.partition("## Exit codes")[2].partition("\n## ")[0]
        return dict(re.findall(r"^\| ([\d, ]+) \| (.+) \|$", table, re.MULTILINE))

    front, page = codes("README.md"), codes("pipeline/cli/README.md")
    page["130, 143"] = page["130, 143"].replace(" (of `emulate`: 0)", "")
    assert front == page
    assert {"0", "1", "2", "3", "4", "5", "130, 143"} == front.keys()


def test_the_figures_of_the_benchmarks_are_those_that_were_saved() -> None:
    """The table is what ``python -m tests.bench --readme`` prints."""
    saved, machines = figures.saved()
    text = (PROJECT / "tests" / "bench" / "README.md").read_text("utf-8")
    shown = text.partition("<!-- python -m tests.bench --readme -->\n")[2].partition(
        "<!-- end -->"
    )[0]
    assert "\n\n".join([figures.table(saved), *sorted(machines)]).strip() == shown.strip()
