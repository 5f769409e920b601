-- makes:   how many task runs ended on each node, by job and failure code
-- grain:   wanted day x incarnation x job_id x is_failed x failure_code
-- columns: those of facts.TASK_OUTCOMES, and date
-- merge:   none: a run is counted by the day whose listing first showed that it had ended
-- caveats: As task_runs: for a task that was retried only the last attempt has an end. A run failed
--          if the result says so or, without a result, if the exit code is not 0.
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    job_id,
    is_failure as is_failed,
    case when is_failure then coalesce(failure_code, '') end as failure_code,
    count(*) as runs,
    min(end_time) as first_end_time,
    max(end_time) as last_end_time,
    max_by(failure_message, end_time) filter (where is_failure and failure_message is not null)
        as failure_message,
    max(end_time) filter (where is_failure and failure_message is not null) as last_message_at,
    cast(
        md5_number_lower(
            concat_ws(
                '/', account, pool_id, node_id, cast(epoch_us(allocation_time) as varchar)
            )
        ) // 2
        as bigint
    ) as incarnation_key
from made_task_runs
where is_counted and start_time is not null
group by
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    job_id,
    is_failure,
    case when is_failure then coalesce(failure_code, '') end
