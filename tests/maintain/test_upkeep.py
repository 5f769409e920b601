"""What stays right while a lake is kept up: missing files are named, history is rebuilt in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import query
from pipeline.lake import Lake, LakeError, Refused, SnapshotWriter
from pipeline.maintain import build_facts, compaction
from pipeline.maintain.expiry import expire
from pipeline.query import checks
from pipeline.schema import facts
from pipeline.storage import disk
from tests.days import ACCOUNT, DAY, store, store_days
from tests.lakes import MONDAY, node, put


def compact(lake: Lake, **options: Any) -> compaction.Compacted:
    """Long after everything, no grace."""
    return compaction.compact(
        lake,
        clock=lambda: MONDAY + timedelta(days=30),
        file_clock=lambda: datetime.now(UTC) + timedelta(days=3),
        grace=timedelta(0),
        history=build_facts,
        **options,
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty one."""
    return Lake(tmp_path / "lake")


@pytest.mark.parametrize("is_compacted", [False, True], ids=["landing", "compacted"])
@pytest.mark.parametrize("table", ["nodes", "recent_tasks"])
def test_a_missing_file_is_named(lake: Lake, table: str, is_compacted: bool) -> None:
    """Where the ledger has rows for it; queries of other tables go on, and the check finds it."""
    (snapshot_id,) = store_days(lake, days=1, each=1)
    if is_compacted:
        compact(lake)
    key = f"compacted/{table}/date={DAY}/{ACCOUNT}.parquet"
    path = lake.root / (key if is_compacted else lake.key(table, snapshot_id))
    path.unlink()
    with query.connect(Lake(lake.root)) as connection:
        with pytest.raises(LakeError, match="missing") as told:
            connection.table(f"select count(*) from {table}")
        assert str(path) in str(told.value)
        for other in {"snapshots", "pools", "nodes", "recent_tasks", "node_errors"} - {table}:
            assert connection.table(f"from {other}").num_rows == 8 * (other == "recent_tasks") + (
                4 * (other == "nodes") + (other in ("snapshots", "pools"))
            )
        assert connection.ask("status").num_rows > 0
        found = {each["name"]: each["rows"] for each in checks.run(connection)}
        assert found["ledger_counts"] == 1


def node_hours(lake: Lake) -> list[dict[str, Any]]:
    """Every row, and by which days history holds them."""
    with query.connect(lake) as connection:
        rows = connection.table(
            "select date, state, hours, certain_hours from node_hours order by all"
        )
        found: list[dict[str, Any]] = rows.to_pylist()
        return found


def a_week(lake: Lake, days: int = 4) -> None:
    """A node that changes its state each night, unobserved for hours."""
    for day in range(days):
        for clock, state, since in (
            ("03:00", "idle", "02:00"),
            ("12:00", "idle", "02:00"),
            ("21:00", "running", "20:00"),
        ):
            put(lake, f"{day} {clock}", {"p": [node("a", state, f"{day} {since}")]})


def test_a_query_whose_history_is_rebuilt_meanwhile_is_asked_again(lake: Lake) -> None:
    """Once: what it answers is of the lake as it is then."""
    a_week(lake)
    compact(lake)
    with query.connect(lake) as connection:
        asked: list[str] = []

        class Late:
            """A late snapshot is compacted as soon as the query has been answered."""

            def __init__(self, answer: Any) -> None:
                self.answer = answer

            def to_arrow_table(self) -> pa.Table:
                found = self.answer.to_arrow_table()
                if len(asked) == 1:
                    put(lake, "1 15:00", {"p": [node("a", "idle", "1 02:00")]})
                    compact(lake)
                return found

        plain = connection.sql

        def sql(text: str, parameters: Any = None) -> Any:
            asked.append(text)
            return Late(plain(text, parameters))

        connection.sql = sql  # type: ignore[method-assign,assignment]
        answer = connection.table("select sum(listings) as listings from pool_hours").to_pylist()
        assert answer == [{"listings": 13}]
        assert len(asked) == 2
        assert connection.table("select listings from pool_hours").num_rows == 13
        assert len(asked) == 3


def test_history_that_keeps_changing_asks_for_a_refresh(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again once, then an error; a statement that writes is not repeated."""
    a_week(lake)
    compact(lake)
    with query.connect(lake) as connection:
        monkeypatch.setattr(lake, "has_new_history", lambda *_: True)
        with pytest.raises(query.Outdated, match="refresh"):
            connection.table("from node_states")
        with pytest.raises(query.Outdated):
            connection.table("create table mine as from node_states")
        before = len(connection.duckdb.execute("from mine").fetchall())
        assert before > 0
        adding = "insert into mine from node_states limit 1 returning *"
        with pytest.raises(query.Outdated):
            connection.table(f"with added as ({adding}) from added")
        monkeypatch.undo()
        assert connection.table("from mine").num_rows == before + 1


def test_a_fact_that_is_added_later_is_made_for_days_that_were_current(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one whose SQL answers otherwise now; until then its days are answered from rows."""
    a_week(lake)
    assert compact(lake).history_days == 4
    assert compact(lake).history_days == 0
    before = node_hours(lake)
    changed = replace(facts.NODE_HOURS, version=facts.NODE_HOURS.version + 1)
    monkeypatch.setitem(facts.FACTS, "node_hours", changed)
    assert lake.view().history_days == ()
    assert node_hours(lake) == before
    assert compact(lake).history_days == 4
    assert len(lake.view().history_days) == 4
    assert node_hours(lake) == before
    assert compact(lake).history_days == 0


def test_after_an_expiry_no_history_is_made_from_fewer_rows(lake: Lake) -> None:
    """The next day's depends on rows of the day that is gone: it is final, and is not added to."""
    a_week(lake)
    compact(lake)
    compact(lake)  # sweeps
    before = node_hours(lake)
    today = MONDAY.date() + timedelta(days=10)
    assert expire(lake, today=today, compacted_days=9, history=build_facts).days == 1
    assert node_hours(lake) == before
    assert compact(lake).history_days == 0
    assert node_hours(lake) == before
    with pytest.raises(Refused, match="sealed up to 2026-11-18T12:00:00Z"):
        put(lake, "1 15:00", {"p": [node("a", "idle", "1 02:00")]})
    # one that is not a neighbour takes late snapshots, and is rebuilt
    put(lake, "3 15:00", {"p": [node("a", "idle", "3 02:00")]})
    assert compact(lake).history_days >= 1
    assert [row for row in node_hours(lake) if row["date"].day < 18] == [
        row for row in before if row["date"].day < 18
    ]


def test_a_neighbours_late_snapshot_that_slips_in_leaves_its_history_final(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer was killed before it read the seal: it is not seen, the facts say what they said."""
    a_week(lake)
    compact(lake)
    compact(lake)
    before = node_hours(lake)
    with monkeypatch.context() as patch:
        patch.setattr(SnapshotWriter, "_refuse_sealed", lambda _: None)
        late = put(lake, "1 15:00", {"p": [node("a", "idle", "1 02:00")]})
        (lake.root / lake.key("snapshots", late)).rename(lake.root / "aside")
    today = MONDAY.date() + timedelta(days=10)
    assert expire(lake, today=today, compacted_days=9, history=build_facts).days == 1
    (lake.root / "aside").rename(lake.root / lake.key("snapshots", late))
    report = compact(lake)
    assert (report.late, report.history_days) == (0, 0)
    assert node_hours(lake) == before
    assert late not in lake.view().snapshot_ids


def test_a_day_whose_neighbour_is_not_over_does_not_expire(lake: Lake) -> None:
    """The history of the next day needs its last listing."""
    a_week(lake, days=2)
    kept: dict[str, Any] = {
        "clock": lambda: MONDAY + timedelta(days=1, hours=23),
        "grace": timedelta(0),
    }
    for _ in range(2):
        compaction.compact(
            lake,
            file_clock=lambda: datetime.now(UTC) + timedelta(days=3),
            history=build_facts,
            **kept,
        )
    report = expire(
        lake, today=MONDAY.date() + timedelta(days=1), compacted_days=0, history=build_facts
    )
    assert report.days == 0
    assert ["the history of 2026-11-17 is not built yet" in why for why in report.kept] == [True]
    assert not (lake.root / "expired").exists()


@pytest.mark.parametrize(
    "folder", ["compacted", "compacted/nodes", f"compacted/snapshots/date={DAY}"]
)
def test_a_folder_behind_a_link_is_read(lake: Lake, tmp_path: Path, folder: str) -> None:
    """Old days on a larger disk; a link that leads upwards is not followed for ever."""
    ids = store_days(lake)
    compact(lake)
    compact(lake)
    moved = tmp_path / "elsewhere"
    (lake.root / folder).rename(moved)
    (lake.root / folder).symlink_to(moved)
    for table in ("nodes", "snapshots"):
        (lake.root / "compacted" / table / "up").symlink_to(lake.root / "compacted")
    view = Lake(lake.root).view()
    assert sorted(ids) == [*view.snapshot_ids]
    assert not lake.has_lost(view)
    with query.connect(Lake(lake.root)) as connection:
        assert connection.table("from nodes").num_rows == 4 * len(ids)


def test_a_sweep_leaves_no_empty_directories(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of landing; and a writer whose directory is removed before its first file makes it again."""
    store_days(lake)
    compact(lake)
    assert compact(lake).swept + len([*(lake.root / "landing").rglob("date=*")]) == 0
    removed: list[Path] = []
    plain = disk.make_directories

    def vanishing(path: Path) -> None:
        plain(path)
        if path.name.startswith("date=") and len(removed) < 3:
            path.rmdir()
            removed.append(path)

    monkeypatch.setattr(disk, "make_directories", vanishing)
    id_ = store(lake)
    assert len(removed) == 3
    assert id_ in lake.view().snapshot_ids


def test_a_fact_that_is_made_from_a_missing_file_says_so(lake: Lake) -> None:
    """Of a day that history does not hold; where it does, the fact is answered without the file."""
    a_week(lake)
    compact(lake)
    gone = lake.root / f"compacted/nodes/date={MONDAY.date()}/acc.parquet"
    gone.rename(lake.root / "aside")
    assert len(node_hours(lake)) > 0
    (lake.root / f"history/manifests/date={MONDAY.date()}/acc.json").unlink()
    with pytest.raises(LakeError, match="the file is missing"):
        node_hours(lake)


def test_history_is_not_rebuilt_from_less(lake: Lake) -> None:
    """A late snapshot comes while the day before lacks a file: that day waits, and says for what."""
    a_week(lake)
    compact(lake)
    gone = lake.root / f"compacted/nodes/date={MONDAY.date()}/acc.parquet"
    gone.rename(lake.root / "aside")
    put(lake, "1 15:00", {"p": [node("a", "idle", "1 02:00")]})
    report = compact(lake)
    assert (report.late, report.history_days, report.exit_code) == (1, 0, 3)
    assert [f"2026-11-17: {gone}: the file is missing" in why for why in report.open_days] == [True]
    (lake.root / "aside").rename(gone)
    with_rows = node_hours(lake)
    assert compact(lake).history_days == 1
    assert node_hours(lake) == with_rows


def test_a_history_file_that_is_missing_is_made_again(lake: Lake) -> None:
    """Until then its day is answered from rows."""
    a_week(lake)
    compact(lake)
    before = node_hours(lake)
    (lake.root / f"history/node_hours/date={MONDAY.date()}/acc.parquet").unlink()
    assert node_hours(lake) == before
    assert compact(lake).history_days == 1
    assert len(lake.view().history_days) == 4
    assert node_hours(lake) == before


def test_a_fact_asked_for_after_its_files_went_is_outdated(lake: Lake) -> None:
    """Its views are made when it is first named: a connection may be older than the grace by then."""
    a_week(lake)
    with query.connect(lake) as connection:
        compact(lake)
        compact(lake)  # sweeps
        with pytest.raises(query.Outdated):
            connection.table("from node_states")
        connection.refresh()
        assert connection.table("from node_states").num_rows > 0


def test_a_day_that_depends_on_an_expired_one_is_never_answered_from_rows(lake: Lake) -> None:
    """Not for a late snapshot of the day after it either: its window would have lost its rows."""
    a_week(lake)
    compact(lake)
    compact(lake)
    before = node_hours(lake)
    expire(lake, today=MONDAY.date() + timedelta(days=10), compacted_days=9, history=build_facts)
    assert lake.view().final_days == (("acc", MONDAY.date() + timedelta(days=1)),)
    with pytest.raises(Refused):  # its window reaches there
        put(lake, "2 00:30", {"p": [node("a", "idle", "1 02:00")]})
    put(lake, "2 15:30", {"p": [node("a", "idle", "1 02:00")]})
    assert [row for row in node_hours(lake) if row["date"].day < 18] == [
        row for row in before if row["date"].day < 18
    ]


@pytest.mark.parametrize(
    ("asked", "is_refused"),
    [
        ("from snapshots, nodes", True),
        ("from snapshots as s\njoin nodes on true", True),
        ("from snapshots s, main.nodes n where true", True),
        ('select count(*) from "nodes"', True),
        ("select count(*) from (from nodes)", True),
        ("select (select count(*) from nodes), account from pools", True),
        ("summarize nodes", True),
        ("select date, nodes from pool_hours", False),
        ("select account, pool_id as nodes from pools -- not from nodes", False),
    ],
)
def test_a_missing_file_is_named_however_its_table_is(
    lake: Lake, asked: str, is_refused: bool
) -> None:
    """And not where only a column has its name."""
    a_week(lake, days=1)
    compact(lake)
    (lake.root / f"compacted/nodes/date={MONDAY.date()}/acc.parquet").unlink()
    with query.connect(lake) as connection:
        if is_refused:
            with pytest.raises(LakeError, match="the file is missing"):
                connection.table(asked)
        else:
            assert connection.table(asked).num_rows > 0
