"""Signing in with Entra: a real azure-identity credential against the emulator's token endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import config, snapshot
from pipeline.emulator import Emulator, Fault, Fleet
from pipeline.extract import BatchClient
from pipeline.lake import Lake
from tests.service import START, one, small_fleet


@pytest.fixture
def without_azure_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of this machine leads a credential elsewhere."""
    import os

    for name in [*os.environ]:
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("without_azure_settings")
def test_a_run_signs_in_with_a_token_and_gets_a_fresh_one_after_a_401(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key DefaultAzureCredential is used; a token that expires early heals the run."""
    emulator = Emulator(Fleet(small_fleet(alpha=12), seed=3, start=START), page_limit=5)
    emulator.faults.add(Fault(kind="expired_token", route="nodes", page=2, times=1))
    with emulator.serve() as server:
        for name, value in server.identity_settings.items():
            monkeypatch.setenv(name, value)
        keyless = {
            name: value
            for name, value in server.settings.items()
            if name != "AZURE_BATCH_ACCESS_KEY"
        }
        account = config.load(None, keyless).require_accounts()[0]
        assert account.key is None
        with BatchClient(account) as client:
            outcome = snapshot.run(account, Lake(tmp_path), client)
    assert outcome.exit_code == 0
    assert one(tmp_path, "select count(*) as n from nodes")["n"] == 12
