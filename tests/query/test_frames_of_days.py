"""``Connection.scan(since=, through=)``: of thirty days it reads the chosen ones, and DuckDB agrees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline import maintain, schema
from pipeline.lake import Lake
from pipeline.maintain import build_facts
from pipeline.query import Connection, connect
from pipeline.query.frames import DAILY
from pipeline.schema import facts
from pipeline.storage import LakeError
from tests.azurite import copied
from tests.lakes import MONDAY, node, put, task

DAYS = 30
#: Facts that add up have rows of a date; the others have rows that span days.
SUMS = ("node_hours", "pool_hours", "task_outcomes")
SPANNING = tuple(name for name in facts.FACTS if name not in SUMS)
DAY = (MONDAY + timedelta(days=11)).date()
RANGES = [(DAY, DAY), (DAY, DAY + timedelta(days=2))]


def _nodes(day: int, hour: int) -> Iterator[dict[str, object]]:
    """The nodes of the listing at that hour: they live for a month, over a midnight, for hours.

    Every night the second fails, in its start task and with an error, from 21:00 to 03:00.
    """
    yield node("old", "running", "0 00:00", last_boot_time="0 00:01", node_agent_version="1")
    night = day if hour >= 21 else day - 1
    is_failed = night >= 0 and (hour >= 21 or hour < 3)
    since = f"{night} 21:00" if is_failed else f"{day} 03:00"
    yield node(
        "nightly",
        "starttaskfailed" if is_failed else "idle",
        since if day or is_failed else "0 00:00",
        errors=["Disk"] if is_failed else [],
        node_agent_version=f"{max(night, 0)}",
        last_boot_time=f"{max(night, 0)} {21 if night >= 0 else 0}:00",
        **_start_task(f"{night} 21:00", has_failed=True) if night >= 0 else {},
    )
    for born, alive in ((day - 1, hour < 5), (day, hour >= 19)):
        if alive and born >= 0:
            yield _short_lived(f"over{born}", f"{born} 19:00", day, hour, born)
    if 7 <= hour < 15:
        yield _short_lived(f"brief{day}", f"{day} 07:00", day, hour, day)


def _short_lived(name: str, born: str, day: int, hour: int, of: int) -> dict[str, object]:
    """A node that is born full of work: it runs a task, and one that no listing shows."""
    late = day > of or hour >= 11
    start = born.replace(":00", ":30")
    end = {"end": born.replace(":00", ":40"), "exit_code": 3} if late else {}
    return node(
        name,
        "running",
        start,
        allocated=born,
        last_boot_time=born.replace(":00", ":05"),
        tasks=[task(f"{name}-a", start, **end)],
        total_tasks_run=3 if late else 1,
        total_tasks_succeeded=0,
        **_start_task(born.replace(":00", ":10"), has_failed=False),
    )


def _start_task(start: str, *, has_failed: bool) -> dict[str, object]:
    return {
        "start_task_start_time": start,
        "start_task_end_time": start.replace(":00", ":20").replace(":10", ":20"),
        "start_task_state": "completed",
        "start_task_result": "failure" if has_failed else "success",
        "start_task_exit_code": int(has_failed),
        "start_task_id": "s",
        "start_task_definition_id": "d",
    }


def _make(folder: Path) -> Path:
    for day in range(DAYS):
        for hour in (0, 4, 8, 12, 16, 20, 22):
            put(Lake(folder), f"{day} {hour:02}:30", {"work": [*_nodes(day, hour)]})
    return folder


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake before any compaction."""
    return _make(tmp_path_factory.mktemp("landed") / "lake")


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake, compacted."""
    folder = _make(tmp_path_factory.mktemp("month") / "lake")
    after = MONDAY + timedelta(days=DAYS + 2)
    maintain.compact(Lake(folder), clock=lambda: after, grace=timedelta(), history=build_facts)
    return folder


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    flat = [name for name, kind in frame.schema.items() if not kind.is_nested()]
    return frame.sort(flat, nulls_last=True, maintain_order=True)


def _bounds(name: str) -> tuple[str, str]:
    return ("after", "before") if name == "task_gaps" else ("first_observed_at", "last_observed_at")


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@contextmanager
def _only(lake: Path, first: date, last: date) -> Iterator[int]:
    """Every Parquet file of other days is garbage: reading one is an error. Gives their number.

    But for the first file of each table: DuckDB takes a view's columns from it.
    """
    firsts = {min(table.rglob("*.parquet")) for table in (lake / "compacted").iterdir()}
    kept = {
        file: file.read_bytes()
        for file in {*lake.rglob("*.parquet")} - firsts
        if not first <= date.fromisoformat(file.parent.name.removeprefix("date=")) <= last
    }
    for file in kept:
        file.write_bytes(b"PAR1 of another world")
    try:
        yield len(kept)
    finally:
        for file, data in kept.items():
            file.write_bytes(data)


@pytest.mark.parametrize("name", [*schema.TABLES, *facts.FACTS, *DAILY])
def test_one_day_of_thirty_reads_files_of_that_day_alone(name: str, month: Path) -> None:
    """From the moment that the lake was opened; DuckDB gives the same rows of the day."""
    with connect(month) as lake:
        with _only(month, DAY, DAY) as others:
            assert others > 10 * (len([*month.rglob("*.parquet")]) - others)
            found = lake.scan(name, since=DAY, through=DAY).collect()
        if name in SPANNING:
            assert found.schema == lake.sql(f"from {name}").pl().schema
        else:
            expected = lake.sql(f"from {name} where date = date '{DAY}'").pl()
            assert_frame_equal(_sorted(expected), _sorted(found))
    if name in ("nodes", "recent_tasks", "node_errors", *facts.FACTS):
        assert found.height > 0 or name == "pool_error_episodes"


@pytest.mark.parametrize(("since", "through"), RANGES)
@pytest.mark.parametrize("name", SPANNING)
def test_what_began_and_ended_within_the_days_is_as_duckdb_answers_from_all(
    name: str, since: date, through: date, month: Path
) -> None:
    """Whole rows, by the same predicate, of a fact that is merged over all thirty days."""
    begin, end = _bounds(name)
    lower, upper = _midnight(since), _midnight(through + timedelta(days=1))
    with connect(month) as lake:
        frame = lake.scan(name, since=since, through=through)
        found = frame.filter(pl.col(begin) >= lower, pl.col(end) < upper).collect()
        query = f"from {name} where {begin} >= '{lower}' and {end} < '{upper}'"
        assert_frame_equal(_sorted(lake.sql(query).pl()), _sorted(found))
    assert (
        found.height > 0
        or name in ("pool_error_episodes", "node_error_episodes")
        or (since == through and name == "node_config_intervals")
    )


@pytest.mark.parametrize(("since", "through"), RANGES)
@pytest.mark.parametrize("name", SPANNING)
def test_what_goes_beyond_the_days_is_there_too(
    name: str, since: date, through: date, month: Path
) -> None:
    """What DuckDB knows over these days, of all thirty, is in the frame by its key, and no more."""
    begin, end = _bounds(name)
    lower, upper = _midnight(since), _midnight(through + timedelta(days=1))
    key = [
        each
        for each in facts.FACTS[name].named("key")
        if each not in ("first_observed_at", "last_observed_at")
    ]
    with connect(month) as lake:
        frame = lake.scan(name, since=since, through=through)
        found = frame.filter(pl.col(begin) < upper, pl.col(end) >= lower).select(key).collect()
        query = (
            f"select {', '.join(key)} from {name} where {begin} < '{upper}' and {end} >= '{lower}'"
        )
        expected = lake.sql(query).pl()
        assert_frame_equal(_sorted(expected), _sorted(found))
    if name in ("node_states", "node_incarnations"):
        assert {"old", "nightly", f"over{(since - MONDAY.date()).days - 1}"} <= {*found["node_id"]}


def test_a_state_of_weeks_has_its_exact_start(month: Path) -> None:
    """And is first observed in the last listing before the days that were chosen."""
    with connect(month) as lake:
        frame = lake.scan("node_states", since=DAY, through=DAY)
        (old,) = frame.filter(pl.col("node_id") == "old").collect().to_dicts()
    assert old["state_transition_time"] == MONDAY
    assert old["first_observed_at"] == _midnight(DAY) - timedelta(minutes=90)
    assert old["ended_before"] is None


@pytest.mark.parametrize("name", facts.FACTS)
def test_days_without_history_are_made_from_rows(name: str, landed: Path, month: Path) -> None:
    """Compaction changes no answer; an open end takes all days."""
    with connect(landed) as before, connect(month) as after:
        for days in ({"since": DAY, "through": DAY}, {"since": DAY + timedelta(days=16)}):
            assert_frame_equal(
                _sorted(after.scan(name, **days).collect()),
                _sorted(before.scan(name, **days).collect()),
            )


def test_frames_of_several_ranges_live_side_by_side(month: Path) -> None:
    """Each keeps its days; the views of the connection keep all."""
    with connect(month) as lake:
        everything = lake.sql("from node_states").pl()
        frames = [lake.scan("node_states", since=a, through=b) for a, b in RANGES]
        heights = [frame.collect().height for frame in (*frames, *frames)]
        assert heights[:2] == heights[2:]
        assert heights[0] < heights[1] < everything.height
        assert_frame_equal(_sorted(everything), _sorted(lake.sql("from node_states").pl()))
        assert_frame_equal(
            _sorted(everything),
            _sorted(lake.scan("node_states", through=date(2100, 1, 1)).collect()),
        )


def test_days_that_cannot_be_chosen_are_refused(month: Path) -> None:
    """Of a view of the whole lake; and days in the wrong order. Days without rows are empty."""
    with connect(month) as lake:
        with pytest.raises(LakeError, match="nodes_latest has no days to choose"):
            lake.scan("nodes_latest", since=DAY)
        with pytest.raises(LakeError, match="is later than through"):
            lake.scan("nodes", since=DAY, through=DAY - timedelta(days=1))
        for name in (*schema.TABLES, *facts.FACTS):
            assert lake.scan(name, since=date(2100, 1, 1)).collect().height == 0


@pytest.mark.ci
def test_one_day_of_thirty_asks_blob_for_that_day_alone(tmp_path: Path, month: Path) -> None:
    """The other days' blobs, but the first of each table, are deleted once the lake was opened."""
    with (
        copied(month, tmp_path / "azurite") as lake,
        connect(month) as on_disk,
        Connection(lake) as on_blob,
    ):
        deleted = [
            entry
            for entry in (*lake.storage.list("compacted"), *lake.storage.list("history"))
            if entry.key.endswith(".parquet") and f"date={DAY}" not in entry.key
            if entry.key.startswith("history") or f"date={MONDAY.date()}" not in entry.key
        ]
        assert len(deleted) > 28 * 15
        for entry in deleted:
            lake.storage.delete(entry)
        for name in ("nodes", "node_states", "node_incarnations", "pool_hours"):
            expected = on_disk.scan(name, since=DAY, through=DAY).collect()
            found = on_blob.scan(name, since=DAY, through=DAY).collect()
            assert found.height > 0
            assert_frame_equal(_sorted(expected), _sorted(found))
