"""The planted fleet, recorded once a run and shared by its processes; a connection to its lake."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import query
from tests.questions import planted


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> planted.Planted:
    """The recorded fleet. Its lake is not to be written to: every test reads the same one."""
    root = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent  # of this run, as its workers' own are
    kept = root / "planted.pickle"
    with Path(root / "planted.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first one records, the others wait for it
        if not kept.exists():
            made = planted.record(root / "planted-lake")
            kept.write_bytes(pickle.dumps(made))
        found: planted.Planted = pickle.loads(kept.read_bytes())
    return found


@pytest.fixture(scope="session")
def lake(fleet: planted.Planted) -> Iterator[query.Connection]:
    """A connection to the planted fleet's lake, one for all tests of a process."""
    with query.connect(fleet.lake) as connection:
        yield connection
