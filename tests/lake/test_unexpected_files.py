"""What people and tools do to a lake's folders: move them, copy files in them, delete locks."""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import query
from pipeline.lake import Lake, LakeError
from pipeline.maintain import build_facts, compaction
from pipeline.storage import Changed, Entry
from pipeline.storage.disk import Disk
from tests.lakes import MONDAY, node, put

#: What is asked of a lake wherever it lies: rows, their days, history, and no column more.
ASKED = (
    "select account, date, count(*) as n from nodes group by all order by all",
    "from pools order by all",
    "from node_states order by all",
    "from node_lifetimes order by all",
    "select * exclude (age_seconds) from nodes_latest order by all",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of history, and one in landing."""
    lake = Lake(tmp_path_factory.mktemp("made") / "lake")
    for when in ("0 03:00", "0 21:00", "1 03:00"):
        put(lake, when, {"p": [node("a"), node("b")]})
    for _ in range(2):
        compact(lake)
    put(lake, "2 03:00", {"p": [node("a")]})
    return lake.root


def compact(lake: Lake) -> compaction.Report:
    """Long after everything, no grace."""
    return compaction.compact(
        lake,
        clock=lambda: MONDAY + timedelta(days=2, hours=12),
        file_clock=lambda: datetime.now(UTC) + timedelta(days=3),
        grace=timedelta(0),
        history=build_facts,
    )


def answers(root: Path) -> list[Any]:
    """What is asked, answered."""
    with query.connect(root) as connection:
        return [connection.table(each).to_pylist() for each in ASKED]


@pytest.mark.parametrize(
    ("folder", "beside"),
    [
        ("env=it's/date=2025-01-01/account=other", None),
        ("q?x*", "qaxy"),
        ("lakes[12]", "lakes1"),
    ],
)
def test_a_lake_lies_wherever_it_is_put(
    made: Path, tmp_path: Path, folder: str, beside: str | None
) -> None:
    """Below a folder that reads like a partition, or like a pattern that another lake's path fits."""
    moved = shutil.copytree(made, tmp_path / folder / "lake")
    if beside:
        shutil.copytree(made, tmp_path / beside / "lake")
    expected = answers(made)
    assert len(expected[0]) == 3
    assert expected == answers(moved)
    statements = list(query.statements(Lake(moved).view()))
    assert any("date=2026-11-16" in each for each in statements)
    compact(Lake(moved))
    assert expected == answers(moved)


def test_a_copy_of_a_days_file_is_not_seen_as_another_account(made: Path, tmp_path: Path) -> None:
    """Its snapshots would be there twice: it is named, nothing is answered, and all is well without."""
    root = shutil.copytree(made, tmp_path / "lake")
    (file, *_) = sorted(root.glob("compacted/snapshots/*/acc.parquet"))
    for each in root.glob(f"compacted/*/{file.parent.name}/acc.parquet"):
        shutil.copy(each, each.with_name("acc-old.parquet"))
    with pytest.raises(
        LakeError,
        match=r"acc-old.parquet: by its name it is of account acc-old and 2026-11-16, its",
    ):
        answers(root)
    with pytest.raises(LakeError, match=r"acc-old.parquet: by its name"):  # exit 1
        compact(Lake(root))
    for each in root.glob("compacted/*/*/acc-old.parquet"):
        each.unlink()
    assert answers(made) == answers(root)


def test_a_day_in_another_form_is_no_day(made: Path, tmp_path: Path) -> None:
    """A folder date=20261116 is unexpected: its files are not seen beside those of date=2026-11-16."""
    root = shutil.copytree(made, tmp_path / "lake")
    for zone in ("compacted", "history", "landing"):
        for folder in [*root.glob(f"{zone}/*/date=*")]:
            shutil.copytree(folder, folder.with_name(folder.name.replace("-", "")))
    assert answers(made) == answers(root)
    assert compact(Lake(root)).exit_code == 0
    assert answers(made) == answers(root)


def test_a_lock_whose_file_was_deleted_is_lost(tmp_path: Path) -> None:
    """Another run may hold the new file of that name: the first one commits nothing."""
    lake = Lake(tmp_path / "lake")
    with lake.lock("compaction", "acc") as lock:
        lock.check()
        shutil.rmtree(lake.root / "locks")
        with pytest.raises(Changed, match="deleted meanwhile"):
            lock.check()
        with lake.lock("compaction", "acc") as other:
            other.check()
            with pytest.raises(Changed, match="run the command again"):
                lock.check()


class Folded(Disk):
    """A disk that keeps the case of names and does not distinguish it, as macOS and SMB have it."""

    def _there(self, key: str) -> str:
        folder, _, name = key.rpartition("/")
        with contextlib.suppress(FileNotFoundError):
            for each in (self.root / folder).iterdir():
                if each.name.casefold() == name.casefold():
                    return f"{folder}/{each.name}"
        return key

    def find(self, key: str) -> Entry | None:
        """Whatever has that name in any case."""
        return super().find(self._there(key))

    def open(self, key: str) -> Any:
        """Whatever has that name in any case."""
        return super().open(self._there(key))

    def sink(self, key: str, over: Any = "anything") -> Any:
        """Over whatever has that name in any case."""
        return super().sink(self._there(key), over)


def test_accounts_that_differ_in_case_do_not_write_over_each_other(tmp_path: Path) -> None:
    """The first one's day is closed, the other's stays open and is named; every row is there."""
    lake = Lake(tmp_path / "lake", Folded(tmp_path / "lake"))
    for account in ("Acc", "acc"):
        put(lake, "03:00", {"p": [node(account)]}, account=account)
    report = compact(lake)
    assert (report.exit_code, report.days, len(report.open_days)) == (3, 1, 1)
    assert "of acc: " in report.open_days[0]
    assert "in another case" in report.open_days[0]
    with query.connect(lake) as connection:
        rows = connection.sql("select account, node_id from nodes order by all").fetchall()
    assert rows == [("Acc", "Acc"), ("acc", "acc")]
