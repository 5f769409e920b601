"""``nodelake emulate`` as a process: it serves, refuses versions on order, and ends quietly."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def emulating(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, str]]]:
    """A running `nodelake emulate` and the settings that it printed."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("AZURE_", "NODELAKE_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "emulate", "--speed", "0", *arguments],
        cwd=ROOT,
        env={**environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        settings: dict[str, str] = {}
        while "AZURE_BATCH_ACCESS_KEY" not in settings:
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").strip().partition("=")
                settings[name] = value
        yield process, settings
    finally:
        process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]", how: signal.Signals) -> tuple[int, str]:
    """The exit code and stderr after a signal."""
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


@pytest.mark.parametrize("is_moving", [False, True])
def test_ctrl_c_is_no_error(is_moving: bool) -> None:
    """Ctrl-C ends it at once with exit code 0, also while the clock is being moved far."""
    with emulating() as (process, settings):
        if is_moving:
            url = f"{settings['AZURE_BATCH_ENDPOINT']}/_emulator/advance"
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url, json={"seconds": 300 * 86400}, timeout=0.5)
        begun = time.monotonic()
        code, errors = ended(process, signal.SIGINT)
    assert 0 == code
    assert time.monotonic() - begun < 20
    assert "Traceback" not in errors
    assert "error" not in errors.lower()
    assert "interrupted" not in errors


def test_terminating_is_143() -> None:
    """SIGTERM ends it as it ends every command."""
    with emulating() as (process, _):
        code, errors = ended(process, signal.SIGTERM)
    assert 143 == code
    assert "Traceback" not in errors


def test_versions_are_refused() -> None:
    """--refuse-version can be given more than once."""
    flags = ("--refuse-version", "2024-02-01.19.0", "--refuse-version", "2024-07-01.20.0")
    with emulating(*flags) as (_, settings):
        overview = httpx.get(f"{settings['AZURE_BATCH_ENDPOINT']}/_emulator/", timeout=30).json()
    assert ["2024-02-01.19.0", "2024-07-01.20.0"] == overview["refused_versions"]
