"""The processes of the chaos test: each works on one lake until it is killed, or its time is over.

``python -m tests.chaos ROLE LAKE SECONDS SEED``; a process notes each commit it is sure of, and each
anomaly it meets, in files beside the lake.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline import compact as compaction
from pipeline import query
from pipeline.lake import Lake, LakeError, Locked
from tests.days import NOON, store

ACCOUNTS = ("a", "b")
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
            note(notes / "committed", store(lake, moment(chance), account=account, nodes=NODES))
    elif role == "import":
        for _ in range(2):  # the second time it is there already, or is written anew
            at, digits = moment(chance).replace(minute=0, second=0), f"{chance.randrange(40):08x}"
            note(notes / "committed", store(lake, at, account="a", nodes=NODES, digits=digits))
    elif role == "compact":
        hours = chance.choice((24, 48, 96))
        compaction.compact(
            lake,
            clock=lambda: NOON.replace(hour=1) + timedelta(hours=hours),
            grace=timedelta(seconds=3),
        )
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
            return  # slower than the grace: told so, and asked to refresh
    lost = before - set(found)
    assert not lost, f"lost: {sorted(lost)[:3]}"
    assert len(found) == len(set(found))
    note(notes / "asked", str(len(found)))


def note(path: Path, text: str) -> None:
    """A line, in one write."""
    with path.open("a") as file:
        file.write(text + "\n")


def globs(lake: Lake, notes: Path) -> None:
    """Plain Hive globs over compacted, by three engines: no row twice, and none torn."""
    import duckdb
    import polars as pl
    import pyarrow.dataset as ds

    keys = {"nodes": ("snapshot_id", "node_id"), "snapshots": ("snapshot_id",)}
    engines: dict[str, Callable[[str, tuple[str, ...]], tuple[int, int]]] = {
        "duckdb": lambda folder, key: duckdb.sql(
            f"select count(*), count(distinct ({', '.join(key)},)) "
            f"from read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
        ).fetchall()[0],
        "polars": lambda folder, key: (
            pl.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=True)
            .select(pl.len().alias("n"), pl.struct(key).n_unique().alias("d"))
            .collect()
            .row(0)
        ),
        "pyarrow": lambda folder, key: (
            lambda t: (t.num_rows, t.group_by(list(key)).aggregate([]).num_rows)
        )(ds.dataset(folder, partitioning="hive", format="parquet").to_table(columns=list(key))),
    }
    for table, key in keys.items():
        folder = lake.root / "compacted" / table
        if not [*folder.rglob("*.parquet")]:
            continue
        for name, engine in engines.items():
            rows, distinct = engine(str(folder), key)
            assert rows == distinct, f"{name}: {rows} rows of {table}, {distinct} distinct"
            note(notes / "globbed", name)


def main() -> None:
    """Works until the time is over."""
    role, uri, seconds, seed = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    notes = Path(sys.argv[5])
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
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
        time.sleep(chance.uniform(0, 0.05))


if __name__ == "__main__":
    main()
