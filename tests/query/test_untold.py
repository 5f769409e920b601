"""What history cannot tell any more is said: by a query that reads it, by a check, never passed over."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli, query
from pipeline.lake import Lake, Refused, history_key
from pipeline.lake.expiry import leaning_key, note_leaning
from pipeline.maintain import compaction
from pipeline.maintain.history import LOST
from pipeline.maintain.expiry import expire
from pipeline.query import checks, history, untold
from pipeline.schema import facts
from tests.lakes import MONDAY, node, put, task

DAY = MONDAY.date()


def old(root: Path, **first: Any) -> Lake:
    """Four days with history: the first has expired, the second leans on it."""
    lake = Lake(root)
    for day in range(4):
        for clock in ("03:00", "21:00"):
            shown = node("a", **(first if day < 2 else {}))
            put(lake, f"{day} {clock}", {"p": [shown]})
    for _ in range(2):
        compact(lake)
    today = DAY + timedelta(days=10)
    assert expire(lake, today=today, compacted_days=9, history=history).days == 1
    return lake


def compact(lake: Lake) -> compaction.Report:
    """Long after everything, no grace."""
    return compaction.compact(
        lake,
        clock=lambda: MONDAY + timedelta(days=30),
        file_clock=lambda: datetime.now(UTC) + timedelta(days=3),
        grace=timedelta(0),
        history=history,
    )


def found(lake: Lake) -> dict[str, int]:
    """The checks of history that found rows, and how many."""
    with query.connect(lake) as connection:
        rows = {row["name"]: row["rows"] for row in checks.run(connection) if row["rows"]}
    return {name: count for name, count in rows.items() if name.startswith("history")}


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
    """An old lake, made by a nodelake that did not know node_tasks yet."""
    root: Path = tmp_path_factory.mktemp("untold") / "lake"
    with pytest.MonkeyPatch.context() as patch:
        older = {name: fact for name, fact in facts.FACTS.items() if name != "node_tasks"}
        patch.setattr(facts, "FACTS", older)
        old(root)
    compact(Lake(root))
    return root


def test_a_fact_that_came_after_a_day_expired_is_told_to_lack_it(
    without: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own day and the one that leans on it, once; the others are made; other facts say nothing."""
    days = f"2 days of acc ({DAY} to {DAY + timedelta(days=1)})"
    with query.connect(without) as connection:
        connection.table("from node_hours")
        assert caplog.messages == []
        for _ in range(2):
            connection.table("from node_tasks")
        assert caplog.messages == [
            f"node_tasks does not tell {days}: their rows expired before nodelake made it"
        ]
        assert connection.table("from history_untold order by date").to_pylist() == [
            {"account": "acc", "date": day, "fact": "node_tasks", "why": "added later"}
            for day in (DAY, DAY + timedelta(days=1))
        ]
    assert found(Lake(without)) == {"history_older": 1}


def test_a_question_says_so_unless_it_asks_of_later_days(
    without: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, beside an answer that is whole for the days it asks of; exit 0."""
    for since, is_told in ((None, True), (f"{DAY}", True), (f"{DAY + timedelta(days=4)}", False)):
        asked = ["ask", "black_hole_nodes", "--lake", str(without), "--format", "json"]
        assert cli.run([*asked, *(["--from", since] if since else [])]) == 0
        told = capsys.readouterr()
        assert json.loads(told.out) == []
        assert ("node_tasks does not tell 2 days of acc" in told.err) is is_told


def test_a_fact_of_an_older_form_reads_with_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A column that it did not have is null on days whose rows have expired, and they are named."""
    fact = facts.NODE_TASKS
    slimmer = tuple(each for each in fact.columns if each.column.name != "incarnation_key")
    with monkeypatch.context() as patch:
        patch.setitem(facts.FACTS, "node_tasks", replace(fact, version=0, columns=slimmer))
        lake = old(tmp_path / "lake", tasks=[task("t", "02:00", "02:30")])
    for _ in range(2):
        with query.connect(lake) as connection:
            rows = connection.table(
                "select date, ended_runs, incarnation_key from node_tasks order by 1"
            )
        assert rows.to_pylist() == [
            {"date": rows["date"][0].as_py(), "ended_runs": 1, "incarnation_key": None}
        ]
        assert caplog.messages[-1].startswith("node_tasks tells 2 days of acc")
        assert {"history_older": 1} == found(lake)
        compact(lake)


@pytest.mark.parametrize("fact", ["node_hours", "days"])
@pytest.mark.parametrize("day", [0, 1], ids=["expired", "leaning"])
def test_a_file_that_nothing_can_make_again_is_named(
    lake: Lake, fact: str, day: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a day that has rows the next compaction makes it; of these a check fails, a query warns."""
    assert found(lake) == {}
    when = DAY + timedelta(days=day)
    (lake.root / f"history/{fact}/date={when}/acc.parquet").unlink()
    (lake.root / f"history/{fact}/date={DAY + timedelta(days=3)}/acc.parquet").unlink()
    compact(lake)
    assert found(lake) == {"history_missing": 1}
    with query.connect(lake) as connection:
        connection.table("from node_hours")
    name = "history" if fact == "days" else fact
    assert caplog.messages[-1].startswith(f"{name} does not tell 1 day of acc ({when})")
    assert f"history/{fact} back" in caplog.messages[-1]


def test_a_day_that_was_made_with_expired_rows_is_not_made_from_fewer_unsaid(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    """Answered from what is left, it says so; nothing makes it anew or adds to it; a backup mends it."""
    day = DAY + timedelta(days=1)
    path = lake.root / history_key("days", day, "acc")
    kept = path.read_bytes()
    before = query.connect(lake).table("from node_states").to_pylist()
    path.unlink()
    report = compact(lake)
    assert (report.exit_code, report.history_days) == (3, 0)
    assert [each for each in report.open_days if f"{day}: {LOST}" in each] == report.open_days
    assert not path.exists()
    caplog.clear()
    with query.connect(lake) as connection:
        connection.table("from node_hours")
    (said,) = caplog.messages
    assert said.startswith(f"history does not tell 1 day of acc ({day}): its file is missing, rows")
    assert found(lake) == {"history_missing": 1}
    with pytest.raises(Refused):
        put(lake, "1 15:00", {"p": [node("a")]})
    today = DAY + timedelta(days=10)
    assert expire(lake, today=today, compacted_days=8, history=history).exit_code == 3
    path.write_bytes(kept)
    assert compact(lake).exit_code == 0
    assert found(lake) == {}
    assert before == query.connect(lake).table("from node_states").to_pylist()


def test_an_older_expiry_did_not_tell_what_leans(lake: Lake) -> None:
    """The next compaction does, from the file that is there."""
    day = DAY + timedelta(days=1)
    told = lake.root / leaning_key(day, "acc")
    expected = told.read_bytes()
    told.unlink()
    assert compact(lake).exit_code == 0
    assert expected == told.read_bytes() == f"{DAY}\n".encode()


def test_a_day_that_expires_leans_no_more(lake: Lake) -> None:
    """What told of it goes with its rows; the day after it leans."""
    today = DAY + timedelta(days=10)
    assert expire(lake, today=today, compacted_days=8, history=history).days == 1
    leaning = [path.parent.name for path in lake.root.glob("leaning/*/acc")]
    assert [f"date={DAY + timedelta(days=2)}"] == leaning


def test_an_expiry_that_was_killed_before_its_mark_made_nothing_lean(lake: Lake) -> None:
    """Rows of the day are there: its neighbour is made anew as ever."""
    day, later = DAY + timedelta(days=2), DAY + timedelta(days=3)
    note_leaning(lake.storage, "acc", later, {day})
    (lake.root / history_key("days", later, "acc")).unlink()
    assert compact(lake).history_days == 1
    assert found(lake) == {}


@pytest.mark.parametrize("lost", ["expired", "compacted/snapshots"])
def test_history_stands_where_rows_are_gone_and_no_mark_tells_why(
    lake: Lake, lost: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A backup without marks, or a day's file that is lost: what cannot be made again is not deleted."""
    day = DAY + timedelta(days=0 if lost == "expired" else 2)
    kept = shutil.move(lake.root / f"{lost}/date={day}", tmp_path / "kept")
    for _ in range(2):
        put(lake, "4 03:00", {"p": [node("a")]})
        assert compact(lake).exit_code == 0
        caplog.clear()
        with query.connect(lake) as connection:
            days = connection.table("select distinct date from node_hours order by 1")
        assert days["date"].to_pylist() == [DAY + timedelta(days=number) for number in range(5)]
        assert [f"history alone tells 1 day of acc ({day}): their rows are gone"] == [
            each.partition(", and")[0] for each in caplog.messages
        ]
        assert found(lake) == {"history_missing": 1}
        with pytest.raises(Refused, match="its history is all there is"):
            put(lake, f"{(day - DAY).days} 12:00", {"p": [node("a")]})
        with query.connect(lake) as connection:
            refused = connection.sql(f"from snapshots where date = '{day}'").fetchall()
        assert refused == []
    shutil.move(kept, lake.root / f"{lost}/date={day}")
    assert compact(lake).exit_code == 0
    assert found(lake) == {}
    with query.connect(lake) as connection:
        rows = connection.sql(f"from nodes where date = '{day}'").fetchall()
    assert len(rows) == (0 if lost == "expired" else 2)


@pytest.mark.parametrize("is_rowless", [False, True])
def test_a_damaged_ledger_of_a_day_with_history_is_named_and_deletes_none(
    lake: Lake, is_rowless: bool
) -> None:
    """Whose it is nobody knows: the day's history is kept where it is all there is of the day."""
    day = DAY + timedelta(days=2)
    late = put(lake, "2 15:00", {"p": [node("a")]})
    lake.path("snapshots", late).write_bytes(b"PAR1")
    put(lake, "4 03:00", {"p": [node("a")]})
    if is_rowless:
        shutil.rmtree(lake.root / f"compacted/snapshots/date={day}")
    report = compact(Lake(lake.root))
    assert report.exit_code == 3
    assert late in report.open_days[0]
    assert is_rowless == (lake.root / history_key("days", day, "acc")).exists()


def test_another_file_of_history_than_the_one_that_was_made_is_not_read(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut short, or an older one from a backup: made anew where rows are, told where they are not."""
    before = query.connect(lake).table("from node_hours order by all").to_pylist()
    for number in (0, 2):
        file = lake.root / history_key("node_hours", DAY + timedelta(days=number), "acc")
        file.write_bytes(file.read_bytes()[:-20])
    after = query.connect(lake).table("from node_hours order by all").to_pylist()
    assert [row for row in before if row["date"] != DAY] == after
    assert caplog.messages[-1].startswith(f"node_hours does not tell 1 day of acc ({DAY})")
    assert compact(lake).history_days == 1
    assert found(lake) == {"history_missing": 1}


def test_history_that_was_given_up_is_not_missed(lake: Lake) -> None:
    """``nodelake expire --history`` deleted it: that is nobody's loss."""
    today = DAY + timedelta(days=10)
    assert expire(lake, today=today, history_days=9).history_days == 1
    assert found(lake) == {}


def test_many_accounts_are_counted() -> None:
    """And a moment that is no moment hides nothing."""
    made = [(name, DAY, "node_jobs", "missing") for name in ("a", "b")]
    (sentence,) = untold.told(made, ["node_jobs"], "whenever")  # type: ignore[arg-type]
    assert sentence.startswith(f"node_jobs does not tell 2 days of 2 accounts ({DAY})")
    assert [*untold.told(made, ["node_hours"])] == []  # type: ignore[arg-type]
