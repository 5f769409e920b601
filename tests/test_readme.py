"""The front page shows what the program prints: run again here, and compared.

``python -m tests.test_readme`` runs the examples and writes what they print into the page.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import tempfile
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli, query
from pipeline.emulator import Fleet, load_fleet_config
from tests.conftest import PROJECT

README = PROJECT / "README.md"
WIDTH = "104"
#: The day that the README's output is of: another day's fleet has another history.
DAY = "2026-11-21"
#: So much of the demo's output is shown.
DEMO_LINES = 20
_BLOCK = re.compile(r"^```console( demo)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Commands that are asked of the demo's lake.
_OF_A_LAKE = ("sql", "ask", "node", "status", "heatmap")


def blocks() -> list[str]:
    """The fenced blocks of commands and what they print."""
    return [body for kind, body in _BLOCK.findall(README.read_text()) if not kind]


def still(text: str) -> str:
    """What differs from machine to machine, made the same."""
    text = re.sub(r"\d[\d.]* (MB|s)\b", r"<n> \1", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def run(folder: Path, *arguments: str) -> str:
    """What a command prints on stdout in that folder, on a terminal of the README's width."""
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


def demo_in(folder: Path) -> str:
    """Runs the whole demo in a folder; returns the first lines that it prints."""
    (folder / "data").mkdir()
    shutil.copy(PROJECT / "data" / "prices.csv", folder / "data")
    printed = run(folder, "demo", "--day", DAY).lstrip("\n")
    return "\n".join(printed.splitlines()[:DEMO_LINES])


def printed_by(folder: Path, command: str) -> str:
    """What an example prints where the demo was run."""
    arguments = shlex.split(command.removeprefix("$ nodelake "))
    if arguments[0] in _OF_A_LAKE:
        arguments += ["--lake", "data/demo-lake"]
    return run(folder, *arguments)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder a whole `nodelake demo` was run in, and how its output begins."""
    folder = tmp_path_factory.mktemp("newcomer")
    return folder, demo_in(folder)


def test_the_demo_prints_what_the_readme_shows(demo: tuple[Path, str]) -> None:
    """A day of 288 snapshots of 3 pools and some 300 nodes, and the answers from it."""
    (shown,) = [body for kind, body in _BLOCK.findall(README.read_text()) if kind]
    assert still(demo[1]) == still(shown)
    assert "288 snapshots" in shown


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.splitlines()[0][2:40])
def test_a_command_prints_what_the_readme_shows(demo: tuple[Path, str], block: str) -> None:
    """Each `$ nodelake …` on the demo's lake, and none without an answer."""
    command, _, shown = block.partition("\n")
    assert len(shown.splitlines()) > 2
    assert still(printed_by(demo[0], command)) == still(shown)


def test_the_python_example_runs(demo: tuple[Path, str]) -> None:
    """On the demo's lake, with the prices of its folder."""
    (example,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    folder = demo[0] / "data"
    example = example.replace('"/srv/lake"', repr(str(folder / "demo-lake")))
    example = example.replace('"prices.csv"', repr(str(folder / "prices.csv")))
    names: dict[str, Any] = {}
    exec(example + "    observations = observations.collect()\n", names)
    assert names["frame"]["nodes"].sum() > 0
    assert len(names["failures"]) > 0
    assert names["observations"].height > 80_000


def test_the_idle_hours_of_the_demo_are_as_the_readme_of_history_has_them(
    demo: tuple[Path, str],
) -> None:
    """By the fact, by the emulator's record of what truly happened, and by counted listings."""
    with query.connect(demo[0] / "data" / "demo-lake") as connection:
        stored, spot = (
            connection.table(
                f"select sum(hours) as hours from node_hours where state = 'idle' and {pools}"
            ).to_pylist()[0]["hours"]
            for pools in ("true", "pool_id = 'simulation-spot'")
        )
        [(listed,)] = connection.duckdb.sql(
            "select count(*) / 12 from nodes where state = 'idle'"
        ).fetchall()
    start = datetime.combine(date.fromisoformat(DAY), time(), UTC)
    fleet = Fleet(load_fleet_config(None), seed=7, start=start)
    fleet.advance(start + timedelta(days=1) * 287 / 288)
    true: Counter[str] = Counter()
    for each in fleet.truth.states:
        inside = min(each.ended_at or fleet.now, fleet.now) - max(each.started_at, start)
        if each.state == "idle" and inside > timedelta(0):
            true[each.pool_id] += inside / timedelta(hours=1)
    shown = " ".join((PROJECT / "sql" / "history" / "README.md").read_text("utf-8").split())
    assert f"{stored:,.0f} of truly {true.total():,.0f}" in shown
    assert f"in its spot pool {spot:,.0f} of {true['simulation-spot']:,.0f}." in shown
    assert f"times 5 minutes, comes to {listed:,.0f} hours there" in shown


def test_the_front_page_is_one() -> None:
    """At most 250 lines, a list of contents that leads to every section, links that are there."""
    text = README.read_text()
    assert len(text.splitlines()) <= 250
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    listed = re.findall(r"^- \[(.+)\]\(#(.+)\)$", text, re.MULTILINE)
    assert [(each, each.lower().replace(" ", "-")) for each in headings] == listed
    for path in sorted(PROJECT.rglob("*.md")):
        if {".venv", "node_modules"}.isdisjoint(path.parts):
            links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8"))
            assert [link for link in links if not (path.parent / link).exists()] == [], path


def test_the_picture_is_small() -> None:
    """The report's picture has a text beside it, and less than 200 KB."""
    [(text, path)] = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", README.read_text())
    assert len(text) > 20
    assert (PROJECT / path).stat().st_size < 200_000


def test_the_changelog_has_this_version() -> None:
    """What changed is written for people."""
    from pipeline import __version__

    assert f"## {__version__}" in (PROJECT / "CHANGELOG.md").read_text()


def write() -> None:
    """Puts what the program prints today into the front page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begins = demo_in(folder)

        def today(match: re.Match[str]) -> str:
            if match[1]:
                return f"```console demo\n{begins}\n```"
            command = match[2].partition("\n")[0]
            lines = (line.rstrip() for line in printed_by(folder, command).strip("\n").splitlines())
            return "```console\n" + "\n".join([command, *lines]) + "\n```"

        README.write_text(_BLOCK.sub(today, README.read_text()))


if __name__ == "__main__":
    write()
