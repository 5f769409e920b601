"""Day files: their order, and that what is written by dictionary reads as plain columns anywhere."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import schema
from pipeline.lake import Lake, compacted_key
from pipeline.lake import day_file as dayfile
from pipeline.lake.day_file import DayFile
from pipeline.maintain.compaction import compact
from pipeline.storage.disk import Disk
from tests.days import ACCOUNT, DAY, LATER, expected, seen, store_days
from tests.service import make_service

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)


def in_order(rows: list[dict[str, Any]], table: str) -> list[tuple[tuple[bool, Any], ...]]:
    """Each row's place in a day file of its table: by its keys, what is missing last."""
    return [
        tuple((row[key] is None, row[key] or 0) for key in schema.TABLES[table].order)
        for row in rows
    ]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def day_file(lake: Lake, table: str) -> Path:
    """The file of a table and the day of these lakes."""
    return lake.root / compacted_key(table, DAY, ACCOUNT)


def test_every_table_of_a_closed_day_is_sorted_and_has_its_schema(lake: Lake) -> None:
    """By its ``order``; with the docs of its columns, the texts plain."""
    service = make_service()
    for _ in range(3):
        service.run(lake)
        service.emulator.fleet.advance(service.emulator.fleet.now + timedelta(hours=1))
    assert compact(lake, clock=lambda: service.emulator.fleet.now + timedelta(days=9)).days == 1
    tables = [table for table in schema.TABLES.values() if lake.landed(table.name)]
    assert {"nodes", "recent_tasks", "pools", "start_tasks"} <= {table.name for table in tables}
    for table in tables:
        (path,) = (lake.root / "compacted" / table.name).rglob("*.parquet")
        read = pq.read_table(path, partitioning=None)
        places = in_order(read.to_pylist(), table.name)
        assert places == sorted(places)
        assert read.schema.equals(table.schema)
        assert [field.metadata for field in read.schema] == [
            field.metadata for field in table.schema
        ]
        assert table.schema.metadata.items() <= read.schema.metadata.items()


@pytest.mark.parametrize("budget", [1, 20_000, 10**9])
def test_sightings_of_a_task_lie_together_in_any_memory(
    lake: Lake, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day read in ranges of its nodes is sorted as one read whole."""
    ids = store_days(lake, days=1, each=9)
    monkeypatch.setattr(dayfile, "ROWS_OF_A_DAY_FILE", 7)
    keys = [(lake.key("recent_tasks", id_), 8) for id_ in ids]
    parts = dayfile.sorted_rows(lake.storage, schema.RECENT_TASKS, keys, budget_bytes=budget)
    rows = pa.concat_tables(parts).select(["node_id", "task_id", "snapshot_id"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (f"n{i}", f"t{p}", id_) for i in range(4) for p in range(2) for id_ in sorted(ids)
    ]


def test_files_of_an_older_order_read_beside_new_ones(lake: Lake) -> None:
    """A committed file is never written again: a lake holds both, and every row once."""
    ids = store_days(lake, days=2)
    compact(lake, clock=lambda: LATER)
    for table in ("nodes", "recent_tasks"):
        path = day_file(lake, table)
        rows = pq.read_table(path, partitioning=None)
        pq.write_table(rows.sort_by([("snapshot_id", "ascending"), ("node_id", "ascending")]), path)
    assert seen(lake) == expected(ids)


@given(
    st.lists(
        st.tuples(
            st.lists(TEXTS | st.none(), min_size=1, max_size=5),
            st.lists(st.integers(0, 4) | st.none(), min_size=1, max_size=9),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_texts_of_any_dictionary_come_out_as_they_went_in(
    tmp_path: Path, groups: list[tuple[list[str | None], list[int | None]]]
) -> None:
    """One that holds a text twice, a null, or what no row has; another in each row group; or none."""
    columns = pa.schema([pa.field("node_id", pa.string()), pa.field("task_id", pa.string())])
    file = DayFile(Disk(tmp_path), "x.parquet", columns)
    wanted: list[str | None] = []
    for texts, found in groups:
        indices = [None if i is None else i % len(texts) for i in found]
        coded = pa.DictionaryArray.from_arrays(
            pa.array(indices, pa.int32()), pa.array(texts, "str")
        )
        plain = [None if i is None else texts[i] for i in indices]
        wanted += plain + plain
        file.write(pa.table({"node_id": coded, "task_id": coded}))
        file.write(pa.table({"node_id": pa.array(plain, pa.string()), "task_id": coded}))
    file.finish()
    path = tmp_path / "x.parquet"
    read = pq.read_table(path)
    assert read.schema.equals(columns)
    assert read.to_pydict() == {"node_id": wanted, "task_id": wanted}
    assert pl.read_parquet(path).to_dict(as_series=False) == {"node_id": wanted, "task_id": wanted}
    both = [(text, text) for text in wanted]
    with duckdb.connect() as connection:
        assert connection.execute(f"select * from '{path}'").fetchall() == both
    assert pq.read_metadata(path).num_row_groups == 2 * len(groups)
