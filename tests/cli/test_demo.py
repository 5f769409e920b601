"""``nodelake demo``: it empties only what demos wrote, and depends on nothing of the machine."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline import cli, config
from pipeline.emulator import Emulator, Fleet
from pipeline.lake import Lake
from tests.cli.help import help_of
from tests.service import START, make_service, one, small_fleet

LAKE = Path("data/demo-lake")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a demo of three snapshots has run."""
    folder = tmp_path_factory.mktemp("made")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert cli.run(["demo", "--snapshots", "3"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def demo_lake(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that may be changed, in the working directory."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    for name in [*os.environ]:
        if name.startswith(("AZURE_", "NODELAKE_")):
            monkeypatch.delenv(name)
    return LAKE


def files(root: Path) -> dict[str, bytes]:
    """Every file below a directory, locks aside."""
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file() and file.parent.name != "locks"
    }


def _import(lake: Path, account: str) -> None:
    url = "https://render.westeurope.batch.azure.com/pools/p1/nodes/n1"
    Path("page.json").write_text(json.dumps({"value": [{"id": "n1", "url": url}]}))
    assert cli.run(["import", "page.json", "--account", account, "--lake", str(lake)]) == 0


def _snapshot_of_another(lake: Path) -> None:
    make_service().run(Lake(lake))


def _snapshot_of_an_account_called_demo(lake: Path) -> None:
    fleet = Fleet(small_fleet(), seed=3, start=START)
    with Emulator(fleet, account="demo").serve() as server:
        account = config.load(None, server.settings).require_accounts()[0]
        assert account.label == "demo.local"
        for name, value in server.settings.items():
            os.environ[name] = value
        try:
            assert cli.run(["snapshot", "--lake", str(lake)]) == 0
        finally:
            for name in server.settings:
                del os.environ[name]


def _write(name: str) -> Callable[[Path], None]:
    def write(lake: Path) -> None:
        (lake / name).parent.mkdir(parents=True, exist_ok=True)
        (lake / name).write_text("mine")

    return write


def _link(lake: Path) -> None:
    Path("elsewhere").mkdir()
    Path("elsewhere/file").write_text("mine")
    (lake / "link").symlink_to(Path("elsewhere").absolute())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda lake: _import(lake, "render.westeurope"), "an import of account render.westeurope"),
        (lambda lake: _import(lake, "demo.local"), "an import of account demo.local"),
        (_snapshot_of_another, "snapshots of account emulated.eastus"),
        (_snapshot_of_an_account_called_demo, "snapshots of account demo.local"),
        (_write("notes.txt"), "notes.txt"),
        (_write("landing/nodes/date=2020-01-01/notes.txt"), "notes.txt"),
        (_write("landing/nodes/date=2020-01-01/20200101T000000Z-00000000.parquet"), "2020"),
        (_write("compacted/nodes/date=2020-01-01/other.parquet"), "other.parquet"),
        (_write("report.html"), "report.html"),
        (_write("history/mine"), "mine"),
        (_link, "link"),
    ],
    ids=range(11),
)
def test_what_no_demo_wrote_is_never_deleted(
    capsys: pytest.CaptureFixture[str],
    demo_lake: Path,
    change: Callable[[Path], None],
    named: str,
) -> None:
    """Exit 2; it is named, and nothing is deleted."""
    change(demo_lake)
    before = files(Path())
    capsys.readouterr()
    assert cli.run(["demo", "--snapshots", "2"]) == 2
    err = capsys.readouterr().err
    assert named in err
    assert "nothing was deleted" in err
    assert before == files(Path())


def test_a_lake_that_demos_alone_wrote_is_emptied(
    capsys: pytest.CaptureFixture[str], demo_lake: Path
) -> None:
    """What will be deleted is said before; compactions, what a killed demo left, change nothing."""
    assert cli.run(["compact", "--lake", str(demo_lake)]) == 0
    day = one(demo_lake, "select max(date) as day from snapshots")["day"]
    for left in (
        f"landing/nodes/date={day}/{day:%Y%m%d}T000000Z-00000000.parquet",
        f"landing/nodes/date={day}/.{day:%Y%m%d}T000000Z-0.parquet.7-ab.staging",
    ):
        _write(left)(demo_lake)
    capsys.readouterr()
    assert cli.run(["demo", "--snapshots", "2"]) == 0
    out, err = capsys.readouterr()
    assert "deleting the lake of an earlier demo (3 snapshots)" in err
    assert "2 snapshots" in out
    assert one(demo_lake, "select count(*) as n from snapshots")["n"] == 2


def test_no_settings_reach_it(
    capsys: pytest.CaptureFixture[str], demo_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nodelake.toml of the working directory and NODELAKE_LAKE have no effect."""
    Path("nodelake.toml").write_text(
        'lake = "other"\n[limits]\nattempts = 1\n[[accounts]]\nkey_env = "NOT_SET"\n'
        'endpoint = "https://demo.westeurope.batch.azure.com"\nlabel = "demo.local"\n'
    )
    monkeypatch.setenv("NODELAKE_LAKE", "another")
    assert cli.run(["demo", "--snapshots", "1"]) == 0, capsys.readouterr().err
    assert not Path("other").exists()
    assert not Path("another").exists()
    assert one(demo_lake, "select account from snapshots")["account"] == "demo.local"
    assert cli.run(["demo", "--help"]) == 0
    help_text = capsys.readouterr().out
    assert help_text.count("data/demo-lake]") == 1
    assert "data/lake" not in help_text


@pytest.mark.parametrize("place", ["/proc/nodelake", "/sys/nodelake/lake"])
def test_a_place_that_takes_no_file(capsys: pytest.CaptureFixture[str], place: str) -> None:
    """Exit 2 and the reason, no traceback."""
    assert cli.run(["demo", "--lake", place]) == 2
    err = capsys.readouterr().err
    assert "no demo can be made here" in err
    assert "Traceback" not in err


def test_the_terminal_and_the_page_are_of_one_range(demo_lake: Path) -> None:
    """The day, midnight to midnight: the page says so too."""
    page = re.sub("<[^>]*>", "", (demo_lake / "report.html").read_text())
    day = one(demo_lake, "select max(date) as day from snapshots")["day"]
    first, after = (f"{each.day} {each:%b %Y} 00:00" for each in (day, day + timedelta(days=1)))
    assert f"{first} to {after} UTC" in " ".join(page.split())


def test_its_help_has_one_default_for_its_lake() -> None:
    """The demo's own: neither the default of the other commands nor the variable that they read."""
    lake = help_of("demo").partition("--lake")[2].partition("--config")[0]
    assert lake.count("[") == 1
    assert "[data/demo-lake]" in lake
    assert "NODELAKE_LAKE" not in lake
