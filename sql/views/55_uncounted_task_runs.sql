-- answers: ended task runs of interrupted nodes that no day counts, because no day knew that it was
--          the first to list them as ended
-- grain:   incarnation x job_id x task_id x subtask_id x start_time
-- columns: date (the first day that lists it as ended), the key, end_time, is_failed, failure_code,
--          failure_message
create or replace view uncounted_task_runs as
with counted as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        job_id,
        task_id,
        subtask_id,
        start_time,
        min(cast(first_completed_at as date)) as date
    from interrupted_task_runs
    group by
        account, pool_id, node_id, allocation_time, job_id, task_id, subtask_id, start_time
    having not bool_or(is_counted)
)
select
    counted.date,
    runs.account,
    runs.pool_id,
    runs.node_id,
    runs.allocation_time,
    runs.job_id,
    runs.task_id,
    runs.subtask_id,
    runs.start_time,
    runs.end_time,
    coalesce(runs.result = 'failure', false)
        or (runs.result is null and coalesce(runs.exit_code <> 0, false)) as is_failed,
    runs.exit_code,
    runs.failure_code,
    runs.failure_message
from counted
join whole_task_runs as runs
    on runs.account = counted.account
    and runs.pool_id = counted.pool_id
    and runs.node_id = counted.node_id
    and runs.allocation_time is not distinct from counted.allocation_time
    and runs.job_id is not distinct from counted.job_id
    and runs.task_id is not distinct from counted.task_id
    and runs.subtask_id is not distinct from counted.subtask_id
    and runs.start_time is not distinct from counted.start_time
where runs.end_time is not null;
