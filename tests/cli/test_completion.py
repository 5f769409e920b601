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
from tests.service import rows


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


#: Types what is asked for into an interactive zsh, and a tab; the script lies where it says.
_ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'fpath=($SITE $fpath); autoload -Uz compinit; compinit -u -D; PS1=; print -r -- READY'
while zpty -r shell line; do [[ $line == READY* ]] && break; done
zpty -n -w shell $'nodelake ask idle_c\\t'
while zpty -r shell line '*cost*'; do print -r -- $line; break; done
zpty -d shell
"""


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The installed script, in the shell itself: a question by its first letters."""
    path = program(shell, f"apt-get install {shell}")
    command = tmp_path / "bin" / "nodelake"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pipeline "$@"\n')
    command.chmod(0o755)
    assert cli.run(["completion", shell]) == 0
    script = tmp_path / "_nodelake"
    script.write_text(capsys.readouterr().out)
    code = {
        "bash": f"source {script}; COMP_WORDS=(nodelake ask idle_c); COMP_CWORD=2; "
        "_nodelake_completion nodelake; echo ${COMPREPLY[@]}",
        "fish": f"source {script}; complete -C 'nodelake ask idle_c'",
        "zsh": _ZSH,
    }[shell]
    environment = os.environ | {
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NODELAKE_LAKE": str(tmp_path / "none"),
        "SITE": str(tmp_path),
        "HOME": str(tmp_path),
        "TERM": "dumb",
    }
    bare = {"bash": "--norc", "fish": "-N", "zsh": "-f"}[shell]
    done = subprocess.run(
        [path, bare, "-c", code],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "idle_cost" in done.stdout.replace("\x1b[1m", ""), done
    assert "idle_streaks" not in done.stdout


def test_no_lake_offers_nothing_and_prints_no_error(tmp_path: Path) -> None:
    """Whatever is wrong with the lake, a shell that completes shows no traceback."""
    (tmp_path / "file").write_text("no lake")
    assert [] == offered("node", "", lake=str(tmp_path / "file"))
