"""A lake that is not there: every command that reads says so, exit 2, and makes nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import cli, query
from pipeline.cli.lakes import is_lake
from pipeline.lake import Lake

pytestmark = pytest.mark.usefixtures("nowhere")

READERS = [
    ["ask", "idle_cost"],
    ["ask", "idle_cost", "--engine", "spark"],
    ["check"],
    ["check", "clock_skew"],
    ["compact"],
    ["expire", "--compacted", "90"],
    ["heatmap"],
    ["init-sql"],
    ["metrics"],
    ["node", "p", "n"],
    ["report", "-o", "x.html"],
    ["shell"],
    ["sql", "select 1"],
    ["status"],
    ["status", "--max-age", "15"],
]
#: Commands that make a lake, or that need none.
OTHERS = set(
    "snapshot import usage demo emulate questions schema schedule completion prices".split()
)


def test_every_command_is_one_or_the_other() -> None:
    """The next command that reads a lake is tried here too."""
    assert {*cli.nodelake.commands} == {words[0] for words in READERS} | OTHERS


def _missing(path: Path) -> None:
    pass


def _empty(path: Path) -> None:
    path.mkdir()


def _file(path: Path) -> None:
    path.write_text("no lake")


def _other(path: Path) -> None:
    (path / "landing").mkdir(parents=True)
    (path / "landing" / "notes.txt").touch()


@pytest.mark.parametrize("words", READERS, ids=" ".join)
@pytest.mark.parametrize("make", [_missing, _empty, _file, _other])
def test_it_is_wrong_configuration(
    capsys: pytest.CaptureFixture[str], words: list[str], make: Callable[[Path], None]
) -> None:
    """Whatever is there instead; and nothing is written."""
    make(Path("mistyped"))
    before = sorted(Path().rglob("*"))
    assert cli.run([*words, "--lake", "mistyped"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"no lake at .*mistyped: ", err)
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("asked", "there", "named"),
    [
        ("srv/laek", "srv/lake", "srv/lake"),
        ("svr/lake", "srv/lake", "srv/lake"),
        ("srv", "srv/lake", "srv/lake"),
        ("srv/lake/landing", "srv/lake", "srv/lake"),
        ("x", "data/lake", "data/lake"),
        ("x", "data/demo-lake", "data/demo-lake"),
        ("x", "elsewhere", "elsewhere"),  # NODELAKE_LAKE
    ],
)
def test_the_nearest_lake_is_named(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    recorded: str,
    asked: str,
    there: str,
    named: str,
) -> None:
    """One that is spelled alike, lies above or below, or is known from settings."""
    shutil.copytree(recorded, there)
    if there == "elsewhere":
        monkeypatch.setenv("NODELAKE_LAKE", there)
    assert cli.run(["status", "--lake", asked]) == 2
    assert f"did you mean {named}?" in capsys.readouterr().err


def test_what_makes_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no lake is near."""
    assert cli.run(["status"]) == 2
    assert "nodelake snapshot or import makes one, nodelake demo" in capsys.readouterr().err


def test_a_writer_makes_one_in_an_empty_directory(capsys: pytest.CaptureFixture[str]) -> None:
    """What it wrote is a lake for readers."""
    Path("lake").mkdir()
    url = "https://render.westeurope.batch.azure.com/pools/p1/nodes/n1"
    Path("page.json").write_text(f'[{{"id": "n1", "url": "{url}"}}]')
    assert not is_lake(Path("lake"))
    assert cli.run(["import", "page.json", "--lake", "lake"]) == 0
    assert is_lake(Path("lake"))
    capsys.readouterr()
    assert cli.run(["sql", "select count(*) as n from nodes", "--lake", "lake"]) == 0
    assert '"n": 1' in capsys.readouterr().out


def test_in_python_a_lake_that_is_not_there_is_empty() -> None:
    """Views are there, typed, without rows; nothing is made."""
    with query.connect(Lake("nothing")) as connection:
        assert connection.ask("idle_cost").num_rows == 0
    assert not Path("nothing").exists()


@pytest.mark.parametrize("place", ["before", "after"])
def test_lake_config_and_v_stand_before_and_after_the_command(
    capsys: pytest.CaptureFixture[str], recorded: str, place: str
) -> None:
    """On every command; what follows the name wins."""
    Path("some.toml").write_text(f'lake = "{recorded}"\n')
    for options in (["--lake", recorded], ["--config", "some.toml"], ["-v", "--lake", recorded]):
        words = ["sql", "select count(*) as n from nodes"]
        words = [*options, *words] if place == "before" else [*words, *options]
        assert cli.run(words) == 0
        assert '"n": 20' in capsys.readouterr().out
    assert cli.run(["--lake", "nothing", "sql", "select 7 as n", "--lake", recorded]) == 0


@pytest.mark.parametrize("name", sorted({*cli.nodelake.commands} - {"demo", "emulate"}))
def test_every_command_takes_them(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Whether it needs a lake or not."""
    options = ["--lake", "x", "--config", "y", "-v"]
    assert cli.run([*options, name, *options, "--help"]) == 0
    assert f"nodelake {name}" in capsys.readouterr().out
