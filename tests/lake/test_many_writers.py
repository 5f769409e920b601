"""Many machines, many accounts, one lake on Blob: snapshots and compactions side by side."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipeline import query
from pipeline.lake import Lake
from tests import chaos, forked, writers
from tests.azurite import azurite

MACHINES = 4
ACCOUNTS = {n: [f"fleet{n}a", f"fleet{n}b"] for n in range(MACHINES)}


@pytest.mark.ci
def test_four_machines_record_eight_accounts_while_two_compact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost or stored twice, every count is the ledger's, and no machine waits for another."""
    notes = tmp_path / "notes"
    notes.mkdir()
    with azurite(tmp_path / "azurite") as server:
        server.make_container("many")
        for key, value in server.settings.items():
            monkeypatch.setenv(key, value)
        uri = "az://many/lake"
        compacting = [forked.start(writers.compactions, uri, notes) for _ in range(2)]
        recording = [
            forked.start(writers.snapshots, uri, notes, names) for names in ACCOUNTS.values()
        ]
        for machine in recording:
            machine.join()
        (notes / "stop").touch()
        for machine in compacting:
            machine.join()
        assert [machine.exitcode for machine in (*recording, *compacting)] == [0] * (MACHINES + 2)

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
