"""The processes of the chaos test: each works on one lake until it is killed, or its time is over.

A process notes each commit it is sure of, and each anomaly it meets, in files beside the lake, and
rests up to ``pace`` seconds after each piece of work.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline import query
from pipeline.lake import Lake, LakeError, Locked, new_snapshot_id
from pipeline.maintain import build_facts, compaction
from pipeline.schema import facts
from tests.days import NOON, store

NODES = 6

#: Every snapshot has as many rows as its ledger says, each node once; and no row lacks a ledger.
BROKEN = """
with counted as (
    select snapshot_id, count(*) as n, count(distinct node_id) as nodes from nodes group by 1
),
tasks as (select snapshot_id, count(*) as n from recent_tasks group by 1),
ledger as (select snapshot_id, count(*) as n, max(nodes_rows) as nodes_rows,
    max(recent_tasks_rows) as tasks_rows from snapshots group by 1)
select * from ledger
full join counted using (snapshot_id)
full join tasks using (snapshot_id)
where ledger.n is distinct from 1
    or counted.n is distinct from nodes_rows
    or counted.nodes is distinct from nodes_rows
    or tasks.n is distinct from tasks_rows
"""

#: Facts of closed days and of open ones together have each listing once, and of each node. The ids
#: of both accounts' nodes are the same.
MISTOLD = """
with told as (select account, sum(listings) as listings from pool_hours group by 1),
lives as (select account, count(*) as nodes from node_incarnations group by 1),
listed as (select account, count(*) as listings from pools group by 1),
known as (select account, count(distinct node_id) as nodes from nodes group by 1)
select * from listed
full join told using (account)
full join known using (account)
full join lives using (account)
where listed.listings is distinct from told.listings or known.nodes is distinct from lives.nodes
"""


def moment(chance: random.Random) -> datetime:
    """A time of day in the three days of these lakes, often near a midnight."""
    if chance.random() < 0.5:
        near = timedelta(days=chance.choice((1, 2)), seconds=chance.randint(-900, 900))
        return NOON.replace(hour=0) + near
    return NOON.replace(hour=0) + timedelta(seconds=chance.randrange(3 * 86_400))


def work(role: str, lake: Lake, chance: random.Random, notes: Path) -> None:
    """One piece of work of a role."""
    if role.startswith("snapshot"):
        account = role.removeprefix("snapshot-")
        with lake.lock("snapshot", account):
            id_ = store(lake, moment(chance), account=account, nodes=NODES, is_listed=True)
            note(notes / "committed", id_)
    elif role == "import":
        for _ in range(2):  # the second time it is there already, or is written anew
            at, digits = moment(chance).replace(minute=0, second=0), f"{chance.randrange(40):08x}"
            # import asks first; two at once may both be answered no, and the slower one writes once more
            is_slower = chance.random() < 0.1
            if is_slower or not lake.is_committed(new_snapshot_id(at, digits)):
                id_ = store(lake, at, account="a", nodes=NODES, digits=digits, is_listed=True)
                note(notes / "committed", id_)
    elif role == "compact":
        hours = chance.choice((24, 48, 96))
        report = compaction.compact(
            lake,
            clock=lambda: NOON.replace(hour=1) + timedelta(hours=hours),
            grace=timedelta(seconds=3),
            history=build_facts,
        )
        assert report.open_days == [], report.open_days
        note(notes / "compacted", f"{report.days} {report.late} {report.history_days}")
    else:
        ask(lake, notes)


def ask(lake: Lake, notes: Path) -> None:
    """Every snapshot whole and once, by every query of one connection; none that was there is gone."""
    before = (
        set((notes / "committed").read_text().split()) if (notes / "committed").exists() else set()
    )
    with query.connect(lake) as connection:
        try:
            for _ in range(3):
                broken = connection.table(BROKEN).to_pylist()
                assert broken == [], broken[:3]
            found = connection.table("select snapshot_id from snapshots")["snapshot_id"].to_pylist()
        except query.Outdated:
            note(notes / "outdated", "rows")
            return  # slower than the grace: the error says so, and asks to refresh
    lost = before - set(found)
    assert not lost, f"lost: {sorted(lost)[:3]}"
    assert len(found) == len(set(found))
    note(notes / "asked", str(len(found)))
    with query.connect(lake) as connection:
        try:
            mistold = connection.table(MISTOLD).to_pylist()
        except query.Outdated:
            note(notes / "outdated", "facts")
            return  # its history was rebuilt, and once more when it was asked again
        assert mistold == [], mistold
        days = len(connection.view.history_days)
    note(notes / "facts", str(days))


def note(path: Path, text: str) -> None:
    """A line, in one write."""
    with path.open("a") as file:
        file.write(text + "\n")


def globs(lake: Lake, notes: Path) -> None:
    """Plain Hive globs over compacted and history, by three engines: no row twice, and none torn.

    polars takes a file's size before it opens it. It fails where the file is replaced between the two,
    and answers when it is asked again.
    """
    import polars as pl

    for folder, key in sorted(globbed().items()):
        there = lake.root / folder
        if not [*there.rglob("*.parquet")]:
            continue
        for name, engine in ENGINES.items():
            try:
                rows, distinct = engine(str(there), key)
            except (pl.exceptions.ComputeError, pl.exceptions.PanicException) as error:
                note(notes / "replaced", f"{name} {folder} {error}")
                rows, distinct = engine(str(there), key)
            assert rows == distinct, f"{name}: {rows} rows of {folder}, {distinct} distinct"
            note(notes / f"globbed-{folder.partition('/')[0]}", f"{name} {folder} {rows}")


def globbed() -> dict[str, tuple[str, ...]]:
    """The folders that plain globs read, each with what no two of its rows share."""
    return {
        "compacted/nodes": ("snapshot_id", "node_id"),
        "compacted/recent_tasks": ("snapshot_id", "node_id", "position"),
        "compacted/snapshots": ("snapshot_id",),
    } | {
        f"history/{fact.name}": (
            "date",
            *fact.named("key"),
            *(("first_observed_at",) if fact.is_island else ()),
        )
        for fact in facts.FACTS.values()
    }


def by_duckdb(folder: str, key: tuple[str, ...]) -> tuple[int, int]:
    """Rows, and distinct keys."""
    import duckdb

    (found,) = duckdb.sql(
        f"select count(*), count(distinct ({', '.join(key)},)) "
        f"from read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
    ).fetchall()
    return found


def by_polars(folder: str, key: tuple[str, ...]) -> tuple[int, int]:
    """Rows, and distinct keys."""
    import polars as pl

    rows = pl.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=True)
    found = rows.select(pl.len().alias("rows"), pl.struct(key).n_unique().alias("distinct"))
    return found.collect().row(0)


def by_pyarrow(folder: str, key: tuple[str, ...]) -> tuple[int, int]:
    """Rows, and distinct keys."""
    import pyarrow.dataset as ds

    dataset = ds.dataset(folder, partitioning="hive", format="parquet")
    rows = dataset.to_table(columns=list(key))
    return rows.num_rows, rows.group_by(list(key)).aggregate([]).num_rows


ENGINES: dict[str, Callable[[str, tuple[str, ...]], tuple[int, int]]] = {
    "duckdb": by_duckdb,
    "polars": by_polars,
    "pyarrow": by_pyarrow,
}


def play(role: str, uri: str, seconds: float, seed: int, notes: Path, pace: float) -> None:
    """Works until the time is over, or it is asked to stop."""
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not (notes / "stop").exists():
        lake = Lake(uri)
        try:
            if role == "glob":
                globs(lake, notes)
            else:
                work(role, lake, chance, notes)
        except Locked:
            time.sleep(0.05)
        except (Exception, LakeError):
            told = traceback.format_exc()
            note(notes / "anomalies", f"{role} at {datetime.now(UTC)}: {told}")
            raise
        time.sleep(chance.uniform(0, pace))
