"""Snapshots, imports, compaction and queries at once, any of them killed at any time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.lake import Lake
from tests import chaos
from tests.azurite import azurite
from tests.conftest import PROJECT

ROLES = ("snapshot-a", "snapshot-b", "compact", "import", "ask-1", "ask-2", "ask-3")


def start(role: str, uri: str, seconds: float, seed: int, notes: Path) -> subprocess.Popen[bytes]:
    """One process of the lake."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.chaos", role, uri, str(seconds), str(seed), str(notes)],
        cwd=PROJECT,
        stderr=subprocess.DEVNULL,
    )


def let_loose(
    uri: str, seconds: float, notes: Path, *, is_blob: bool = False, seed: int = 1
) -> dict[str, int]:
    """Runs all roles for so long, kills one at random again and again, and starts it anew.

    Returns:
        What was counted; afterwards the lake is compacted once more and checked as a whole.
    """
    notes.mkdir()
    chance = random.Random(seed)
    roles = ROLES if is_blob else (*ROLES, "glob")
    # On Blob a killed compaction's lease stands for a minute: tests/test_blob.py kills that one.
    victims = [role for role in roles if not (is_blob and role == "compact")]
    victims += ["import"] if is_blob else ["import", "compact", "compact"]
    end = time.monotonic() + seconds
    running = {role: start(role, uri, seconds, n, notes) for n, role in enumerate(roles)}
    kills = 0
    while time.monotonic() < end - 1:
        time.sleep(chance.uniform(0.3, 1.2))
        role = chance.choice(victims)
        if running[role].poll() is None:
            running[role].send_signal(signal.SIGKILL)
            running[role].wait()
            kills += 1
        left = max(0.5, end - time.monotonic())
        running[role] = start(role, uri, left, chance.randrange(10**6), notes)
    for process in running.values():
        process.wait()
    anomalies = notes / "anomalies"
    assert not anomalies.exists(), anomalies.read_text()[:3000]
    counted = {
        name: len((notes / name).read_text().splitlines()) if (notes / name).exists() else 0
        for name in ("committed", "asked", "globbed")
    }
    lake = Lake(uri)
    chaos.ask(lake, notes)
    return counted | {"killed": kills, "days": len(lake.view().compacted)}


def test_fifteen_seconds_of_chaos(tmp_path: Path) -> None:
    """Every query sees each committed snapshot whole and once; plain globs too; nobody fails."""
    counted = let_loose(str(tmp_path / "lake"), 15, tmp_path / "notes")
    print(counted)
    assert min(counted.values()) > 0


@pytest.mark.long
def test_a_long_time_of_chaos(tmp_path: Path) -> None:
    """The same for NODELAKE_CHAOS_SECONDS, by default an hour."""
    seconds = float(os.environ.get("NODELAKE_CHAOS_SECONDS", "3600"))
    counted = let_loose(str(tmp_path / "lake"), seconds, tmp_path / "notes")
    print(counted)
    assert min(counted.values()) > 0


def test_chaos_on_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, shorter, against Azurite; only the compaction is spared."""
    pytest.importorskip("obstore", reason="needs pip install 'nodelake[azure]'")
    pytest.importorskip("fsspec", reason="needs pip install 'nodelake[azure]'")
    with azurite(tmp_path / "azurite") as server:
        server.make_container("chaos")
        for key, value in server.settings.items():
            monkeypatch.setenv(key, value)
        counted = let_loose("az://chaos/lake", 10, tmp_path / "notes", is_blob=True)
    print(counted)
    assert min(counted[name] for name in ("committed", "asked", "killed", "days")) > 0
