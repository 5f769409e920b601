-- answers: the listings of a node between which tasks completed that no listing showed as completed
-- grain:   incarnation x after x before
-- columns: those of facts.TASK_GAPS
-- caveats: As task_gaps in sql/history. For interrupted nodes the totals of one day are also
--          compared with those of the next day that has any, and runs count by the first listing of
--          all days that showed them completed.
create or replace view task_gaps as
with totals as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        first_total_at as before,
        first_total,
        lag(last_total_at) over (
            partition by account, pool_id, node_id, allocation_time order by date
        ) as after,
        lag(total_tasks_run) over (
            partition by account, pool_id, node_id, allocation_time order by date
        ) as total_before
    from interrupted_node_incarnations
    where first_total_at is not null
),
rises as (
    select account, pool_id, node_id, allocation_time, after, before,
        cast(first_total - total_before as integer) as rise
    from totals
    where before > after and first_total > total_before
    union
    select account, pool_id, node_id, allocation_time, after, before, rise
    from interrupted_task_gaps
),
completed as (
    select
        rises.account,
        rises.pool_id,
        rises.node_id,
        rises.allocation_time,
        rises.before,
        count(*) as runs
    from rises
    join whole_task_runs as runs
        on runs.account = rises.account
        and runs.pool_id = rises.pool_id
        and runs.node_id = rises.node_id
        and runs.allocation_time is not distinct from rises.allocation_time
        and runs.first_completed_at > rises.after
        and runs.first_completed_at <= rises.before
    group by rises.account, rises.pool_id, rises.node_id, rises.allocation_time, rises.before
)
select account, pool_id, node_id, allocation_time, after, before, missed
from merged_task_gaps as merged
where missed > 0
    and not exists (
        select 1
        from interrupted_nodes
        where interrupted_nodes.account = merged.account
            and interrupted_nodes.pool_id = merged.pool_id
            and interrupted_nodes.node_id = merged.node_id
            and interrupted_nodes.allocation_time is not distinct from merged.allocation_time
    )
union all
select
    rises.account,
    rises.pool_id,
    rises.node_id,
    rises.allocation_time,
    rises.after,
    rises.before,
    cast(rises.rise - coalesce(completed.runs, 0) as integer) as missed
from rises
left join completed
    on completed.account = rises.account
    and completed.pool_id = rises.pool_id
    and completed.node_id = rises.node_id
    and completed.allocation_time is not distinct from rises.allocation_time
    and completed.before = rises.before
where rises.rise > coalesce(completed.runs, 0);
