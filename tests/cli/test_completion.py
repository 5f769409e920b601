"""``nodelake completion``: real shells take the scripts, and names of the lake are offered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import cli, query
from pipeline.cli.completion import SHELLS, VARIABLE
from pipeline.lake import Lake
from tests.parts import program
from tests.service import make_service, rows


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake with one snapshot."""
    path = tmp_path_factory.mktemp("recorded") / "lake"
    make_service().run(Lake(path))
    return str(path)


def offered(*words: str, lake: str) -> list[str]:
    """What bash is offered for the last word."""
    line = ["nodelake", *words]
    environment = os.environ | {
        VARIABLE: "bash_complete",
        "COMP_WORDS": "\n".join(line),
        "COMP_CWORD": str(len(words)),
        "NODELAKE_LAKE": lake,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pipeline"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return [each.partition(",")[2] for each in done.stdout.split()]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_takes_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """bash, zsh and fish parse what is printed for them."""
    path = program(shell, f"apt-get install {shell}")
    assert cli.run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert VARIABLE in script
    done = subprocess.run([path, "-n"], input=script, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_commands_and_names_are_offered(lake: str) -> None:
    """Commands, questions, checks, accounts and pools, each by what was typed of it."""
    pools = sorted({row["pool_id"] for row in rows(Lake(lake), "from pools")})
    [account] = {row["account"] for row in rows(Lake(lake), "from snapshots")}
    node_ids = sorted(
        row["node_id"] for row in rows(Lake(lake), "from nodes") if row["pool_id"] == pools[0]
    )
    assert {"snapshot", "sql", "status", "shell", "schema", "schedule"} == {
        *offered("s", lake=lake)
    }
    assert sorted(query.questions()) == offered("ask", "", lake=lake)
    assert "idle_cost" in offered("ask", "idle", lake=lake)
    assert "counted_nodes" in offered("check", "counted", lake=lake)
    assert pools == offered("node", "", lake=lake)
    assert node_ids == offered("node", pools[0], "", lake=lake)
    assert [account] == offered("snapshot", "--account", "", lake=lake)


def test_no_lake_offers_nothing_and_prints_no_error(tmp_path: Path) -> None:
    """Whatever is wrong with the lake, a shell that completes shows no traceback."""
    (tmp_path / "file").write_text("no lake")
    assert [] == offered("node", "", lake=str(tmp_path / "file"))
