-- check:    Totals of tasks that fell within one incarnation of a node
-- severity: fail
-- grain:    incarnation x observation
-- columns:  account, snapshot_id, pool_id, node_id, allocation_time, observed_at, tasks_run_before,
--           total_tasks_run, tasks_succeeded_before, total_tasks_succeeded
-- caveats:  The totals count from the allocation. A fall means that a node was mistaken for
--           another, or that times are out of order, as with an import whose --at is wrong. Rows
--           without an allocation time identify no incarnation and are left out.
with followed as (
    select
        account,
        snapshot_id,
        pool_id,
        node_id,
        allocation_time,
        observed_at,
        total_tasks_run,
        total_tasks_succeeded,
        lag(total_tasks_run) over (
            partition by account, pool_id, node_id, allocation_time
            order by observed_at, snapshot_id
        ) as tasks_run_before,
        lag(total_tasks_succeeded) over (
            partition by account, pool_id, node_id, allocation_time
            order by observed_at, snapshot_id
        ) as tasks_succeeded_before
    from nodes
    where allocation_time is not null and total_tasks_run is not null
)
select
    account,
    snapshot_id,
    pool_id,
    node_id,
    allocation_time,
    observed_at,
    tasks_run_before,
    total_tasks_run,
    tasks_succeeded_before,
    total_tasks_succeeded
from followed
where total_tasks_run < tasks_run_before or total_tasks_succeeded < tasks_succeeded_before
order by observed_at, account, pool_id, node_id;
