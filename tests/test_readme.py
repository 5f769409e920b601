"""The README shows what the program prints: run again here, and compared."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from pipeline import cli, schema
from tests.conftest import PROJECT

README = PROJECT / "README.md"
WIDTH = "104"
#: The day that the README's output is of: another day's fleet lives another life.
DAY = "2026-11-21"


def blocks(kind: str) -> list[str]:
    """The fenced blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def still(text: str) -> str:
    """What differs from machine to machine, made the same."""
    text = re.sub(r"\d[\d.]* (MB|s)\b", r"<n> \1", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder a whole `nodelake demo` was run in, and what it printed."""
    folder = tmp_path_factory.mktemp("newcomer")
    (folder / "data").mkdir()
    shutil.copy(PROJECT / "data" / "prices.csv", folder / "data")
    return folder, run(folder, "demo", "--day", DAY)


def run(folder: Path, *arguments: str) -> str:
    """What a command prints on stdout in that folder, on a terminal of the README's width."""
    import contextlib
    import io

    before = Path.cwd()
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setenv("COLUMNS", WIDTH)
        for name in [*os.environ]:
            if name.startswith(("AZURE_", "NODELAKE_")):
                patch.delenv(name)
        os.chdir(folder)
        try:
            assert cli.run([*arguments]) == 0
        finally:
            os.chdir(before)
    return out.getvalue()


def test_the_demo_prints_what_the_readme_shows(demo: tuple[Path, str]) -> None:
    """A day of 288 snapshots of 3 pools and some 300 nodes, and the answers from it."""
    (shown,) = blocks("console demo")
    assert still(demo[1]) == still(shown)
    assert "288 snapshots" in shown


@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: block.splitlines()[0][2:40])
def test_a_command_prints_what_the_readme_shows(demo: tuple[Path, str], block: str) -> None:
    """Each `$ nodelake …` on the demo's lake."""
    command, _, shown = block.partition("\n")
    arguments = shlex.split(command.removeprefix("$ nodelake "))
    if arguments[0] in ("sql", "ask", "node", "status", "heatmap"):
        arguments += ["--lake", "data/demo-lake"]
    assert still(run(demo[0], *arguments)) == still(shown)


def test_the_readme_names_every_table() -> None:
    """Its grain and what it holds are the schema's words."""
    text = README.read_text()
    for table in schema.TABLES.values():
        grain = table.grain.replace(" x ", " \u00d7 ")
        assert f"| `{table.name}` | {grain} | {table.doc} |" in text


def test_the_changelog_has_this_version() -> None:
    """What changed is told to people."""
    from pipeline import __version__

    assert f"## {__version__}" in (PROJECT / "CHANGELOG.md").read_text()
