"""Snapshots, imports, compaction and queries at once, any of them killed at any time."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from pipeline.lake import Lake
from tests import chaos, forked
from tests.azurite import azurite

ROLES = ("snapshot-a", "snapshot-b", "compact", "import", "ask-1", "ask-2", "ask-3")
#: What the roles note, and every run must have done.
COUNTED = ("committed", "compacted", "asked", "facts", "globbed-compacted", "globbed-history")


def let_loose(
    uri: str,
    seconds: float,
    notes: Path,
    *,
    is_blob: bool = False,
    seed: int = 1,
    rest: float = 1.2,
    pace: float = 0.05,
    is_patient: bool = True,
) -> dict[str, int]:
    """Runs all roles for so long, kills one at random again and again, and starts it anew.

    Between two kills it rests up to so many seconds; ``pace`` is that of the roles. If it is patient,
    it goes on until each role has done its work once, and demands that.

    Returns:
        What was counted; afterwards the lake is compacted once more and checked as a whole.
    """
    notes.mkdir()
    chance = random.Random(seed)
    roles = ROLES if is_blob else (*ROLES, "glob")
    # On Blob a killed compaction's lease stands for a minute: tests/test_blob.py kills that one.
    victims = [role for role in roles if not (is_blob and role == "compact")]
    victims += ["import"] if is_blob else ["import", "compact", "compact"]
    wanted = [name for name in COUNTED if not (is_blob and name.startswith("globbed"))]

    def begin(role: str, seconds: float, seed: int) -> ForkServerProcess:
        return forked.start(chaos.play, role, uri, seconds, seed, notes, pace)

    running = {role: begin(role, 11 * seconds, number) for number, role in enumerate(roles)}
    end = time.monotonic() + seconds
    # On a busy machine the processes have hardly begun by then.
    latest = end + 10 * seconds * is_patient
    kills = 0
    while time.monotonic() < end:
        time.sleep(chance.uniform(0.3, rest))
        role = chance.choice(victims)
        if running[role].is_alive():
            running[role].kill()
            running[role].join()
            kills += 1
        left = max(0.5, latest - time.monotonic())
        running[role] = begin(role, left, chance.randrange(10**6))
    while time.monotonic() < latest and not all(count(notes).get(name) for name in wanted):
        time.sleep(0.2)  # no one is killed any more
    (notes / "stop").touch()
    for process in running.values():
        process.join()
    anomalies = notes / "anomalies"
    assert not anomalies.exists(), anomalies.read_text()[:3000]
    lake = Lake(uri)
    chaos.ask(lake, notes)
    counted = count(notes)
    print(counted, flush=True)
    assert not is_patient or all(counted.get(name) for name in wanted)
    return counted | {"killed": kills, "days": len(lake.view().compacted)}


def count(notes: Path) -> dict[str, int]:
    """The lines of each note."""
    return {
        path.name: len(path.read_text().splitlines())
        for path in sorted(notes.iterdir())
        if path.is_file() and path.name != "stop"
    }


def test_twelve_seconds_of_chaos(tmp_path: Path) -> None:
    """Every query sees each committed snapshot whole and once; plain globs too; no one fails."""
    counted = let_loose(str(tmp_path / "lake"), 12, tmp_path / "notes")
    assert min(counted["killed"], counted["days"]) > 0


def rounds(folder: Path, seconds: float, lake: Callable[[int], str]) -> None:
    """A new lake every four minutes, by its number, for so many seconds."""
    total: Counter[str] = Counter()
    end = time.monotonic() + seconds
    is_blob = lake(0).startswith("az:")
    for number in itertools.count(1):
        counted = let_loose(
            lake(number),
            min(240, end - time.monotonic()),
            folder / f"notes{number}",
            seed=number,
            rest=20,
            pace=0.6,
            is_patient=False,
            is_blob=is_blob,
        )
        print(datetime.now(UTC), "round", number, flush=True)
        total.update(counted)
        if not is_blob:
            shutil.rmtree(lake(number))
        if end - time.monotonic() < 15:
            break
    print(dict(total))
    wanted = [name for name in COUNTED if not (is_blob and name.startswith("globbed"))]
    assert all(total[name] for name in (*wanted, "killed", "days"))


def seconds_of(default: int) -> float:
    """How long a long form goes on: NODELAKE_CHAOS_SECONDS, or its default."""
    return float(os.environ.get("NODELAKE_CHAOS_SECONDS", default))


@pytest.mark.long
def test_a_long_time_of_chaos(tmp_path: Path) -> None:
    """The same for an hour."""
    rounds(tmp_path, seconds_of(3600), lambda number: str(tmp_path / f"lake{number}"))


@pytest.mark.ci
def test_chaos_on_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, shorter, against Azurite; only the compaction is spared."""
    with azurite(tmp_path / "azurite") as server:
        server.make_container("chaos")
        for key, value in server.settings.items():
            monkeypatch.setenv(key, value)
        counted = let_loose("az://chaos/lake", 8, tmp_path / "notes", is_blob=True)
    assert min(counted["killed"], counted["days"]) > 0


@pytest.mark.long
def test_a_long_time_of_chaos_on_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for twenty minutes."""
    with azurite(tmp_path / "azurite") as server:
        server.make_container("chaos")
        for key, value in server.settings.items():
            monkeypatch.setenv(key, value)
        rounds(tmp_path, seconds_of(1200), lambda number: f"az://chaos/lake{number}")
