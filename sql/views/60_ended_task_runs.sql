-- answers: every task run that ended, on the day that counts it
-- grain:   incarnation x job_id x task_id x subtask_id x start_time
-- columns: date (the day whose listing first showed that it had ended), the key, end_time, exit_code,
--          is_failed, failure_code, failure_message
-- caveats: A run failed if the result says so or, without a result, if the exit code is not 0. A
--          query for failures only does not read the other runs.
create or replace view ended_task_runs as
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    job_id,
    task_id,
    subtask_id,
    start_time,
    end_time,
    exit_code,
    is_failure as is_failed,
    failure_code,
    failure_message
from daily_task_runs
where is_counted and start_time is not null
union all
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    job_id,
    task_id,
    subtask_id,
    start_time,
    end_time,
    exit_code,
    is_failed,
    failure_code,
    failure_message
from uncounted_task_runs
where start_time is not null;
