"""Page bytes in memory to Parquet: all tables, redacted, checked for drift, start tasks hashed.

Against ``orjson.loads`` of the same bytes, which makes Python objects and no more of them; and
against azure-batch, dlt and pandas, which do part of the work.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib import util
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq

from pipeline.cli.memory import keep_memory
from pipeline.extract import envelope
from pipeline.flatten import NodeFlattener
from pipeline.flatten import pages as page_reader
from pipeline.flatten.columns import Origin
from pipeline.lake import Lake
from pipeline.redact import Redactor
from pipeline.snapshot.ledger import Ledger
from tests.bench import made_pages, rivals
from tests.bench.figures import Figure, interleaved, medians

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
ORIGIN = Origin("acct.westeurope", "20261121T120000Z-0123abcd", AT)
Pools = Mapping[str, Sequence[bytes]]


def store(pools: Pools, folder: Path, threads: int = 2) -> None:
    """The whole page path: a snapshot of these pages in a lake of its own, committed."""
    redactor = Redactor()
    with Lake(folder).writer(ORIGIN.snapshot_id, ORIGIN.account) as writer:

        def listing(pool: tuple[str, Sequence[bytes]]) -> None:
            flattener = NodeFlattener(ORIGIN, pool[0], redactor)
            for body in pool[1]:
                writer.write(flattener.page(body, AT)[0])

        with ThreadPoolExecutor(threads) as workers:
            list(workers.map(listing, pools.items()))
        ledger = Ledger(ORIGIN, AT, "live", "account")
        ledger.status = ledger.pool_listing = "complete"
        ledger.rows = dict(writer.rows)
        writer.commit(ledger.table(AT))


def facts(folder: Path) -> list[rivals.Fact]:
    """The same facts as the rivals', from the files of the lake."""
    columns = ["node_id", "state", "total_tasks_run", "allocation_time", "image_exact_version"]
    nodes = _rows(folder, "nodes", columns)
    found: list[rivals.Fact] = [
        (node_id, -1, state, run, rivals.microseconds(at), image)
        for node_id, state, run, at, image in nodes
    ]
    columns = ["start_task_id", "command_line", "max_task_retry_count", "wait_for_success"]
    started = {key: rest for key, *rest in set(_rows(folder, "start_tasks", columns))}
    found += [
        (node_id, -2, *started[task])
        for node_id, task in _rows(folder, "nodes", ["node_id", "start_task_id"])
    ]
    found += [
        (node_id, position - rivals.ERRORS, *rest)
        for node_id, position, *rest in _rows(
            folder, "node_errors", ["node_id", "position", "code", "message"]
        )
    ]
    columns = ["node_id", "position", "task_id", "exit_code", "end_time", "failure_code"]
    found += [
        (*key, rivals.microseconds(end), code or "")
        for *key, end, code in _rows(folder, "recent_tasks", columns)
    ]
    return sorted(found)


def _rows(folder: Path, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
    (path,) = (folder / "landing" / table).rglob("*.parquet")
    read = pq.read_table(path, columns=columns, partitioning=None)
    return list(zip(*(read[name].to_pylist() for name in columns), strict=True))


class Contender:
    """A way from pages to facts: run it, look at what it made."""

    def __init__(
        self, run: Callable[[Path], Any], look: Callable[[Any], list[rivals.Fact]] | None
    ) -> None:
        self.run_in = run
        self.look = look

    def __call__(self) -> None:
        """One run, in a folder of its own."""
        with tempfile.TemporaryDirectory() as folder:
            self.run_in(Path(folder))

    def facts(self) -> list[rivals.Fact] | None:
        """What it makes of the pages; None where it makes nothing."""
        with tempfile.TemporaryDirectory() as folder:
            made = self.run_in(Path(folder))
            return None if self.look is None else self.look(made)


def ours(pools: Pools, threads: int = 2) -> Contender:
    """The page path as a contender."""

    def run(folder: Path) -> Path:
        store(pools, folder, threads)
        return folder

    return Contender(run, facts)


def contenders(pools: Pools) -> dict[str, Contender]:
    """Every rival that is installed."""
    pages = [body for pool in pools.values() for body in pool]
    all_of_them = {
        "orjson": Contender(lambda _: rivals.read_with_orjson(pages), None),
        "azure.batch": Contender(lambda _: rivals.read_with_sdk(pages), rivals.facts_of_sdk),
        "dlt": Contender(lambda folder: rivals.read_with_dlt(pages, folder), rivals.facts_of_dlt),
        "pandas": Contender(
            lambda folder: rivals.read_with_pandas(pages, folder), rivals.facts_of_pandas
        ),
    }
    return {name: each for name, each in all_of_them.items() if util.find_spec(name)}


def check_equal(pools: Pools) -> list[str]:
    """Holds what every contender makes of the pages to plain Python's reading; those it looked at."""
    expected = rivals.facts_of_values(body for pool in pools.values() for body in pool)
    looked_at = []
    for name, each in (contenders(pools) | {"nodelake": ours(pools)}).items():
        found = each.facts()
        if found is not None:
            assert expected == found, f"{name} makes something else of the pages"
            looked_at.append(name)
    return looked_at


def _without_redaction(stack: ExitStack) -> None:
    stack.enter_context(mock.patch.object(Redactor, "masks", return_value={}))


def _without_checks(stack: ExitStack) -> None:
    stack.enter_context(mock.patch.object(page_reader, "_holds_all", return_value=True))
    stack.enter_context(mock.patch.object(envelope, "check_utf8"))


def shares(pools: Pools, rounds: int) -> dict[str, float]:
    """What of the page path is redaction, and what the checks, each as a share of the whole.

    By processor time of one thread: the part is left out, and what is saved is its cost.
    """

    def lacking(part: Callable[[ExitStack], None]) -> Callable[[], None]:
        def run() -> None:
            with ExitStack() as stack:
                part(stack)
                ours(pools, 1)()

        return run

    seconds = medians(
        interleaved(
            {
                "whole": ours(pools, 1),
                "redaction": lacking(_without_redaction),
                "checks": lacking(_without_checks),
            },
            rounds,
            time.process_time,
        )
    )
    return {name: 1 - seconds[name] / seconds["whole"] for name in ("redaction", "checks")}


def _without_collector(contender: Callable[[], None]) -> Callable[[], None]:
    """The same with Python's garbage collector off."""

    def run() -> None:
        gc.disable()
        try:
            contender()
        finally:
            gc.enable()

    return run


def run(quick: bool) -> list[Figure]:
    """The page path against its rivals."""
    keep_memory()  # as the commands do
    pages, few, rounds = (2, 2, 1) if quick else (100, 20, 5)
    nodes = 20 if quick else made_pages.NODES_PER_PAGE
    pools = made_pages.pools(pages, nodes)
    # Two pools' worth, so that both threads have one.
    bodies = [body for pool in made_pages.pools(few, nodes).values() for body in pool]
    some = {"pool0": bodies[::2], "pool1": bodies[1::2]}
    check_equal(some)

    told = []
    rival = contenders(pools)["orjson"]
    both = {"nodelake": ours(pools), "orjson": rival, "orjson, gc off": _without_collector(rival)}
    wall = interleaved(both, rounds)
    cpu = interleaved(both, min(rounds, 3), time.process_time)
    details = {
        "pages": pages,
        "bytes": sum(len(body) for pool in pools.values() for body in pool),
        "seconds": wall,
        "processor_seconds": cpu,
    }
    name = "page bytes in memory → all tables, redacted, checked, Parquet, 2 threads:"
    clock, processor = medians(wall), medians(cpu)
    told += [
        Figure(
            f"{name} wall against `orjson.loads`, garbage collector off",
            clock["nodelake"] / clock["orjson, gc off"],
            1.0,
            "",
            details,
        ),
        Figure("the same, its garbage collector on", clock["nodelake"] / clock["orjson"]),
        Figure(
            "the same by processor time, garbage collector off",
            processor["nodelake"] / processor["orjson, gc off"],
        ),
        Figure(
            "the same by processor time, garbage collector on",
            processor["nodelake"] / processor["orjson"],
        ),
    ]
    for what, share in shares(some, 4 * rounds).items():  # they are small
        told.append(Figure(f"of the page path, {what}", share, None))
    for package, shown, limit in (
        ("azure.batch", "`azure-batch` `list_nodes`, all fields touched", 0.02),
        ("dlt", "dlt, dicts to Parquet", 0.05),
        ("pandas", "`pandas.json_normalize` to the same tables", 0.08),
    ):
        rivals_here = contenders(some)
        if package in rivals_here:
            pair = {"nodelake": ours(some), package: rivals_here[package]}
            seconds = interleaved(pair, min(rounds, 3))
            middle = medians(seconds)
            ratio = middle["nodelake"] / middle[package]
            told.append(Figure(f"the same against {shown}", ratio, limit, "", {"seconds": seconds}))
    return told
