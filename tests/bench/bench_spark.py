"""One machine and a cluster: the same SQL over 1 to 100 million rows of history, on DuckDB and Spark.

``python -m tests.bench spark``. Both have this machine's cores: DuckDB as threads, Spark as a
standalone cluster of one master and two workers. Rows are those of ``history/node_states``, a million
a day, read as plain Hive-partitioned Parquet; answers are compared before anything is timed. They are
written once, to ``NODELAKE_BENCH_DATA`` where that is set (1 GB), and found there again.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet

from pipeline import spark
from pipeline.schema import NODE_STATES as STATES
from pipeline.schema.facts import NODE_STATES
from pipeline.spark import translate
from tests.bench.figures import Figure, interleaved, medians
from tests.spark.cluster import cluster

IS_LONG = True
ROWS_A_DAY = 1_000_000
DAYS, QUICK_DAYS = (1, 10, 100), (1, 2)
ROUNDS = {1: 5, 2: 1, 10: 3, 100: 1}

#: Node-hours by pool and state: all rows, few groups. And how long each node was idle, as shares of
#: the nodes: all rows, 50,000 groups, then over those.
QUESTIONS = {
    "hours by pool and state": """
        select pool_id, state, count(*) as states,
            sum(epoch(last_observed_at) - epoch(state_transition_time)) / 3600 as hours
        from node_states
        where date < cast($before as date)
        group by pool_id, state
        order by pool_id, state
    """,
    "idle hours of each node": """
        with nodes as (
            select account, pool_id, node_id, allocation_time,
                sum(epoch(last_observed_at) - epoch(state_transition_time)) / 3600 as idle_hours
            from node_states
            where state = 'idle' and date < cast($before as date)
            group by account, pool_id, node_id, allocation_time
        )
        select pool_id, count(*) as nodes, sum(idle_hours) as idle_hours,
            percentile_cont(0.5) within group (order by idle_hours) as median_hours,
            max(idle_hours) as longest_hours
        from nodes
        group by pool_id
        order by pool_id
    """,
}


def make(folder: Path, days: int) -> None:
    """Writes the days that are not there: 50,000 nodes, 20 states each."""
    states = ", ".join(f"'{state}'" for state in STATES)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        for number in range(days):
            day = f"{connection.sql(f'select date $$2026-01-01$$ + {number}').fetchall()[0][0]}"
            path = folder / f"date={day}" / "fleet.westeurope.parquet"
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            query = f"""
                select 'fleet.westeurope' as account,
                    'pool-' || lpad(cast(i // 20000 as varchar), 2, '0') as pool_id,
                    'tvmps_' || md5(cast(i // 20 as varchar)) || '_d' as node_id,
                    timestamptz '2025-12-01 00:00:00+00' + to_minutes(i // 20 % 1000)
                        as allocation_time,
                    [{states}][1 + cast(hash(i, {number}) % {len(STATES)} as integer)] as state,
                    started as state_transition_time,
                    started + to_seconds(cast(hash(i) % 300 as integer)) as first_observed_at,
                    started + to_seconds(cast(300 + hash(i + {number}) % 4000 as integer))
                        as last_observed_at,
                    'standard_d4s_v5' as vm_size,
                    i // 20 % 3 <> 0 as is_dedicated
                from (
                    select i, timestamptz '{day} 00:00:00+00'
                        + to_seconds(cast(i % 20 * 4320 + hash(i, 7) % 600 as integer)) as started
                    from range({ROWS_A_DAY}) as numbers (i)
                )
            """
            staging = path.with_suffix(".staging")
            connection.execute(f"copy ({query}) to '{staging}' (format parquet, codec zstd)")
            staging.rename(path)
    stored = pa.parquet.read_schema(path).names
    assert stored == NODE_STATES.schema.names, stored


def same(ours: pa.Table, theirs: pa.Table) -> bool:
    """Whether two answers in one order are the same, floats to 1e-9 of themselves."""
    for mine, other in zip(ours.to_pylist(), theirs.to_pylist(), strict=True):
        for name, value in mine.items():
            its = other[name]
            is_near = isinstance(value, float) and abs(value - its) <= 1e-9 * abs(value)
            if not is_near and value != its:
                return False
    return ours.num_rows > 0


def run(quick: bool) -> list[Figure]:
    """Seconds of each question on each engine, and Spark's over DuckDB's."""
    all_days = QUICK_DAYS if quick else DAYS
    given = os.environ.get("NODELAKE_BENCH_DATA")
    figures: list[Figure] = []
    with ExitStack() as held:
        folder = Path(given or held.enter_context(tempfile.TemporaryDirectory())) / "node_states"
        make(folder, max(all_days))
        duck = held.enter_context(duckdb.connect())
        duck.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        duck.execute(
            f"create view node_states as from read_parquet('{folder}/*/*.parquet', "
            "hive_partitioning = true, hive_types = {'date': date})"
        )
        work = Path(held.enter_context(tempfile.TemporaryDirectory()))
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        master = held.enter_context(cluster(work, workers=2, cores=1, memory="2g"))
        session = spark.start(master, {"spark.executor.memory": "2g"})
        held.callback(session.stop)
        session.read.parquet(f"file://{folder}").createOrReplaceTempView("node_states")
        for days in all_days:
            for name, text in QUESTIONS.items():
                told = translate.to_spark(translate.parse(text))
                before = {
                    "before": str(duck.sql(f"select date '2026-01-01' + {days}").fetchall()[0][0])
                }

                def by_duckdb(text: str = text, given: dict[str, str] = before) -> pa.Table:
                    return duck.sql(text, params=given).to_arrow_table()

                def by_spark(told: str = told, given: dict[str, str] = before) -> pa.Table:
                    return session.sql(told, args=given).toArrow()

                figures += timed(name, days, by_duckdb, by_spark)
    return figures


def timed(
    name: str, days: int, by_duckdb: Callable[[], pa.Table], by_spark: Callable[[], pa.Table]
) -> list[Figure]:
    """The figures of one question over so many days: answered once by both, then timed."""
    begun = time.perf_counter()
    assert same(by_duckdb(), by_spark()), f"{name}: the engines do not agree"
    first = time.perf_counter() - begun
    seconds = interleaved({"duckdb": by_duckdb, "spark": by_spark}, ROUNDS[days])
    middle = medians(seconds)
    millions = days * ROWS_A_DAY // 1_000_000
    title = f"{name}, {millions} million rows of history"
    details = {"seconds": seconds, "first_of_both_seconds": first}
    return [
        Figure(f"{title}: DuckDB", middle["duckdb"], unit="s", details=details),
        Figure(f"{title}: Spark 4, two workers", middle["spark"], unit="s"),
        Figure(f"{title}: Spark over DuckDB", middle["spark"] / middle["duckdb"]),
    ]
