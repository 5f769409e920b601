"""What history lacks is said, and files that are gone are named: by queries and by a check."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli, query
from pipeline.lake import Lake, LakeError, Refused, history_key
from pipeline.lake.paths import manifest_key
from pipeline.maintain import compaction
from pipeline.maintain.expiry import expire
from pipeline.query import checks, missing_facts
from pipeline.schema import facts
from tests.lakes import MONDAY, node, put, task

DAY = MONDAY.date()
NOW = MONDAY + timedelta(days=10)


def old(root: Path, **first: Any) -> Lake:
    """Five days with history: the first has expired, the history of the second depends on it."""
    lake = Lake(root)
    for day in range(5):
        for clock in ("03:00", "21:00"):
            shown = node("a", **(first if day < 2 else {}))
            put(lake, f"{day} {clock}", {"p": [shown]})
    for _ in range(2):
        compact(lake)
    assert expire(lake, clock=lambda: NOW, compacted_days=9).days == 1
    return lake


def compact(lake: Lake) -> compaction.Report:
    """Long after everything, no grace."""
    return compaction.compact(
        lake,
        clock=lambda: MONDAY + timedelta(days=30),
        file_clock=lambda: datetime.now(UTC) + timedelta(days=3),
        grace=timedelta(0),
    )


def found(lake: Lake) -> dict[str, int]:
    """The checks of history and of files that found rows, and how many."""
    with query.connect(lake) as connection:
        rows = {row["name"]: row["rows"] for row in checks.run(connection) if row["rows"]}
    return {name: rows[name] for name in rows if name in ("history_older", "missing_files")}


def node_hours(lake: Lake) -> list[dict[str, Any]]:
    """Every row."""
    with query.connect(lake) as connection:
        rows: list[dict[str, Any]] = connection.table("from node_hours order by all").to_pylist()
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An old lake that this nodelake made."""
    return old(tmp_path_factory.mktemp("made") / "lake").root


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Lake:
    """A copy of it."""
    return Lake(shutil.copytree(made, tmp_path / "lake"))


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An old lake, made by a nodelake that did not know task_outcomes yet."""
    root: Path = tmp_path_factory.mktemp("without") / "lake"
    with pytest.MonkeyPatch.context() as patch:
        older = {name: fact for name, fact in facts.FACTS.items() if name != "task_outcomes"}
        patch.setattr(facts, "FACTS", older)
        old(root)
    compact(Lake(root))
    return root


def test_a_fact_that_came_after_a_day_expired_is_said_to_lack_it(
    without: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its day and the one that depends on it, once; the others are built; other facts say nothing."""
    days = f"2 days of acc ({DAY} to {DAY + timedelta(days=1)})"
    with query.connect(without) as connection:
        connection.table("from node_hours")
        assert caplog.messages == []
        for _ in range(2):
            connection.table("from task_outcomes")
        assert caplog.messages == [
            f"task_outcomes has no rows of {days}: rows expired before nodelake knew the fact"
        ]
        assert connection.table("from missing_facts order by date").to_pylist() == [
            {"account": "acc", "date": day, "fact": "task_outcomes", "reason": "newer fact"}
            for day in (DAY, DAY + timedelta(days=1))
        ]
    assert found(Lake(without)) == {"history_older": 1}


def test_a_question_says_so_unless_it_asks_of_later_days(
    without: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, beside an answer that is whole for the days it asks of; exit 0."""
    for since, is_said in ((None, True), (f"{DAY}", True), (f"{DAY + timedelta(days=4)}", False)):
        asked = ["ask", "black_hole_nodes", "--lake", str(without), "--format", "json"]
        assert cli.run([*asked, *(["--from", since] if since else [])]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out) == []
        assert ("task_outcomes has no rows of 2 days of acc" in said.err) is is_said


def test_init_sql_says_so(without: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No query of the DuckDB that it opens can."""
    assert cli.run(["init-sql", "--lake", str(without)]) == 0
    assert "task_outcomes has no rows of 2 days of acc" in capsys.readouterr().err


def test_a_fact_of_an_older_form_reads_with_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A column that it did not have is null on days whose rows have expired, and they are named."""
    fact = facts.TASK_OUTCOMES
    slimmer = tuple(each for each in fact.columns if each.column.name != "incarnation_key")
    with monkeypatch.context() as patch:
        patch.setitem(facts.FACTS, "task_outcomes", replace(fact, version=0, columns=slimmer))
        lake = old(tmp_path / "lake", tasks=[task("t", "02:00", "02:30")])
    for _ in range(2):
        with query.connect(lake) as connection:
            rows = connection.table(
                "select date, runs, incarnation_key from task_outcomes order by 1"
            )
        assert rows.to_pylist() == [
            {"date": rows["date"][0].as_py(), "runs": 1, "incarnation_key": None}
        ]
        assert caplog.messages[-1].startswith("task_outcomes has 2 days of acc")
        assert {"history_older": 1} == found(lake)
        compact(lake)
    pytest.importorskip("sqlglot")
    from pipeline.spark.catalogue import catalogue

    spark = catalogue(lake.view())  # whose reader returns null for such a column by itself
    read, _ = spark.spark(spark.queries["daily_task_outcomes"])
    assert "BY NAME" not in read
    assert str(DAY) in spark.spark(spark.queries["missing_facts"])[0]


@pytest.mark.parametrize("how", ["gone", "cut"])
@pytest.mark.parametrize("day", [0, 1], ids=["expired", "depending"])
def test_a_file_that_nothing_can_build_again_is_named(lake: Lake, day: int, how: str) -> None:
    """By the query that needs it and by a check; of a day that has rows it is built again."""
    assert found(lake) == {}
    before = node_hours(lake)
    path = lake.root / history_key("node_hours", DAY + timedelta(days=day), "acc")
    rebuilt = lake.root / history_key("node_hours", DAY + timedelta(days=3), "acc")
    kept = path.read_bytes()
    for each in (path, rebuilt):
        if how == "gone":
            each.unlink()
        else:
            each.write_bytes(each.read_bytes()[:-20])
    assert compact(lake).history_days == 1
    assert found(lake) == {"missing_files": 1}
    with query.connect(lake) as connection:
        with pytest.raises(LakeError, match=f"{path}: the file is missing, or not .*: restore it"):
            connection.table("from node_hours")
        assert connection.table("from node_states").num_rows > 0
        assert connection.table("from missing_files").to_pylist() == [{"file": str(path)}]
    path.write_bytes(kept)
    assert found(lake) == {}
    assert node_hours(lake) == before


@pytest.mark.parametrize("day", [0, 1], ids=["expired", "depending"])
def test_a_manifest_that_nothing_can_write_again_is_named(lake: Lake, day: int) -> None:
    """Nothing builds its history from fewer rows meanwhile; a backup mends it."""
    put(lake, "5 03:00", {"p": [node("a")]})
    path = lake.root / manifest_key(DAY + timedelta(days=day), "acc")
    before, kept = node_hours(lake), path.read_bytes()
    path.unlink()
    report = compact(lake)
    if day == 0:  # the first one of all: only a deep check finds files that no manifest names
        assert (report.exit_code, found(lake)) == (0, {})
    else:
        assert report.exit_code == 3
        assert f"{path}: the file is missing: restore it from a backup" in report.open_days[0]
        assert found(lake) == {"missing_files": 1}
        with pytest.raises(LakeError, match=f"{path}: the file is missing"):
            node_hours(lake)
        assert expire(lake, clock=lambda: NOW, compacted_days=8).exit_code == 3
    assert not path.exists()
    with pytest.raises(Refused):
        put(lake, "1 15:00", {"p": [node("a")]})
    path.write_bytes(kept)
    assert compact(lake).exit_code == 0
    assert found(lake) == {}
    assert [row for row in node_hours(lake) if row["date"].day < 20] == [
        row for row in before if row["date"].day < 20
    ]


def test_a_manifest_between_others_is_missed_once_its_rows_are_gone(lake: Lake) -> None:
    """History has every day of a record, gaps of up to a month included."""
    assert expire(lake, clock=lambda: NOW, compacted_days=7).days == 2
    path = lake.root / manifest_key(DAY + timedelta(days=1), "acc")
    path.unlink()
    with pytest.raises(LakeError, match=f"{path}: the file is missing"):
        node_hours(lake)


def test_a_watermark_that_is_lost_is_named(lake: Lake) -> None:
    """A backup without ``expired``: history says that there was one."""
    path = lake.root / "expired/acc"
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(LakeError, match=re.escape(str(lake.root))):
        node_hours(lake)
    with query.connect(lake) as connection:
        assert str(path) in connection.table("from missing_files")["file"].to_pylist()
    path.write_bytes(kept)
    assert found(lake) == {}


@pytest.mark.parametrize("table", ["snapshots", "nodes"])
def test_a_day_file_that_is_lost_is_named(lake: Lake, table: str) -> None:
    """Its history stays; nothing deletes the rows beside it; a backup mends it."""
    day = DAY + timedelta(days=3)
    path = lake.root / f"compacted/{table}/date={day}/acc.parquet"
    kept = path.read_bytes()
    beside = sorted(lake.root.glob(f"compacted/*/date={day}/*"))
    path.unlink()
    compact(lake)
    with (
        query.connect(lake) as connection,
        pytest.raises(LakeError, match=f"{path}: the file is missing"),
    ):
        connection.table("select count(*) from nodes")
    assert found(lake) == {"missing_files": 1}
    assert sorted([path, *lake.root.glob(f"compacted/*/date={day}/*")]) == beside
    path.write_bytes(kept)
    assert compact(lake).exit_code == 0
    assert found(lake) == {}


def test_a_damaged_ledger_of_a_day_with_history_is_named_and_deletes_none(lake: Lake) -> None:
    """Whose it is no one knows: history waits, and what is there stays."""
    day = DAY + timedelta(days=2)
    late = put(lake, "2 22:00", {"p": [node("a")]})
    lake.path("snapshots", late).write_bytes(b"PAR1")
    put(lake, "4 23:00", {"p": [node("a")]})
    report = compact(Lake(lake.root))
    assert report.exit_code == 3
    assert late in report.open_days[0]
    assert (lake.root / manifest_key(day, "acc")).exists()


def test_history_that_was_given_up_is_not_missed(lake: Lake) -> None:
    """``nodelake expire --history`` deleted it: that is no one's loss."""
    assert expire(lake, clock=lambda: NOW, history_days=9).history_days == 1
    assert found(lake) == {}
    assert node_hours(lake)[0]["date"] == DAY + timedelta(days=1)


def test_many_accounts_are_counted() -> None:
    """And a moment that is no moment hides nothing."""
    made = [(name, DAY, "task_outcomes", "newer fact") for name in ("a", "b")]
    (sentence,) = missing_facts.sentences(made, ["task_outcomes"], "whenever")  # type: ignore[arg-type]
    assert sentence.startswith(f"task_outcomes has no rows of 2 days of 2 accounts ({DAY})")
    assert [*missing_facts.sentences(made, ["node_hours"])] == []  # type: ignore[arg-type]
