"""The made-up year against the real path: same truth, same facts, row by row."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import query
from pipeline.lake import Lake, compacted_key, date_of
from pipeline.maintain import build_facts
from pipeline.schema import facts
from tests.bench.year import make
from tests.bench.year_truth import Shape

SHAPE = Shape(nodes=48, pools=4, days=3, kept=3, polls=72, changes=20)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Three days of a small fleet, facts and rows."""
    return make(tmp_path_factory.mktemp("year"), SHAPE)


def rows(table: pa.Table) -> Counter[tuple[Any, ...]]:
    """Rows as a bag; hours to a millionth, as sums of parts may differ in the last digit."""
    columns = []
    for column in table.columns:
        values = column.to_pylist()
        if pa.types.is_floating(column.type):
            values = [value if value is None else round(value, 6) for value in values]
        columns.append(values)
    return Counter(zip(*columns, strict=True))


@pytest.mark.parametrize("day", range(SHAPE.days))
def test_facts_are_those_the_real_path_makes_of_the_same_rows(
    lake: Lake, tmp_path: Path, day: int
) -> None:
    """A day's facts, written directly, are those made from its rows and its neighbours'."""
    shutil.copytree(lake.root / "compacted", tmp_path / "compacted")
    date = SHAPE.start + timedelta(days=day)
    with query.connect(tmp_path) as connection:
        ids = build_facts.windows(connection, SHAPE.account)[date]
        made = {
            name: reader.read_all()
            for name, reader in build_facts.build_day(connection, SHAPE.account, date)
        }
    assert facts.FACTS.keys() == made.keys()
    manifest, _ = lake.catalog.manifests.load()[SHAPE.account, date]
    assert manifest.ledger_files == tuple(
        sorted({compacted_key("snapshots", date_of(id_), SHAPE.account) for id_ in ids})
    )
    for name, table in made.items():
        path = lake.root / f"history/{name}/date={date}/{SHAPE.account}.parquet"
        written = pq.read_table(path, partitioning=None)
        assert facts.FACTS[name].schema == written.schema
        assert len(table) > 0 or name == "pool_error_episodes", name
        assert rows(table) == rows(written), name


def test_a_reader_takes_the_history_as_current(lake: Lake) -> None:
    """Every day's history holds for a reader: nothing is made from rows."""
    with query.connect(lake) as connection:
        days = [(SHAPE.account, SHAPE.start + timedelta(days=day)) for day in range(SHAPE.days)]
        assert tuple(days) == connection.view.history_days
        assert [] == connection.table("from wanted_days").to_pylist()
