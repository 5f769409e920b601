-- answers: every task run that ended, on the day that counts it
-- grain:   incarnation x job_id x task_id x subtask_id x start_time
-- columns: date (the day whose listing first showed that it had ended), the key, end_time, exit_code,
--          is_failed, failure_code, failure_message
-- caveats: Failed is what the result says, or without one an exit code other than 0. Where only
--          failures are asked for, the others are not read.
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
