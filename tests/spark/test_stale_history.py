"""Days whose history is not current are answered from rows, whichever engine is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pytest

from pipeline import query, spark
from pipeline.lake import Lake
from pipeline.lake.manifest import put_manifest
from tests.lakes import at, node, put
from tests.simulator import service
from tests.spark.cluster import OPTIONS, need

COLUMNS = "account, pool_id, node_id, allocation_time, first_observed_at, last_observed_at"
QUERIES = (
    f"select {COLUMNS} from node_incarnations",
    f"select {COLUMNS}, state, ended_before from node_states",
    "select date, account, state, hours, certain_hours from node_hours",
)


def listed(lake: Lake, account: str, when: str, state: str, **given: Any) -> None:
    """A complete listing of one node."""
    shown = node("a", state, **{"since": "22:00", "allocated": "21:30"} | given)
    put(lake, when, {"p": [shown]}, account=account)


@pytest.fixture
def stale(tmp_path: Path) -> Lake:
    """A lake with an account for each reason why a day's history does not answer."""
    lake = Lake(tmp_path / "lake")
    for account in ("open", "late", "rebuilt"):
        for when in ("23:00", "23:30", "1 00:05", "1 00:10", "1 12:00"):
            listed(lake, account, when, "idle")
    for when in ("23:00", "23:30", "1 00:05", "1 00:10", "1 00:15", "1 00:20"):
        listed(lake, "undated", when, "idle", allocated=None)
    service.compact(lake, at("2 12:00"))
    # a day without history, which is the first to show when a state began, or an allocation
    listed(lake, "open", "2 12:05", "running", since="1 13:00")
    listed(lake, "undated", "2 12:05", "idle")
    # an import into a day whose history is there
    listed(lake, "late", "23:45", "running", since="23:40")
    # a compaction that was killed while it replaced history
    old = lake.view().manifests["rebuilt", at("00:00").date()]
    manifest = msgspec.structs.replace(old.manifest, state="being rebuilt")
    put_manifest(lake.storage, manifest, old.entry)
    for file in lake.root.glob("history/*/date=2026-11-16/rebuilt.parquet"):
        file.unlink()
    return Lake(lake.root)


def ordered(rows: pa.Table) -> list[tuple[Any, ...]]:
    """The rows, sorted, with floats to nine digits."""
    plain = [
        tuple(round(value, 9) if isinstance(value, float) else value for value in row.values())
        for row in rows.to_pylist()
    ]
    return sorted(plain, key=lambda row: [(value is not None, str(value)) for value in row])


def by_rows(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """The answers without any history."""
    for file in lake.root.glob("history/**/*"):
        if file.is_file():
            file.unlink()
    with query.connect(Lake(lake.root)) as connection:
        assert connection.view.history_days == ()
        return {asked: ordered(connection.table(asked)) for asked in QUERIES}


def by_our_connection(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """As `nodelake sql` answers."""
    with query.connect(lake) as connection:
        return {asked: ordered(connection.table(asked)) for asked in QUERIES}


def by_init_sql(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """As any DuckDB answers after the statements of `nodelake init-sql`."""
    with duckdb.connect() as plain:
        plain.execute("set TimeZone = 'UTC'")
        for statement in query.statements(lake.view()):
            plain.execute(statement)
        return {asked: ordered(plain.sql(asked).to_arrow_table()) for asked in QUERIES}


def by_spark(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """As `nodelake ask --engine spark` answers."""
    need()
    with spark.connect(lake, "local[1]", options=OPTIONS) as connection:
        return {asked: ordered(connection.table(asked)) for asked in QUERIES}


@pytest.mark.parametrize(
    "answer", [by_our_connection, by_init_sql, by_spark], ids=lambda each: each.__name__
)
def test_days_without_current_history_are_answered_from_rows(
    stale: Lake, answer: Callable[[Lake], dict[str, list[tuple[Any, ...]]]]
) -> None:
    """An open day, a late import, a rebuild that was killed, an allocation that is shown later."""
    kept = {(account, day.day) for account, day in stale.view().history_days}
    both = {("open", 16), ("open", 17), ("undated", 16), ("undated", 17)}
    assert kept == both | {("late", 17), ("rebuilt", 17)}
    answers = answer(stale)
    assert answers == by_rows(stale)
    assert min(map(len, answers.values())) >= 4  # of four accounts
