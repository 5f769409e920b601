-- makes:   every task run that was seen to fail and whose last listing was in a day
-- grain:   wanted day x incarnation x job_id x task_id x subtask_id x start_time
-- columns: those of facts.TASK_FAILURES, and date
-- merge:   none: a run is told by the day that listed it last
-- traps:   As task_runs: failed is what the result says, or without one an exit code other than 0.
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
    failure_category,
    failure_code,
    failure_message,
    cast(
        md5_number_lower(concat(node_id, '@', cast(epoch_us(allocation_time) as varchar))) // 2
        as bigint
    ) as node_key
from made_task_runs
where cast(last_observed_at as date) = date
    and start_time is not null
    and end_time is not null
    and (result = 'failure' or (result is null and exit_code <> 0))
