-- answers: every attempt at a task that a listing of its node showed
-- grain:   incarnation x job_id x task_id x subtask_id x start_time
-- columns: those of facts.TASK_RUNS
-- caveats: A retry is a separate run; only the last attempt at a task shows an end_time. A row
--          without start_time is provisional: it disappears once the task is listed there with a
--          start.
create or replace view task_runs as
with followed as (
    select
        *,
        max(case when start_time is not null then last_observed_at end) over (
            partition by account, pool_id, node_id, allocation_time, job_id, task_id, subtask_id
        ) as begun_observed_at
    from merged_task_runs
)
select
    account,
    pool_id,
    node_id,
    allocation_time,
    job_id,
    task_id,
    subtask_id,
    start_time,
    first_observed_at,
    last_observed_at,
    first_completed_at,
    task_state,
    end_time,
    exit_code,
    result,
    failure_category,
    failure_code,
    failure_message,
    container_state,
    container_error,
    retry_count,
    requeue_count,
    vm_size,
    is_dedicated,
    start_time is null as is_provisional
from followed
where start_time is not null
    or begun_observed_at is null
    or begun_observed_at < last_observed_at;
