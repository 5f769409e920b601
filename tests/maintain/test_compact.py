"""Compaction: closed days, late files, history, sweeping and expiry; the answers never change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import query, schema
from pipeline.lake import Changed, Lake, Refused, SnapshotWriter, compacted_key, new_snapshot_id
from pipeline.lake import day_file as dayfile
from pipeline.maintain import build_facts, compaction
from pipeline.maintain.compaction import closes_at
from pipeline.maintain.expiry import expire
from tests.days import ACCOUNT, DAY, LATER, NOON, NoFacts, expected, seen, store, store_days, table

"""A clock by which every file is old."""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def compact(lake: Lake, **parameters: Any) -> compaction.Compacted:
    """A compaction long after the days of these lakes; nothing is past the grace."""
    return compaction.compact(lake, **({"clock": lambda: LATER, "history": NoFacts()} | parameters))


def files(lake: Lake, zone: str) -> list[str]:
    """The files below a folder of the lake, sorted."""
    root = lake.root / zone
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


class Facts:
    """A history of one fact: the snapshots of the day and of its neighbours."""

    FACTS = ("seen_around",)

    def __init__(self) -> None:
        self.built: list[date] = []

    def windows(self, connection: query.Connection, account: str) -> dict[date, set[str]]:
        """The day before, the day, the day after."""
        rows = connection.table(
            "select snapshot_id, date from snapshots where account = $account", {"account": account}
        ).to_pylist()
        return {
            each["date"]: {
                row["snapshot_id"] for row in rows if abs((row["date"] - each["date"]).days) <= 1
            }
            for each in rows
        }

    def build_day(
        self, connection: query.Connection, account: str, day: date
    ) -> Iterator[tuple[str, pa.Table]]:
        """The ids of three days."""
        self.built.append(day)
        yield (
            "seen_around",
            connection.table(
                "select snapshot_id from snapshots where account = $account "
                "and date between cast($day as date) - 1 and cast($day as date) + 1 order by 1",
                {"account": account, "day": str(day)},
            ),
        )


def test_a_closed_day_is_one_file_a_table(lake: Lake) -> None:
    """Compacted files lie where the contract says; a table without rows has none."""
    ids = store_days(lake, days=2)
    report = compact(lake)
    assert (report.days, report.late, report.snapshots) == (2, 0, 6)
    assert report.exit_code == 0
    assert files(lake, "compacted") == sorted(
        f"{name}/date={day}/{ACCOUNT}.parquet"
        for name in ("nodes", "pools", "recent_tasks", "snapshots")
        for day in ("2026-11-18", "2026-11-19")
    )
    assert seen(lake) == expected(ids)
    view = lake.view()
    assert not any("/landing/" in file for found in view.files.values() for file in found)
    assert set(view.compacted) == {(ACCOUNT, DAY), (ACCOUNT, DAY + timedelta(days=1))}


def test_a_day_file_is_sorted_and_has_the_schema(lake: Lake) -> None:
    """By pool, node and time; with each column's doc; private to its owner."""
    store_days(lake, days=1)
    compact(lake)
    path = lake.root / "compacted/nodes/date=2026-11-18" / f"{ACCOUNT}.parquet"
    read = pq.read_table(path, partitioning=None)
    assert read.schema.equals(schema.NODES.schema, check_metadata=True)
    keys = [(r["pool_id"], r["node_id"], r["observed_at"]) for r in read.to_pylist()]
    assert keys == sorted(keys)
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_value_survives_compaction(lake: Lake) -> None:
    """All columns of all tables, lists and nulls included, come out as they went in."""
    from tests.service import make_service

    service = make_service()
    for _ in range(2):
        service.run(lake)
        service.emulator.fleet.advance(service.emulator.fleet.now + timedelta(hours=2))
    names = [name.name for name in schema.TABLES.values()]

    def everything() -> dict[str, list[str]]:
        with query.connect(lake) as connection:
            return {
                name: sorted(map(str, connection.table(f"from {name}").to_pylist()))
                for name in names
            }

    before = everything()
    assert before["nodes"]
    assert compact(lake).days == 1
    assert everything() == before


@pytest.mark.parametrize("budget", [1, 20_000, 10**9])
def test_a_day_is_sorted_the_same_in_any_memory(
    lake: Lake, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day that does not fit is read in ranges of its nodes: no row lost, none twice."""
    ids = store_days(lake, days=1, each=20)
    monkeypatch.setattr(dayfile, "ROWS_OF_A_DAY_FILE", 7)
    keys = [(lake.key("nodes", id_), 4) for id_ in ids]
    parts = [*dayfile.sorted_rows(lake.storage, schema.NODES, keys, budget_bytes=budget)]
    rows = pa.concat_tables(parts).select(["node_id", "snapshot_id"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == sorted(
        (f"n{i}", id_) for id_ in ids for i in range(4)
    )


def test_rows_without_a_key_are_kept(lake: Lake) -> None:
    """A missing key sorts somewhere; it is no reason to lose a row."""
    snapshot_id = new_snapshot_id(NOON)
    with lake.writer(snapshot_id, ACCOUNT) as writer:
        writer.write(
            {"nodes": table("nodes", [{"pool_id": "p", "node_id": x} for x in ("b", None, "a")])}
        )
        for file in writer._files.values():
            file.finish()
    for budget in (1, 10**9):
        key = lake.key("nodes", snapshot_id)
        parts = dayfile.sorted_rows(lake.storage, schema.NODES, [(key, 3)], budget_bytes=budget)
        assert {"a", "b", None} == {row["node_id"] for part in parts for row in part.to_pylist()}


@pytest.mark.parametrize(("minutes", "days"), [(18, 0), (19, 1)])
def test_a_day_closes_nineteen_minutes_after_midnight(lake: Lake, minutes: int, days: int) -> None:
    """Midnight UTC, the default deadline of 240 s, and 15 minutes."""
    store(lake)
    midnight = datetime.combine(DAY + timedelta(days=1), time(), UTC)
    assert compact(lake, clock=lambda: midnight + timedelta(minutes=minutes)).days == days
    assert closes_at(DAY) == midnight + timedelta(minutes=19)


def test_through_leaves_later_days_open(lake: Lake) -> None:
    """--through names the last day that may be closed."""
    store_days(lake, days=3)
    assert compact(lake, through=DAY + timedelta(days=1)).days == 2


def test_repeating_a_compaction_changes_nothing(lake: Lake) -> None:
    """The second one has nothing to do and writes no file anew."""
    store_days(lake)
    compact(lake)
    before = {path: path.stat().st_mtime_ns for path in lake.root.rglob("*.parquet")}
    report = compact(lake)
    assert (report.days, report.late, report.rows, report.swept) == (0, 0, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in lake.root.rglob("*.parquet")} == before


def test_a_late_snapshot_gets_a_file_of_its_own(lake: Lake) -> None:
    """What came after its day was closed is compacted beside it, and the day file stays as it is."""
    ids = store_days(lake, days=1)
    compact(lake)
    late = store(lake, NOON)
    assert seen(lake) == expected([*ids, late])
    assert lake.view().compacted == {(ACCOUNT, DAY): tuple(sorted([*ids, late]))}
    report = compact(lake)
    assert (report.days, report.late) == (0, 1)
    assert f"nodes/date=2026-11-18/{ACCOUNT}-late-{late}.parquet" in files(lake, "compacted")
    assert seen(lake) == expected([*ids, late])


def test_accounts_are_compacted_apart(lake: Lake) -> None:
    """One account's lock or trouble is not another's."""
    mine, others = store_days(lake), store_days(lake, account="b")
    with lake.lock("compaction", ACCOUNT):
        report = compact(lake)
    assert (report.days, report.locked, report.exit_code) == (2, [ACCOUNT], 3)
    both = sorted(expected(mine) + expected(others, "b"))
    assert sorted(seen(lake)) == both
    assert compact(lake).days == 2
    assert sorted(seen(lake)) == both
    with lake.lock("compaction", ACCOUNT), lake.lock("compaction", "b"):
        assert compact(lake).exit_code == 4


def test_landing_is_swept_past_the_grace_only(lake: Lake) -> None:
    """Readers that opened the lake before the day was closed still have their files for an hour."""
    ids = store_days(lake)
    assert compact(lake).swept == 0
    assert compact(lake, grace=timedelta(0)).swept == 6
    assert files(lake, "landing") == []
    assert seen(lake) == expected(ids)


def test_importing_what_was_swept_finds_it_there(lake: Lake) -> None:
    """A snapshot is committed wherever it lies."""
    ids = store_days(lake)
    compact(lake, grace=timedelta(0))
    assert all(lake.is_committed(id_) for id_ in ids)
    assert not lake.is_committed(new_snapshot_id(NOON))


def test_orphans_go_a_day_after_they_were_written(lake: Lake) -> None:
    """Data no one committed, and staging files, are somebody's work for a day."""
    ids = store_days(lake)
    lake.path("snapshots", ids[0]).unlink()
    staging = lake.path("nodes", ids[1]).with_name(f".{ids[1]}.parquet.1-ab.staging")
    staging.touch()
    torn = lake.root / "compacted/nodes/date=2026-11-01" / f"{ACCOUNT}.parquet"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(lake.path("nodes", ids[0]).read_bytes())
    assert compact(lake).orphans == 0
    assert staging.exists()
    tomorrow = datetime.now(UTC) + timedelta(days=1, minutes=1)
    report = compact(lake, file_clock=lambda: tomorrow, grace=timedelta(days=9))
    assert report.orphans == 5  # three tables of the snapshot, the staging file, the torn day
    assert not staging.exists()
    assert not torn.exists()
    assert seen(lake) == expected(ids[1:])


def damage(path: Path, how: str) -> None:
    """Truncates, empties or removes a file."""
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:200] if how == "truncated" else b"")


@pytest.mark.parametrize("how", ["truncated", "empty", "missing"])
@pytest.mark.parametrize("what", ["nodes", "snapshots"])
def test_a_day_with_a_damaged_file_stays_open_and_is_named(lake: Lake, what: str, how: str) -> None:
    """Other days go on; the exit code is 3; once the file is back, the day closes."""
    ids = sorted(store_days(lake, days=2))
    path = lake.path(what, ids[0])
    good = path.read_bytes()
    damage(path, how)
    report = compact(lake, history=build_facts)
    if (what, how) == ("snapshots", "missing"):
        assert (report.days, report.exit_code) == (2, 0)  # it was never committed
        return
    assert (report.days, report.exit_code) == (1, 3)
    told = report.open_days[0]
    assert "2026-11-18" in told
    assert str(path) in told
    path.write_bytes(good)
    report = compact(lake, history=build_facts)
    assert (report.days, report.exit_code) == (1, 0)
    assert len(lake.view().history_days) == 2
    assert seen(lake) == expected(ids)


def test_a_day_whose_rows_differ_from_the_ledger_stays_open(lake: Lake) -> None:
    """A file with other rows than were committed is not taken for the truth."""
    ids = sorted(store_days(lake, days=2))
    path = lake.path("nodes", ids[0])
    pq.write_table(pq.read_table(path, partitioning=None).slice(1), path)
    report = compact(lake)
    assert report.open_days == [
        f"2026-11-18 of {ACCOUNT}: {path}: the ledger says 4 rows, the file has 3: restore it from a "
        "backup"
    ]
    assert (report.days, report.exit_code) == (1, 3)


def test_a_day_file_that_would_lack_a_row_is_not_written(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lost it on the way: the rows written are counted against the ledger's."""
    ids = store_days(lake, days=1, each=2)
    whole = compaction.sorted_rows
    monkeypatch.setattr(
        compaction,
        "sorted_rows",
        lambda *given: (rows.slice(1) for rows in whole(*given)),
    )
    (why,) = compact(lake).open_days
    assert "rows of" in why
    assert seen(Lake(lake.root)) == expected(ids)
    assert files(lake, "compacted") == []


def test_a_lock_lost_at_the_last_moment_commits_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the look at a day's files, while the ledger's file that commits them is written."""
    ids = store_days(lake, days=1, each=2)

    def look(_: object) -> None:
        if files(lake, "compacted/snapshots"):
            raise Changed("the lease was lost: run the command again")

    monkeypatch.setattr("pipeline.storage.disk._FileLock.check", look)
    with pytest.raises(Changed):
        compact(lake)
    assert files(lake, "compacted/snapshots") == []
    assert seen(Lake(lake.root)) == expected(ids)


def test_a_file_that_a_rival_put_beneath_is_not_committed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that took the lock from us may have written it: the day stays in landing, seen whole."""
    ids = store_days(lake, days=1, each=2)
    written = lake.root / compacted_key("nodes", DAY, ACCOUNT)

    def replaced(_: object) -> None:
        if written.exists():
            rival = written.with_name("rival")
            rival.write_bytes(written.read_bytes())
            rival.replace(written)

    monkeypatch.setattr("pipeline.storage.disk._FileLock.check", replaced)
    with pytest.raises(Changed, match="another run has written it"):
        compact(lake)
    assert seen(Lake(lake.root)) == expected(ids)
    assert files(lake, "compacted/snapshots") == []


def test_a_clock_that_jumps_back_closes_nothing_and_breaks_nothing(lake: Lake) -> None:
    """What was closed stays closed, what is not over by the clock stays open; files are not old."""
    ids = store_days(lake)
    compact(lake, clock=lambda: closes_at(DAY))
    back = NOON - timedelta(days=30)
    report = compact(lake, clock=lambda: back, file_clock=lambda: back, grace=timedelta(0))
    assert (report.days, report.swept, report.orphans) == (0, 0, 0)
    late = store(lake, NOON - timedelta(minutes=1))  # by a clock that jumped back
    assert seen(lake) == expected([*ids, late])
    assert compact(lake).late == 1
    assert seen(lake) == expected([*ids, late])


def test_a_lake_of_an_older_schema_still_reads(lake: Lake) -> None:
    """A file without a column of today reads as null there, before and after compaction."""
    ids = sorted(store_days(lake, days=1))
    for id_ in ids[:2]:
        path = lake.path("nodes", id_)
        old = pq.read_table(path, partitioning=None)
        pq.write_table(old.drop_columns(["ipv6_address", "running_task_slots_count"]), path)
        path = lake.path("snapshots", id_)
        old = pq.read_table(path, partitioning=None)
        pq.write_table(old.drop_columns(["pool_usage_rows"]), path)
        for each in ("nodes", "snapshots"):
            os.utime(lake.path(each, id_), (1, 1))
    assert lake.view().older == {"nodes", "snapshots"}
    for _ in range(2):
        assert seen(lake) == expected(ids)
        with query.connect(lake) as connection:
            row = connection.table(
                "select count(*) as n, count(ipv6_address) as known from nodes"
            ).to_pylist()
            assert row == [{"n": 12, "known": 0}]
        compact(lake)


def history_rows(lake: Lake) -> dict[str, list[str]]:
    """What the history files hold, by day."""
    found = {}
    for path in sorted((lake.root / "history/seen_around").rglob("*.parquet")):
        column = pq.read_table(path, partitioning=None)["snapshot_id"]
        found[path.parent.name] = column.to_pylist()
    return found


def test_history_is_made_once_and_again_when_its_snapshots_change(lake: Lake) -> None:
    """A late snapshot makes the history of its day and its neighbours anew, and of no other."""
    ids = sorted(store_days(lake, days=5))
    facts = Facts()
    assert compact(lake, history=facts).history_days == 5
    days = sorted(set(facts.built))
    assert lake.view().history_days == tuple((ACCOUNT, day) for day in days)
    assert len(lake.view().history["seen_around"]) == 5
    assert compact(lake, history=facts).history_days == 0
    late = store(lake, NOON)
    assert (ACCOUNT, DAY) not in lake.view().history_days
    assert len(lake.view().history["seen_around"]) == 4
    facts.built.clear()
    assert compact(lake, history=facts).history_days == 2
    assert facts.built == days[:2]
    around = sorted([*ids[:6], late])
    assert history_rows(lake)["date=2026-11-18"] == around
    assert len(lake.view().history_days) == 5


def test_history_may_change_under_no_reader(lake: Lake) -> None:
    """A fact without rows any more leaves no file; its day is covered all the same."""
    store_days(lake, days=1)
    facts = Facts()
    compact(lake, history=facts)
    store(lake, NOON)

    class Nothing(Facts):
        def build_day(self, *arguments: Any) -> Iterator[tuple[str, pa.Table]]:
            yield from ()

    compact(lake, history=Nothing())
    assert files(lake, "history") == [f"manifests/date=2026-11-18/{ACCOUNT}.json"]
    assert lake.view().history_days == ((ACCOUNT, DAY),)


def test_expiry_keeps_history_and_gives_up_rows(lake: Lake) -> None:
    """The watermark stays for ever, rows are gone, the day's history is final, imports are refused."""
    ids = sorted(store_days(lake, days=3))
    compact(lake, history=Facts(), grace=timedelta(0))
    today = DAY + timedelta(days=11)
    report = expire(lake, today=today, compacted_days=10, history=Facts())
    assert (report.days, report.kept) == (1, [])
    assert seen(lake) == expected(ids[3:])
    assert files(lake, "expired") == [ACCOUNT]
    assert not any("date=2026-11-18" in file for file in files(lake, "compacted"))
    assert (ACCOUNT, DAY) in lake.view().history_days
    with pytest.raises(Refused, match="sealed up to 2026-11-18T23:59:59Z"):
        store(lake, NOON)
    assert expire(lake, today=today, compacted_days=10, history=Facts()).days == 0
    report = expire(lake, today=today, history_days=10)
    assert report.history_days == 1
    assert [day for _, day in lake.view().history_days] == [
        DAY + timedelta(days=1),
        DAY + timedelta(days=2),
    ]


def test_expiry_waits_for_the_sweep_and_for_history(lake: Lake) -> None:
    """A day whose landing files are there, or whose rows a neighbour's history needs, is kept."""
    store_days(lake, days=2)
    compact(lake)
    far = DAY + timedelta(days=100)
    report = expire(lake, today=far, compacted_days=1, history=Facts())
    assert (report.days, report.exit_code) == (0, 3)
    assert "the history of 2026-11-18 is not built yet" in report.kept[0]
    compact(lake, history=Facts())
    report = expire(lake, today=far, compacted_days=1, history=Facts())
    assert (report.days, report.exit_code) == (0, 3)
    assert "is in landing: compact first" in report.kept[0]
    assert files(lake, "expired") == []
    compact(lake, history=Facts(), grace=timedelta(0))
    assert expire(lake, today=far, compacted_days=1, history=Facts()).days == 2
    assert seen(lake) == []


def test_a_late_snapshot_that_is_not_compacted_yet_keeps_its_day(lake: Lake) -> None:
    """Expiry gives up nothing that was committed and not closed."""
    store_days(lake, days=1)
    compact(lake, grace=timedelta(0), history=Facts())
    late = store(lake, NOON)
    far = DAY + timedelta(days=100)
    assert expire(lake, today=far, compacted_days=1, history=Facts()).days == 0
    compact(lake, history=Facts())
    (kept,) = expire(lake, today=far, compacted_days=1, history=Facts()).kept
    assert f"{late} is in landing" in kept


def test_an_import_that_slipped_into_an_expired_day_is_not_seen(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer was killed before it could withdraw: readers pass it over, a sweep deletes it."""
    store_days(lake, days=1)
    compact(lake, grace=timedelta(0), history=Facts())
    far = DAY + timedelta(days=100)
    assert expire(lake, today=far, compacted_days=1, history=Facts()).days == 1
    with monkeypatch.context() as patch:
        patch.setattr(SnapshotWriter, "_refuse_sealed", lambda _: None)
        store(lake, NOON)
    assert seen(lake) == []
    report = compact(lake)
    assert (report.days, report.late, report.snapshots) == (0, 0, 0)  # nor is it written once more
    assert files(lake, "landing") != []
    compact(lake, file_clock=lambda: datetime.now(UTC) + timedelta(days=2))
    assert files(lake, "landing") == files(lake, "compacted") == []


def test_a_reader_whose_files_are_gone_is_asked_to_refresh(lake: Lake) -> None:
    """Past the grace an old connection's files are swept: a clear error, and a refresh helps."""
    ids = store_days(lake)
    with query.connect(lake) as connection:
        compact(lake, grace=timedelta(0))
        with pytest.raises(query.Outdated, match=r"refresh\(\)"):
            connection.table("select count(*) from nodes")
        connection.refresh()
        assert connection.table("from snapshots").num_rows == len(ids)
