-- makes:   every task run that was seen to fail and that a day first listed as over
-- grain:   wanted day x incarnation x job_id x task_id x subtask_id x start_time
-- columns: those of facts.TASK_FAILURES, and date
-- merge:   none: a run is told by the day that first listed it as over
-- traps:   As task_runs: failed is what the result says, or without one an exit code other than 0.
with failures as (
    select *
    from made_task_runs
    where cast(first_completed_at as date) = date
        and start_time is not null
        and end_time is not null
        and (result = 'failure' or (result is null and exit_code <> 0))
),
by_node as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        cast(sum(ended_runs) as bigint) as ended_runs
    from made_node_jobs
    group by date, account, pool_id, node_id, allocation_time
)
select
    failures.date,
    failures.account,
    failures.pool_id,
    failures.node_id,
    failures.allocation_time,
    failures.job_id,
    failures.task_id,
    failures.subtask_id,
    failures.start_time,
    failures.end_time,
    failures.exit_code,
    failures.failure_category,
    failures.failure_code,
    failures.failure_message,
    node_jobs.ended_runs as job_runs,
    by_node.ended_runs as node_runs,
    node_jobs.incarnation_key
from failures
join made_node_jobs as node_jobs
    on node_jobs.date = failures.date
    and node_jobs.account = failures.account
    and node_jobs.pool_id = failures.pool_id
    and node_jobs.node_id = failures.node_id
    and node_jobs.allocation_time is not distinct from failures.allocation_time
    and node_jobs.job_id is not distinct from failures.job_id
join by_node
    on by_node.date = failures.date
    and by_node.account = failures.account
    and by_node.pool_id = failures.pool_id
    and by_node.node_id = failures.node_id
    and by_node.allocation_time is not distinct from failures.allocation_time
