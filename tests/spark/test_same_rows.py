"""Every history fact and every question gives the same rows on Spark as on DuckDB."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipeline import query, spark
from pipeline.cli import run
from pipeline.lake import Lake
from pipeline.query import prices
from pipeline.schema import facts
from tests.questions import planted
from tests.questions.conftest import fleet as fleet  # a fixture: the planted fleet, recorded once
from tests.spark.cluster import OPTIONS, cluster, need

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PRICES = pa.table(
    {
        "vm_size": ["standard_d4s_v5", "standard_f16s_v2", "standard_f16s_v2"],
        "is_dedicated": [True, True, False],
        "price_per_hour": [0.192, 0.677, 0.135],
        "currency": ["USD", "USD", "USD"],
        "vcpus": [4, 16, 16],
    },
    prices.SCHEMA,
)


@pytest.fixture
def master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a cluster's master."""
    need()
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    with cluster(tmp_path / "cluster") as url:
        yield url


@pytest.fixture
def begun(master: str) -> Iterator[SparkSession]:
    """A session there; every other one of this process shares its executors."""
    session = spark.start(master, OPTIONS)
    yield session
    session.stop()


def values(rows: pa.Table, is_ordered: bool) -> list[tuple[Any, ...]]:
    """Rows as tuples; where they have no order, in one that does not hang on their last digits."""
    plain = [tuple(_plain(value) for value in row.values()) for row in rows.to_pylist()]
    if is_ordered:
        return plain
    return sorted(plain, key=lambda row: [(v is not None, _rank(v)) for v in row])


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _rank(value: Any) -> Any:
    if isinstance(value, float | int):
        return round(float(value), 6)
    return value if isinstance(value, str | datetime) else str(value)


def is_same(name: str, one: Any, other: Any, seconds: float) -> bool:
    """Equal, floats to 1e-9; ages, which count to now, to the time between the two answers."""
    is_number = isinstance(one, float | int) and isinstance(other, float | int)
    if name.startswith("age_") and is_number:
        return abs(one - other) <= seconds
    if is_number and not isinstance(one, bool):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)


def differences(
    ours: pa.Table, theirs: pa.Table, seconds: float, is_ordered: bool = False
) -> list[str]:
    """What differs between two answers, in words; nothing where they are the same."""
    if ours.column_names != theirs.column_names:
        return [f"columns {theirs.column_names}, not {ours.column_names}"]
    if ours.num_rows != theirs.num_rows:
        return [f"{theirs.num_rows} rows, not {ours.num_rows}"]
    found = []
    for one, other in zip(values(ours, is_ordered), values(theirs, is_ordered), strict=True):
        for name, mine, its in zip(ours.column_names, one, other, strict=True):
            if not is_same(name, mine, its, seconds):
                found.append(f"{name}: {its!r}, not {mine!r}, in {one}")
    return found[:3]


def test_spark_answers_as_duckdb_does(
    fleet: planted.Planted,
    master: str,
    begun: SparkSession,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    whole: bool,
) -> None:
    """A standalone cluster: each fact and question, from rows and from history, and by ``ask``.

    The short form takes every fifth of them.

    One cluster's application for all of it: each costs three process starts. The lake's day is made
    from rows: what history files hold is compared as the two facts that have most rows.
    """
    rows = tmp_path / "lake [of rows]"  # a name that is a pattern to Hadoop
    shutil.copytree(fleet.lake, rows)
    shutil.rmtree(rows / "history")
    wrong: dict[str, list[str]] = {}
    with query.connect(rows) as duck, spark.connect(Lake(rows), session=begun) as other:
        duck.use_prices(PRICES)
        other.add("prices", PRICES)
        for fact in [*facts.FACTS][:: 1 if whole else 5]:
            since = time.time()
            wrong[fact] = differences(
                duck.table(f"from {fact}"),
                other.table(f"select * from {fact}"),
                time.time() - since,
            )
            # questions read it, not what it is made from once more
            other.session.table(fact).localCheckpoint().createOrReplaceTempView(fact)
        for name in [*query.questions()][:: 1 if whole else 5]:
            since = time.time()
            ours, theirs = duck.ask(name), other.ask(name)
            wrong[f"ask {name}"] = differences(ours, theirs, time.time() - since, is_ordered=True)
        nodes = "select * from nodes where pool_id = $pool and start_task_exit_code is null"
        given = {"pool": "render'; drop view nodes; --"}
        assert other.table(nodes, given).num_rows == 0
        wrong["nodes"] = differences(
            duck.table(nodes, {"pool": "spot"}), other.table(nodes, {"pool": "spot"}), 0
        )
        with (
            query.connect(fleet.lake) as kept,
            spark.connect(Lake(fleet.lake), session=other.session) as second,
        ):
            assert kept.view.history_days == second.seen.history_days != ()
            for fact in ("node_states", "task_runs"):
                wrong[f"{fact}, of history"] = differences(
                    kept.table(f"from {fact}"), second.table(f"select * from {fact}"), 0
                )
    assert {name: told for name, told in wrong.items() if told} == {}

    capfd.readouterr()
    asked = ["ask", "coverage", "--lake", str(fleet.lake), "--format", "json"]
    assert run([*asked, "--engine", "spark", "--spark-master", master]) == 0
    by_spark = capfd.readouterr().out
    assert run(asked) == 0
    assert json.loads(by_spark) == json.loads(capfd.readouterr().out)
