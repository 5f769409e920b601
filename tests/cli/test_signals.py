"""Ctrl-C and SIGTERM end a command wherever they meet it: 130 or 143, and never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pipeline import cli, query
from pipeline.cli import runs, signals
from pipeline.config import Account
from pipeline.lake import Lake
from tests.service import make_service

ROOT = Path(__file__).resolve().parents[2]
SENT = [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]


@pytest.fixture
def listening() -> Iterator[None]:
    """Signals end the test as they end a command."""
    numbers = signal.SIGTERM, signal.SIGINT, signal.SIGALRM
    before = [signal.getsignal(each) for each in numbers]
    hook = sys.unraisablehook
    signals.listen()
    yield
    signals.listen_no_more()
    signals.forget()
    for number, each in zip(numbers, before, strict=True):
        signal.signal(number, each)
    sys.unraisablehook = hook


def ended(code: str, *arguments: str) -> tuple[int, str]:
    """The exit code and stderr of Python that runs this code."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(("sent", "code", "said"), SENT)
def test_a_query_that_is_stopped(
    listening: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sent: signal.Signals,
    code: int,
    said: str,
) -> None:
    """DuckDB answers a signal with an error of its own, which is none of the command's."""
    make_service().run(Lake(tmp_path))

    def table(*given: object) -> None:
        try:
            os.kill(os.getpid(), sent)
        except BaseException:
            raise RuntimeError("Query interrupted") from None

    monkeypatch.setattr(query.Connection, "table", table)
    assert cli.run(["sql", "from nodes", "--lake", str(tmp_path)]) == code
    assert json.loads(capsys.readouterr().err.splitlines()[-1])["message"] == said


def test_ctrl_c_before_the_command_listens() -> None:
    """It ends the process as Ctrl-C ends any, without a word."""
    program = f"""
import os, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name == "pipeline.cli":
            os.kill(os.getpid(), {int(signal.SIGINT)})
sys.meta_path.insert(0, Finder)
from pipeline.__main__ import main
main()
"""
    assert ended(program, "status") == (-signal.SIGINT, "")


def test_ctrl_c_that_the_shell_ignores_stays_ignored(listening: None) -> None:
    """As of a command in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals.listen()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_an_import_is_finished_first(
    listening: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut short, it would leave a module half loaded."""
    text = "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nis_whole = True\n"
    (tmp_path / "stopped_halfway.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    def meet() -> None:
        import stopped_halfway  # type: ignore[import-not-found] # noqa: F401

        time.sleep(30)

    with pytest.raises(signals.Terminated):
        meet()
    assert sys.modules["stopped_halfway"].is_whole


def test_a_signal_while_an_object_is_freed_is_not_lost(
    listening: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python ignores what is raised there, and prints a traceback."""

    class Freed:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    def meet() -> None:
        Freed()
        time.sleep(30)

    with pytest.raises(signals.Terminated):
        meet()
    assert capsys.readouterr().err == ""


def test_a_signal_during_an_error_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first message imports what redacts it, which takes a while."""

    def show(error: click.ClickException) -> None:
        raise signals.Terminated

    monkeypatch.setattr(cli, "show", show)
    assert cli.run(["status", "--no-such-option"]) == 143


def test_no_other_account_begins_after_a_signal(listening: None) -> None:
    """Also where a library made another error of it."""
    accounts = [Account("https://a.b.batch.azure.com", "a", "a"), Account("", "c", "c")]
    begun = []

    def record(account: Account) -> int:
        begun.append(account.label)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except signals.Terminated:
            raise RuntimeError("Query interrupted") from None
        return 0

    with pytest.raises(signals.Terminated):
        runs.record_each(accounts, record, are_several=True)
    assert begun == ["a"]
