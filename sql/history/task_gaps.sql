-- makes:   the listings of a node between which tasks completed that no listing showed as completed
-- grain:   wanted day x incarnation x after x before
-- columns: those of facts.TASK_GAPS, and date
-- merge:   max of missed; a gap that two days see is one gap. For an interrupted node the view
--          counts again, from rise
-- caveats: missed is the rise of totalTasksRun less the runs first seen completed between the two
--          listings. The total does not count attempts that were retried, or runs taken from a
--          node. A total that falls starts again. Tasks that completed before a node's first
--          listing are unknown. A row may have no missed runs: of a run that had ended before the
--          earlier listing another day may know that it was listed as completed before.
with totals as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        observed_at,
        total_tasks_run,
        lag(observed_at) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by observed_at, snapshot_id
        ) as observed_before,
        lag(total_tasks_run) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by observed_at, snapshot_id
        ) as total_before
    from made_observations
    where not is_malformed and total_tasks_run is not null
),
rises as (
    select * from totals where total_tasks_run > total_before
),
completed as (
    select
        rises.date,
        rises.account,
        rises.pool_id,
        rises.node_id,
        rises.allocation_time,
        rises.observed_at,
        count(*) as runs,
        count(*) filter (where runs.end_time is null or runs.end_time >= rises.observed_before)
            as timely_runs
    from rises
    join made_task_runs as runs
        on runs.date = rises.date
        and runs.account = rises.account
        and runs.pool_id = rises.pool_id
        and runs.node_id = rises.node_id
        and runs.allocation_time is not distinct from rises.allocation_time
        and runs.first_completed_at > rises.observed_before
        and runs.first_completed_at <= rises.observed_at
    group by
        rises.date, rises.account, rises.pool_id, rises.node_id, rises.allocation_time,
        rises.observed_at
)
select
    rises.date,
    rises.account,
    rises.pool_id,
    rises.node_id,
    rises.allocation_time,
    rises.observed_before as after,
    rises.observed_at as before,
    cast(rises.total_tasks_run - rises.total_before - coalesce(completed.runs, 0) as integer)
        as missed,
    cast(rises.total_tasks_run - rises.total_before as integer) as rise
from rises
left join completed
    on completed.date = rises.date
    and completed.account = rises.account
    and completed.pool_id = rises.pool_id
    and completed.node_id = rises.node_id
    and completed.allocation_time is not distinct from rises.allocation_time
    and completed.observed_at = rises.observed_at
where rises.total_tasks_run - rises.total_before > coalesce(completed.timely_runs, 0)
