"""A lake of a year, written directly: ``python -m tests.bench.year LAKE [--nodes N] [--days D] …``.

Every day gets its ledger, its pools' rows, its facts, and the manifest that names what they were
built from; the last days (``--kept``) get rows of nodes, tasks and errors too. What a compaction of
1.05 billion observations would leave is there in minutes. ``tests/bench/test_year.py``
makes a few days' facts from such rows by the real path and compares them with what is written here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import schema
from pipeline.flatten.columns import Origin
from pipeline.lake import Lake, compacted_key, date_of, history_key, new_snapshot_id
from pipeline.lake.day_file import ROWS_PER_GROUP, DayFile, FactFile, sorted_rows
from pipeline.lake.manifest import Manifest, fact_versions, put_manifest
from pipeline.lake.paths import list_files
from pipeline.lake.table_file import TableFile
from pipeline.schema import facts
from pipeline.snapshot.ledger import Ledger
from tests.bench.year_columns import SLOTS, Texts, first_poll, numbers, offsets, same
from tests.bench.year_derived import finished
from tests.bench.year_facts import DayFacts
from tests.bench.year_truth import Ints, Shape, Year, take


def snapshot_ids(shape: Shape, first: int, last: int) -> list[str]:
    """The ids of polls, both ends included."""
    begins = datetime.combine(shape.start, datetime.min.time(), UTC)
    tick = timedelta(microseconds=shape.tick)
    return [new_snapshot_id(begins + tick * poll, f"{poll:08x}") for poll in range(first, last + 1)]


class YearWriter:
    """Writes the files of the days of a year."""

    def __init__(self, lake: Lake, shape: Shape) -> None:
        self.lake, self.shape = lake, shape
        self.year = Year(shape)
        self.texts = Texts(self.year.lives)

    def write(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """All of it."""
        begun = time.monotonic()
        for truth in self.year.days():
            made = DayFacts(truth, self.texts)
            self._day(made)
            if truth.day % 10 == 9:
                tell(f"{truth.day + 1} days, {time.monotonic() - begun:.0f} s")

    def _day(self, made: DayFacts) -> None:
        shape = self.shape
        day = shape.start + timedelta(days=made.truth.day)
        for name, table in finished(day, made.tables()):
            put(
                self.lake,
                history_key(name, day, shape.account),
                table.schema,
                [table],
                facts.FACTS[name].rows_per_group,
            )
        if made.truth.day >= shape.days - shape.kept:
            for name, parts in (
                ("nodes", node_rows(made)),
                ("recent_tasks", task_rows(made)),
                ("node_errors", error_rows(made)),
            ):
                self._close(name, day, parts)
        self._close("pools", day, [pool_rows(made)])
        self._close("snapshots", day, [ledger_rows(made)])
        put_days(self.lake, shape.account, day, snapshot_ids(shape, *made.polls))

    def _put(self, key: str, columns: pa.Schema, parts: Iterable[pa.Table]) -> None:
        put(self.lake, key, columns, parts)

    def _close(self, name: str, day: date, parts: Iterable[pa.Table]) -> None:
        """Writes a table's file of a closed day: rows as they come, then sorted by what compacts."""
        table = schema.TABLES[name]
        rough = f"rough/{name}.parquet"
        self._put(rough, table.schema, parts)
        put_sorted(self.lake, table, rough, compacted_key(name, day, self.shape.account))
        (self.lake.root / rough).unlink()


def put(
    lake: Lake,
    key: str,
    columns: pa.Schema,
    parts: Iterable[pa.Table],
    rows_per_group: int = ROWS_PER_GROUP,
) -> None:
    """Writes a file of the lake as a compaction does."""
    kind = FactFile if key.startswith("history/") else TableFile
    file = kind(lake.storage, key, columns, rows_per_group=rows_per_group)
    for part in parts:
        for start in range(0, len(part), rows_per_group):
            file.write(part.slice(start, rows_per_group))
    file.finish()


def put_sorted(lake: Lake, table: schema.Table, source: str, key: str) -> None:
    """Writes the rows of a file as a compaction does."""
    file = DayFile(lake.storage, key, table.schema)
    for rows in sorted_rows(lake.storage, table, [(source, None)]):
        file.write(rows)
    file.finish()


def put_days(lake: Lake, account: str, day: date, ids: list[str]) -> None:
    """Writes the manifest of a day's facts, as a compaction does."""
    (own,) = list_files(lake.storage, f"compacted/snapshots/date={day}")
    listed = [
        pq.read_table(lake.root / own.beside(table), columns=[column], partitioning=None)[column]
        for table, column in (
            ("snapshots", "pool_listing_finished_at"),
            ("pools", "listing_finished_at"),
        )
    ]
    ends = [pc.min_max(column).as_py() for column in listed]
    manifest = Manifest(
        account=account,
        date=day,
        ledger_files=tuple(
            sorted({compacted_key("snapshots", date_of(id_), account) for id_ in ids} | {own.key})
        ),
        own={own.stem: lake.catalog.ledger(own)},
        facts=fact_versions(),
        files=files_of(lake, account, day),
        first_listing_at=min(each["min"] for each in ends),
        last_listing_at=max(each["max"] for each in ends),
        latest_listing_at=max(each["max"] for each in ends) + timedelta(minutes=10),
    )
    put_manifest(lake.storage, manifest, "anything")


def files_of(lake: Lake, account: str, day: date) -> dict[str, int]:
    """The bytes of each file of a day's facts."""
    found = {fact: lake.storage.find(history_key(fact, day, account)) for fact in facts.FACTS}
    return {fact: file.size for fact, file in found.items() if file}


def _rows(table: schema.Table, count: int, columns: dict[str, Any]) -> pa.Table:
    """Rows of a table, columns that are not given null."""
    arrays = [
        columns[field.name].cast(field.type)
        if field.name in columns
        else pa.nulls(count, field.type)
        for field in table.schema
    ]
    return pa.Table.from_arrays(arrays, schema=table.schema)


class _Polls:
    """The columns that a poll's rows have in common."""

    def __init__(self, made: DayFacts) -> None:
        shape = made.shape
        self.first = made.truth.day * shape.polls
        self.tick, self.texts = shape.tick, made.texts
        self.ids = pa.array(snapshot_ids(shape, self.first, self.first + shape.polls - 1))

    def columns(self, poll: Ints, life: Ints) -> dict[str, Any]:
        """Of rows of a life at a poll."""
        return self.texts.columns(life) | self.of(poll)

    def of(self, poll: Ints) -> dict[str, Any]:
        """Of any row of a poll."""
        return {
            "snapshot_id": pa.DictionaryArray.from_arrays(
                pa.array(poll - self.first, pa.int32()), self.ids
            ),
            "snapshot_at": self.texts.time(poll * self.tick),
        }


def _spread(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """For every row, each poll from first to last: which row, which poll."""
    counts = np.maximum(last - first + 1, 0)
    row = np.repeat(np.arange(len(first)), counts)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + first[row]


def _within(made: DayFacts, first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """The polls of the day itself."""
    begins = made.truth.day * made.shape.polls
    return np.maximum(first, begins), np.minimum(last, begins + made.shape.polls - 1)


def node_rows(made: DayFacts) -> Iterator[pa.Table]:
    """What the day's listings showed of nodes, in the order of a day file, a part at a time."""
    texts, polls, boots = made.texts, _Polls(made), made.truth.boots
    segments = made.segments.rows
    row, poll = _spread(*_within(made, made.segments.first, made.segments.last))
    life = segments["life"][row]
    # a node's polls follow one another: its place is that of its first one, and the poll's
    begins = np.flatnonzero(np.concatenate([[True], life[1:] != life[:-1]]))
    place = np.full(len(made.lives), -(10**9))
    place[life[begins]] = begins - poll[begins]

    running, steps = made.running, np.zeros(len(row) + 1, np.int64)
    first, last = _within(made, running.first, running.last)
    there = first <= last
    whose = place[running.rows["life"][there]]
    np.add.at(steps, whose + first[there], 1)
    np.add.at(steps, whose + last[there] + 1, -1)
    slots = np.cumsum(steps)[:-1]
    done, good = _completed(made, row, life, poll, begins, place)

    for start in range(0, len(row), 500_000):
        chosen = slice(start, start + 500_000)
        part, of, k = take(segments, row[chosen]), life[chosen], poll[chosen]
        at, boot = texts.listed_at(k, of), part["boot"]
        run = np.maximum(
            boot - (at < boots["run_s"][boot]), 0
        )  # until it runs the service shows the last one
        has_run = (boots["life"][run] == of) & (at >= boots["run_s"][run])
        is_over = has_run & (at >= boots["run_e"][run])
        told = made.run_columns(take(boots, run), is_over, has_run)
        columns = polls.columns(k, of) | made.config(part) | made.state(part)
        columns |= {f"start_task_{name}": column for name, column in told.items()}
        columns |= {
            "observed_at": texts.time(at),
            "is_malformed": pa.array(np.zeros(len(of), bool)),
            "last_boot_time": texts.time(boots["booted"][boot], at >= boots["shown"][boot]),
            "total_tasks_run": numbers(done[chosen]),
            "total_tasks_succeeded": numbers(good[chosen]),
            "running_tasks_count": numbers(slots[chosen]),
            "running_task_slots_count": numbers(slots[chosen]),
        }
        yield _rows(schema.NODES, len(of), columns)


def _completed(
    made: DayFacts, row: Ints, life: Ints, poll: Ints, begins: Ints, place: Ints
) -> tuple[Ints, Ints]:
    """How many tasks each node had completed at each poll, and how many of them well."""
    tasks, lives = made.truth.tasks, made.lives
    over = first_poll(tasks["e"], made.texts.offset[tasks["life"]], made.shape.tick)
    first, last = (np.full(len(lives), fill) for fill in (10**9, -1))
    ends = np.concatenate([begins[1:], [len(row)]]) - 1
    first[life[begins]], last[life[begins]] = poll[begins], poll[ends]
    of = tasks["life"]
    later = (over > first[of]) & (over <= last[of]) & (tasks["e"] < lives.g[of])
    before = made.totals(life[begins], made.texts.listed_at(poll[begins], life[begins]))
    block = np.repeat(np.arange(len(begins)), np.diff(np.concatenate([begins, [len(row)]])))
    found = []
    for total, chosen in zip(before, (later, later & (tasks["exit"] == 0)), strict=True):
        steps = np.bincount(place[of[chosen]] + over[chosen], minlength=len(row))
        risen = np.cumsum(steps)
        found.append((total - risen[begins])[block] + risen)
    return found[0], found[1]


def task_rows(made: DayFacts) -> Iterator[pa.Table]:
    """What the day's listings showed of tasks, in the order of a day file, a part at a time."""
    polls, seen = _Polls(made), made.tasks
    row, poll = _spread(*_within(made, seen.first, seen.last))
    life = seen.rows["life"][row]
    order = np.lexsort((seen.rows["s"][row], poll, life))
    row, poll, life = row[order], poll[order], life[order]
    is_first = np.ones(len(row), bool)
    is_first[1:] = (life[1:] != life[:-1]) | (poll[1:] != poll[:-1])
    number = np.arange(len(row))
    position = number - np.maximum.accumulate(np.where(is_first, number, 0))
    for start in range(0, len(row), 500_000):
        chosen = slice(start, start + 500_000)
        part, of, k = take(seen.rows, row[chosen]), life[chosen], poll[chosen]
        is_over = made.texts.listed_at(k, of) >= part["ended"]
        columns = polls.columns(k, of) | made.task_columns(part, is_over)
        columns["position"] = numbers(position[chosen])
        yield _rows(schema.RECENT_TASKS, len(of), columns)


def error_rows(made: DayFacts) -> Iterator[pa.Table]:
    """What the day's listings showed of errors, in the order of a day file."""
    seen = made.segments.take(made.segments.rows["error"] > 0)
    row, poll = _spread(*_within(made, seen.first, seen.last))
    part = take(seen.rows, row)
    columns = _Polls(made).columns(poll, part["life"]) | made.error(part)
    columns["position"] = numbers(np.zeros_like(row))
    yield _rows(schema.NODE_ERRORS, len(row), columns)


def pool_rows(made: DayFacts) -> pa.Table:
    """Every listing of a pool, in the order of a day file."""
    shape, polls = made.shape, _Polls(made)
    pool = np.repeat(np.arange(shape.pools), shape.polls)
    poll = np.tile(np.arange(shape.polls), shape.pools) + polls.first
    at = made.texts.time(poll * shape.tick + offsets(pool))
    nodes = made.counts[0].sum(axis=1).ravel()
    spot = shape.is_spot(pool)
    target = np.full(len(pool), shape.nodes // shape.pools)
    columns = polls.of(poll) | {
        "account": same(shape.account, len(pool)),
        "pool_id": made.texts.pools(pool),
        "vm_size": made.texts.sizes(pool),
        "listing": same("complete", len(pool)),
        "listing_started_at": at,
        "listing_finished_at": at,
        "nodes_listed": numbers(nodes),
        "nodes_counted": numbers(nodes),
        "state": same("active", len(pool)),
        "allocation_state": same("steady", len(pool)),
        "current_dedicated_nodes": numbers(np.where(spot, 0, nodes)),
        "current_low_priority_nodes": numbers(np.where(spot, nodes, 0)),
        "target_dedicated_nodes": numbers(np.where(spot, 0, target)),
        "target_low_priority_nodes": numbers(np.where(spot, target, 0)),
        "task_slots_per_node": numbers(np.full(len(pool), SLOTS)),
    }
    return _rows(schema.POOLS, len(pool), columns)


def ledger_rows(made: DayFacts) -> pa.Table:
    """The ledger of the day."""
    shape = made.shape
    midnight = datetime.combine(shape.start, datetime.min.time(), UTC)
    nodes = made.counts[0].sum(axis=(0, 1)).tolist()
    tasks, errors = (
        made.by_poll(seen, np.zeros(len(seen.first), np.int64), 1)[0].tolist()
        for seen in (made.tasks, made.segments.take(made.segments.rows["error"] > 0))
    )
    first = made.truth.day * shape.polls
    if made.truth.day < shape.days - shape.kept:  # what is not there was not written
        nodes = tasks = errors = [0] * shape.polls
    rows = []
    for number, snapshot_id in enumerate(snapshot_ids(shape, first, first + shape.polls - 1)):
        at = midnight + timedelta(microseconds=shape.tick * (first + number))
        ledger = Ledger(Origin(shape.account, snapshot_id, at), at, "live", "account")
        ledger.status = ledger.pool_listing = "complete"
        ledger.pool_listing_started_at = ledger.pool_listing_finished_at = at
        ledger.pools_listed = ledger.pools_complete = shape.pools
        ledger.requests = 2 * shape.pools + 1
        ledger.clock_skew_seconds = 0.0
        ledger.rows = {
            "pools": shape.pools,
            "nodes": nodes[number],
            "recent_tasks": tasks[number],
            "node_errors": errors[number],
        }
        rows.append(ledger.row(at + timedelta(seconds=20)))
    return pa.Table.from_pylist(rows, schema.SNAPSHOTS.schema)


def make(root: Path, shape: Shape, tell: Callable[[str], None] = lambda _: None) -> Lake:
    """Writes the lake of a year."""
    lake = Lake(root)
    YearWriter(lake, shape).write(tell)
    return lake


def main() -> None:
    """Writes a lake."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.year", description=main.__doc__)
    parser.add_argument("lake", type=Path)
    for name in ("nodes", "pools", "days", "kept", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Shape, name))
    chosen = vars(parser.parse_args())
    make(chosen.pop("lake"), Shape(**chosen), lambda text: print(text, flush=True))


if __name__ == "__main__":
    main()
