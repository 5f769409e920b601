"""What compaction costs and saves: ``python -m tests.bench.bench_compact [--nodes N] [--snapshots S]``.

Makes a day of one account (by default 10,000 nodes every 5 minutes: 2.9 million node rows and their
tasks; a tenth of the nodes change from one snapshot to the next), closes it, and prints seconds, peak
memory, and bytes per node observation in landing and compacted.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import query, schema
from pipeline.flatten.columns import Origin
from pipeline.lake import Lake, new_snapshot_id
from pipeline.snapshot.ledger import Ledger
from tests.service import START, make_service, small_fleet

DAY = datetime(2026, 11, 18, tzinfo=UTC)
ACCOUNT = "bench.westeurope"
#: What a whole run found last: the README of the lake shows it.
SAVED = Path(__file__).parent / "compact.json"


def one_snapshot(nodes: int) -> dict[str, pa.Table]:
    """The tables of one snapshot of the emulated fleet, three hours into its life."""
    service = make_service(
        small_fleet(**{f"pool{i}": nodes // 10 for i in range(10)}), page_limit=1000
    )
    service.emulator.fleet.advance(START + timedelta(hours=3))
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        service.run(lake)
        with query.connect(lake) as connection:
            return {
                table.name: connection.table(f"select * exclude (date) from {table.name}").cast(
                    table.schema
                )
                for table in schema.DATA_TABLES
            }


def replaced(rows: pa.Table, **columns: list[Any]) -> pa.Table:
    """The rows with some columns' values replaced."""
    for name, values in columns.items():
        index = rows.schema.get_field_index(name)
        field = rows.schema.field(index)
        rows = rows.set_column(index, field, pa.array(values, field.type))
    return rows


def make_lake(root: Path, nodes: int, snapshots: int) -> None:
    """The landing zone of a day."""
    lake, chance, tables = Lake(root), random.Random(1), one_snapshot(nodes)
    rows, tasks = tables["nodes"], tables["recent_tasks"]
    count = rows.num_rows
    since, states = rows["state_transition_time"].to_pylist(), rows["state"].to_pylist()
    run = [n or 0 for n in rows["total_tasks_run"].to_pylist()]
    begun, ids = tasks["start_time"].to_pylist(), tasks["task_id"].to_pylist()
    keys = zip(rows["pool_id"].to_pylist(), rows["node_id"].to_pylist(), strict=True)
    place = {key: number for number, key in enumerate(keys)}
    task_keys = zip(tasks["pool_id"].to_pylist(), tasks["node_id"].to_pylist(), strict=True)
    last_task = {place[key]: number for number, key in enumerate(task_keys)}
    for number in range(snapshots):
        at = DAY + timedelta(days=1) * number / snapshots
        snapshot_id = new_snapshot_id(at)
        for changed in chance.sample(range(count), count // 10):
            since[changed] = at - timedelta(seconds=chance.randrange(1, 300))
            states[changed] = chance.choice(("idle", "running"))
            run[changed] += 1
            if (task := last_task.get(changed)) is not None:
                begun[task], ids[task] = since[changed], f"task-{chance.randrange(10**7)}"
        observed = [at + timedelta(seconds=1 + i // 1000) for i in range(count)]
        now = tables | {
            "nodes": replaced(
                rows,
                state_transition_time=since,
                state=states,
                total_tasks_run=run,
                observed_at=observed,
            ),
            "recent_tasks": replaced(tasks, start_time=begun, task_id=ids),
            "pools": replaced(
                tables["pools"],
                listing_started_at=[at] * tables["pools"].num_rows,
                listing_finished_at=[at + timedelta(seconds=11)] * tables["pools"].num_rows,
            ),
        }
        with lake.writer(snapshot_id, ACCOUNT) as writer:
            for name, table in now.items():
                n = table.num_rows
                keyed = replaced(
                    table,
                    account=[ACCOUNT] * n,
                    snapshot_id=[snapshot_id] * n,
                    snapshot_at=[at] * n,
                )
                writer.write({name: keyed})
            ledger = Ledger(Origin(ACCOUNT, snapshot_id, at), at, "live", "account")
            ledger.status = ledger.pool_listing = "complete"
            ledger.pool_listing_started_at = ledger.pool_listing_finished_at = at
            ledger.rows = dict(writer.rows)
            writer.commit(ledger.table(at))


def size(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def compact(root: str) -> None:
    """Closes the day in this process, with its history, and prints what it took as JSON."""
    from pipeline.maintain import compaction

    begun = time.monotonic()
    report = compaction.compact(Lake(root), clock=lambda: DAY + timedelta(days=2))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = {"seconds": time.monotonic() - begun, "peak_bytes": peak, "rows": report.rows}
    print(json.dumps(figures | {"exit_code": report.exit_code}))


def table() -> str:
    """The README's table of bytes, from the whole run that was saved last."""
    result = json.loads(SAVED.read_text("utf-8"))
    rows, weights = result["rows"], result["bytes"]
    nodes = rows["nodes"]

    def line(title: str, name: str, count: int) -> str:
        cells = (f"{zone[name] / count:.3g}" if name in zone else "" for zone in weights.values())
        return f"| {title} | {' | '.join(cells)} |".replace("  |", " |")

    return "\n".join(
        [
            "| | landing | compacted | history |",
            "|---|---|---|---|",
            line("bytes a node observation, its tasks and errors included", "all", nodes),
            line("of it, bytes a row of nodes", "nodes", nodes),
            line("bytes a row of recent_tasks", "recent_tasks", rows["recent_tasks"]),
        ]
    )


def days() -> str:
    """The README's rows of bytes a day: of 10,000, 100,000 and 1,000,000 nodes."""
    result = json.loads(SAVED.read_text("utf-8"))
    titles = {
        "landing": "landing a day, until compacted and past the grace",
        "compacted": "compacted a day, kept",
        "history": "history a day, kept",
    }
    lines = []
    for zone, title in titles.items():
        each = result["bytes"][zone]["all"] / result["rows"]["nodes"]
        cells = (f"{288 * nodes * each / 1e9:.2g} GB" for nodes in (10_000, 100_000, 1_000_000))
        lines.append(
            f"| {title} | {' | '.join(cells)} | measured (c): {each:.3g} bytes an observation |"
        )
    return "\n".join(lines)


def main() -> None:
    """Makes the lake, closes its day, prints the figures and saves those of a whole run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--snapshots", type=int, default=288)
    parser.add_argument("--lake", help="a lake that was made so before")
    parser.add_argument("--close", action="store_true", help="close the day in this process")
    chosen = parser.parse_args()
    if chosen.close:
        compact(chosen.lake)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(chosen.lake or folder)
        if not chosen.lake:
            make_lake(root, chosen.nodes, chosen.snapshots)
        command = [sys.executable, "-m", "tests.bench.bench_compact", "--lake", str(root)]
        printed = subprocess.run([*command, "--close"], stdout=subprocess.PIPE, check=True)
        figures = json.loads(printed.stdout)
        print(
            f"{figures['seconds']:.1f} s, peak {figures['peak_bytes'] / 1e9:.2f} GB, "
            f"{figures['rows']:,} rows"
        )
        with query.connect(root) as connection:
            (counts,) = connection.table(
                "select sum(nodes_rows) as nodes, sum(recent_tasks_rows) as recent_tasks from snapshots"
            ).to_pylist()
        weights = {
            zone: {
                "all": size(root / zone),
                **{name: size(root / zone / name) for name in counts if zone != "history"},
            }
            for zone in ("landing", "compacted", "history")
        }
        rows = {name: int(count) for name, count in counts.items()}
        result = {"rows": rows, "bytes": weights}
        print(json.dumps(result, indent=1))
        if (chosen.nodes, chosen.snapshots) == (10_000, 288):
            SAVED.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
