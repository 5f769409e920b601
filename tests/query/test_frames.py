"""``Connection.scan``: polars answers as DuckDB does, from the same files, and skips what it can."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from pipeline import cli, config, maintain, snapshot
from pipeline.emulator import Emulator, Fleet, load_fleet_config
from pipeline.extract import BatchClient
from pipeline.lake import Lake
from pipeline.maintain import build_facts
from pipeline.query import Connection, connect
from pipeline.query.frames import DAILY, NAMES
from pipeline.storage import LakeError
from tests import days
from tests.azurite import copied
from tests.conftest import PROJECT

FIRST_DAY = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo's lake, compacted, and the first hours of the next day in landing."""
    made = tmp_path_factory.mktemp("frames") / "lake"
    day = f"{FIRST_DAY:%Y-%m-%d}"
    assert cli.run(["demo", "--snapshots", "24", "--day", day, "--lake", str(made)]) == 0
    next_day = FIRST_DAY + timedelta(days=1)
    fleet = Fleet(load_fleet_config(None), seed=7, start=next_day)
    with Emulator(fleet, account="demo").serve() as server:
        settings = config.load(None, server.settings, lake=str(made))
        (account,) = settings.require_accounts()
        for hour in range(4):
            fleet.advance(next_day + timedelta(hours=hour))
            with BatchClient(account, local_now=lambda: fleet.now) as client:
                snapshot.run(account, Lake(made), client, clock=lambda: fleet.now)
    return made


@pytest.fixture(scope="module")
def on_disk(folder: Path) -> Iterator[Connection]:
    """A connection to it."""
    with connect(folder) as connection:
        yield connection


@pytest.fixture(scope="module")
def on_blob(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The same lake, copied to Azurite."""
    with copied(folder, tmp_path_factory.mktemp("azurite")) as lake, connect(lake) as connection:
        yield connection


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    flat = [name for name, kind in frame.schema.items() if not kind.is_nested()]
    return frame.sort(flat, nulls_last=True, maintain_order=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["on_disk", pytest.param("on_blob", marks=pytest.mark.ci)])
def test_a_frame_has_the_rows_that_duckdb_answers(
    where: str, name: str, request: pytest.FixtureRequest
) -> None:
    """Every table, fact and view, over a day that history covers and one that it does not."""
    lake: Connection = request.getfixturevalue(where)
    frame = lake.scan(name)
    assert isinstance(frame, pl.LazyFrame)
    expected = lake.sql(f"from {name}").pl()
    assert frame.collect_schema() == expected.schema
    assert_frame_equal(_sorted(expected), _sorted(frame.collect()))


def test_the_lake_of_these_tests_has_what_they_are_about(on_disk: Connection) -> None:
    """A fact comes from history for one day and from rows for the next one."""
    per_day = on_disk.scan("node_hours").group_by("date").agg(pl.col("hours").sum()).collect()
    assert {date(2026, 11, 21), date(2026, 11, 22)} == set(per_day["date"])
    assert [date(2026, 11, 21)] == [day for _, day in on_disk.view.history_days]
    for name in ("nodes", "start_tasks", "recent_tasks", "node_errors", "node_states", "task_runs"):
        assert on_disk.scan(name).select(pl.len()).collect().item() > 10


@pytest.mark.parametrize("where", ["on_disk", "on_blob"])
def test_predicates_and_columns_give_what_sql_gives(
    where: str, request: pytest.FixtureRequest
) -> None:
    """Of a table, of a fact by day, and of a fact that is merged over days."""
    lake: Connection = request.getfixturevalue(where)
    second = date(2026, 11, 22)
    for name in ("nodes", "node_hours", "node_states"):
        frame = lake.scan(name).filter(pl.col("state") == "idle", pl.col("pool_id") != "x")
        query = f"select pool_id, count(*) as n from {name} where state = 'idle'"
        if name != "node_states":
            frame = frame.filter(pl.col("date") == second)
            query += f" and date = date '{second}'"
        found = frame.group_by("pool_id").agg(n=pl.len().cast(pl.Int64)).sort("pool_id").collect()
        expected = lake.sql(f"{query} group by pool_id order by pool_id").pl()
        assert expected.height > 0
        assert_frame_equal(expected, found)


def _month(lake: Lake) -> None:
    for number in range(30):
        days.store(lake, days.NOON + timedelta(days=number), is_listed=True)
    after = days.NOON + timedelta(days=40)
    maintain.compact(lake, clock=lambda: after, grace=timedelta(), history=build_facts)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of thirty days, compacted."""
    folder = tmp_path_factory.mktemp("month") / "lake"
    _month(Lake(folder))
    return folder


DAY = (days.NOON + timedelta(days=11)).date()
#: What has files by day: tables that this lake has rows of, the facts' days, and facts that add up.
BY_DAY = ("nodes", "pools", "recent_tasks", "snapshots", *DAILY, "node_hours", "task_outcomes")


@pytest.mark.parametrize("name", BY_DAY)
def test_one_day_of_thirty_reads_two_files_at_most(name: str, month: Path) -> None:
    """Every file of every other day is garbage once the frame is made: reading one is an error.

    DuckDB, from which facts come, takes the columns from the first file of a fact.
    """
    with connect(month) as lake:
        expected = lake.sql(f"from {name} where date = date '{DAY}'").pl()
        frame = lake.scan(name)
        first = min(month.rglob(f"history/{name.removeprefix('daily_')}/*/*.parquet"), default=None)
        others = [
            file
            for file in month.rglob("*.parquet")
            if file.parent.name != f"date={DAY}" and file != first
        ]
        assert len(others) > 29 * 15
        kept = {file: file.read_bytes() for file in others}
        for file in others:
            file.write_bytes(b"PAR1 of another world")
        try:
            found = frame.filter(pl.col("date") == DAY).collect()
            with pytest.raises((pl.exceptions.ComputeError, duckdb.Error, OSError)):
                frame.collect()
        finally:
            for file, data in kept.items():
                file.write_bytes(data)
    assert_frame_equal(_sorted(expected), _sorted(found))
    if name in ("nodes", "node_hours", "daily_node_states", "daily_node_incarnations"):
        assert found.height > 0


def test_a_day_without_history_is_made_from_the_files_around_it_alone(tmp_path: Path) -> None:
    """Of a record that history covers but for its last day, no node row of an older day is read."""
    lake = Lake(tmp_path / "lake")
    _month(lake)
    last = days.NOON + timedelta(days=30)
    for hour in range(3):
        days.store(lake, last + timedelta(hours=hour), is_listed=True)
    with connect(lake) as connection:
        expected = connection.sql("from daily_node_states").pl()
        for file in (tmp_path / "lake" / "compacted" / "nodes").rglob("*.parquet"):
            # DuckDB takes the columns from the first file of all
            if f"date={days.DAY}" < file.parent.name < f"date={(last - timedelta(days=6)).date()}":
                file.write_bytes(b"PAR1 of another world")
        assert_frame_equal(
            _sorted(expected), _sorted(connection.scan("daily_node_states").collect())
        )
        assert last.date() in set(expected["date"])


@pytest.mark.ci
def test_one_day_of_thirty_asks_blob_for_that_day_alone(tmp_path: Path, month: Path) -> None:
    """The other days' blobs but the first are deleted once the lake was opened."""
    with copied(month, tmp_path / "azurite") as lake, connect(lake) as connection:
        for name, zone in (
            ("nodes", "compacted/nodes"),
            ("daily_node_states", "history/node_states"),
        ):
            expected = connection.sql(f"from {name} where date = date '{DAY}'").pl()
            frame = connection.scan(name)
            _, *others = sorted(lake.storage.list(zone), key=lambda entry: entry.key)
            for entry in others:
                if f"date={DAY}" not in entry.key:
                    lake.storage.delete(entry)
            found = frame.filter(pl.col("date") == DAY).collect()
            assert found.height > 0
            assert_frame_equal(_sorted(expected), _sorted(found))
            with pytest.raises((OSError, duckdb.Error), match=r"nodes|node_states"):
                frame.collect()


def test_row_groups_that_cannot_match_are_not_read(tmp_path: Path) -> None:
    """The bytes of every other row group are zeros: decoding one of them is an error."""
    lake = Lake(tmp_path / "lake")
    days.store(lake, nodes=4)
    with connect(lake) as connection:
        frame = connection.scan("nodes")
        (file,) = map(Path, connection.view.files["nodes"])
        rows = pq.ParquetFile(file).read()
        ids = pa.array([f"n{number:05}" for number in range(4000)])
        many = pa.concat_tables([rows.slice(0, 1)] * 4000)
        many = many.set_column(many.schema.get_field_index("node_id"), "node_id", ids)
        pq.write_table(many, file, row_group_size=1000)
        groups = pq.ParquetFile(file).metadata
        data = bytearray(file.read_bytes())
        for number in (0, 1, 3):
            for place in range(groups.num_columns):
                column = groups.row_group(number).column(place)
                start = column.dictionary_page_offset or column.data_page_offset
                end = start + column.total_compressed_size
                data[start:end] = bytes(end - start)
        file.write_bytes(data)
        found = frame.filter(pl.col("node_id").is_between(pl.lit("n02100"), pl.lit("n02102")))
        assert ["n02100", "n02101", "n02102"] == found.collect()["node_id"].to_list()
        with pytest.raises(pl.exceptions.ComputeError):
            frame.collect()


def test_a_lake_below_a_folder_like_a_column_is_read_too(tmp_path: Path) -> None:
    """env=prod, and even account=x, are no columns of the rows."""
    days.store(Lake(tmp_path / "account=x" / "lake"))
    with connect(tmp_path / "account=x" / "lake") as lake:
        assert_frame_equal(lake.sql("from nodes").pl(), lake.scan("nodes").collect())
        assert {days.ACCOUNT} == set(lake.scan("nodes").collect()["account"])


def test_an_empty_lake_has_typed_frames(tmp_path: Path) -> None:
    """Without rows, with the columns of every table and fact."""
    with connect(tmp_path / "none") as lake:
        for name in NAMES:
            frame = lake.scan(name).collect()
            assert frame.height == 0
            assert frame.schema == lake.sql(f"from {name}").pl().schema


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """An unknown name, with the nearest; a file that the ledger has rows for, by its name."""
    days.store(Lake(tmp_path))
    with connect(tmp_path) as lake:
        with pytest.raises(
            LakeError, match="no table, fact or view 'node_stats'; near: node_states"
        ):
            lake.scan("node_stats")
        with pytest.raises(LakeError, match="no table, fact or view"):
            lake.scan("nodes; drop table prices")
    next((tmp_path / "landing" / "nodes").rglob("*.parquet")).unlink()
    with connect(tmp_path) as lake, pytest.raises(LakeError, match="the file is missing"):
        lake.scan("nodes")


def test_polars_stays_out_of_commands_that_need_it_not(tmp_path: Path) -> None:
    """Asking, describing and connecting import no polars: it takes longer than they do."""
    code = (
        "import sys; from pipeline import cli; cli.run(sys.argv[1:]); "
        "print('polars' in sys.modules, file=sys.stderr)"
    )
    days.store(Lake(tmp_path), is_listed=True)
    of = ["--lake", str(tmp_path)]
    for given in (
        ["ask", "coverage", *of],
        ["node", "p", "n1", *of],
        ["heatmap", *of],
        ["questions"],
        ["schema"],
        ["--help"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *given], capture_output=True, text=True, cwd=PROJECT
        )
        assert done.stderr.splitlines()[-1:] == ["False"], (given, done.stderr)
