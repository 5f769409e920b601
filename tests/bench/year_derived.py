"""Facts of a day that the project's own SQL makes from others of that day, once their truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

import duckdb
import pyarrow as pa

from pipeline.query.sql_files import sql_directory
from pipeline.schema import facts

#: Nothing is ever out of sight in the year: no row lacks its state, and no node is interrupted.
_INPUTS = """
create view made_observations as
select date, account, pool_id, node_id, allocation_time, first_observed_at as observed_at,
    true as is_state_known
from made_seen_states where false;
create table made_seen_incarnations as
select *,
    case when next_allocation_time > first_observed_at then next_allocation_time end as replaced_at,
    false as is_interrupted
from (
    select *,
        min(allocation_time) over (
            partition by account, pool_id, node_id order by first_observed_at, last_observed_at
            rows between 1 following and unbounded following
        ) as next_allocation_time
    from told_node_incarnations
);
create table made_late_nodes as
select date, account, pool_id, node_id, allocation_time from made_seen_incarnations where false;
create table made_task_runs as
select * replace (
    coalesce(end_time is not null and cast(first_completed_at as date) = date, false) as is_counted,
    coalesce(cast(first_completed_at as date) = date and result = 'failure', false) as is_failure
)
from told_task_runs;
create table made_start_task_runs as
select * replace (
    cast(last_observed_at as date) = date as is_last,
    cast(first_observed_at as date) = date as is_first,
    lead(start_time) over (
        partition by account, pool_id, node_id, allocation_time order by start_time
    ) as next_start_time
)
from told_start_task_runs;
create table made_pool_hours as
with tasks as (
    select account, pool_id, date_trunc('hour', end_time) as hour, count(*) as finished,
        count(*) filter (where is_failure) as failed
    from made_task_runs
    where is_counted
    group by all
)
select told.* replace (
    coalesce(told.account, tasks.account) as account,
    coalesce(told.pool_id, tasks.pool_id) as pool_id,
    coalesce(told.hour, tasks.hour) as hour,
    coalesce(told.listings, 0) as listings,
    coalesce(tasks.finished, 0) as tasks_finished,
    coalesce(tasks.failed, 0) as tasks_failed
)
from told_pool_hours as told
full join tasks
    on tasks.account = told.account and tasks.pool_id = told.pool_id and tasks.hour = told.hour;
"""
#: What the truth says of a node beside what days have in common.
_TOLD = ("first_total_at", "first_total", "last_total_at", "first_readable_at", "last_readable_at")
#: Facts that the truth gives whole.
_WHOLE = (
    "node_config_intervals",
    "task_gaps",
    "node_boots",
    "node_error_episodes",
    "pool_error_episodes",
)
_STEPS = ("node_states", "node_incarnations", "hour_pieces", "node_hours", "task_outcomes")


def finished(day: date, told: Mapping[str, pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """Every fact of a day, as a compaction writes it, from what its truth says."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set threads = 1")
        for name, table in told.items():
            connection.register(f"table_{name}", table)
            view = f"told_{name}"
            if name == "node_states":
                view = "made_seen_states"
            elif name in _WHOLE:
                view = f"made_{name}"
            columns = "*"
            if name in ("node_states", "node_incarnations"):
                kept = facts.FACTS[name].named("key", "min", "max", "known", "last")
                columns = ", ".join([*kept, *(_TOLD if name == "node_incarnations" else ())])
            connection.execute(
                f"create view {view} as select date '{day}' as date, {columns} from table_{name}"
            )
        for statement in _INPUTS.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        for name in _STEPS:
            source = (sql_directory() / "history" / f"{name}.sql").read_text()
            connection.execute(f"create table made_{name} as {source}")
        for name, fact in facts.FACTS.items():
            rows = connection.sql(f"from made_{name} order by {fact.order}")
            yield name, rows.to_arrow_table().select(fact.schema.names).cast(fact.schema)
