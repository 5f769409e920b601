"""A lake whose directory may not be written: a clear error, and queries go on."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.lake import Lake
from tests.conftest import PROJECT
from tests.days import store_days

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE = 1


def bound_by_permissions() -> None:
    """Before a program begins: root's right to write where no one may is given up."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def nodelake(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, bound by permissions."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("AZURE_")}
    environ |= {  # no one is asked: the lake is locked first
        "AZURE_BATCH_ACCOUNT": "a",
        "AZURE_BATCH_ENDPOINT": "https://127.0.0.1:9",
        "AZURE_BATCH_ACCESS_KEY": "bm9uZQ==",
    }
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=PROJECT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=bound_by_permissions,
    )


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Path]:
    """A lake of two closed days and their landing files, all directories read-only."""
    if sys.platform != "linux" and os.geteuid() == 0:
        pytest.skip("root may write everywhere: run as another user")
    root = tmp_path / "lake"
    store_days(Lake(root))
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    yield root
    for folder in folders:
        folder.chmod(0o700)


def test_what_writes_names_the_directory_and_fails(lake: Path, tmp_path: Path) -> None:
    """Snapshot, compact and import exit 1 and say what to do; nothing was written."""
    page = tmp_path / "nodes.json"
    page.write_text('{"value": [{"id": "tvm-1", "state": "idle"}]}')
    before = sorted(lake.rglob("*"))
    for arguments in (
        ["snapshot"],
        ["compact"],
        ["import", str(page), "--pool", "p", "--account", "a"],
    ):
        found = nodelake(*arguments, "--lake", str(lake))
        assert found.returncode == 1, found.stderr
        assert str(lake) in found.stderr
        assert (
            "permission denied: run as the lake's owner, or choose another --lake" in found.stderr
        )
        assert "Traceback" not in found.stderr
    assert sorted(lake.rglob("*")) == before


def test_queries_go_on(lake: Path) -> None:
    """The files may be read: sql and status do."""
    found = nodelake(
        "sql", "select count(*) as n from nodes", "--format", "csv", "--lake", str(lake)
    )
    assert (found.returncode, found.stdout.split()) == (0, ["n", "24"]), found.stderr
    found = nodelake("status", "--format", "json", "--lake", str(lake))
    assert found.returncode == 0, found.stderr
