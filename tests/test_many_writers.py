"""Many machines, many accounts, one lake on Blob: snapshots and compactions side by side."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pipeline import query
from pipeline.lake import Lake
from tests import chaos, writers
from tests.azurite import azurite
from tests.conftest import PROJECT

MACHINES = 4
ACCOUNTS = {n: [f"fleet{n}a", f"fleet{n}b"] for n in range(MACHINES)}


def start(role: str, uri: str, notes: Path, *accounts: str) -> subprocess.Popen[bytes]:
    """A machine: a process of its own."""
    command = [sys.executable, "-m", "tests.writers", role, uri, str(notes), *accounts]
    return subprocess.Popen(command, cwd=PROJECT)


def test_four_machines_record_eight_accounts_while_two_compact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost or told twice, every count is the ledger's, and no machine waits for another."""
    notes = tmp_path / "notes"
    notes.mkdir()
    with azurite(tmp_path / "azurite") as server:
        server.make_container("many")
        for key, value in server.settings.items():
            monkeypatch.setenv(key, value)
        uri = "az://many/lake"
        compacting = [start("compact", uri, notes) for _ in range(2)]
        recording = [start("snapshot", uri, notes, *names) for names in ACCOUNTS.values()]
        assert [machine.wait() for machine in recording] == [0] * MACHINES
        (notes / "stop").touch()
        assert [machine.wait() for machine in compacting] == [0, 0]

        committed = [line.split() for line in (notes / "committed").read_text().splitlines()]
        accounts = {account for account, _ in committed}
        with query.connect(uri) as connection:
            found = connection.table("select account, snapshot_id from snapshots").to_pylist()
            broken = connection.table(chaos.BROKEN).to_pylist()
            mistold = connection.table(chaos.MISTOLD).to_pylist()
        assert len(accounts) == 2 * MACHINES
        assert Counter(account for account, _ in committed) == dict.fromkeys(
            accounts, len(writers.HOURS)
        )
        assert sorted((row["account"], row["snapshot_id"]) for row in found) == sorted(
            (account, id_) for account, id_ in committed
        )
        assert broken == []
        assert mistold == []
        # both days of each account are closed, by whichever of the two came to it first
        assert {account for account, _ in Lake(uri).view().compacted} == accounts
        assert len(Lake(uri).view().compacted) == 2 * len(accounts)
