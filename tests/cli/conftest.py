"""What tests of the command share: a folder of their own, a recorded lake, a terminal."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from pipeline.lake import Lake
from tests.service import make_service


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It does."""
        return True


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, without settings of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("AZURE_", "NODELAKE_", "IDENTITY_")):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake with one snapshot of 20 nodes, of one module of tests."""
    path = tmp_path_factory.mktemp("recorded") / "lake"
    make_service().run(Lake(path))
    return str(path)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake with one snapshot of 20 nodes, not to be changed."""
    path = tmp_path_factory.mktemp("recorded") / "lake"
    make_service().run(Lake(path))
    return str(path)
