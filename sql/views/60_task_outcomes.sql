-- answers: how many task runs of each job ended on each node, and how
-- grain:   date x incarnation x job_id x is_failed x failure_code
-- columns: date, and those of facts.TASK_OUTCOMES
-- caveats: A node that was interrupted may have two rows with one key: add up runs.
create or replace view task_outcomes as
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    job_id,
    is_failed,
    failure_code,
    runs,
    first_end_time,
    last_end_time,
    failure_message,
    last_message_at,
    incarnation_key
from daily_task_outcomes
union all
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    job_id,
    is_failed,
    case when is_failed then coalesce(failure_code, '') end as failure_code,
    count(*) as runs,
    min(end_time) as first_end_time,
    max(end_time) as last_end_time,
    max_by(failure_message, end_time) filter (where is_failed and failure_message is not null)
        as failure_message,
    max(end_time) filter (where is_failed and failure_message is not null) as last_message_at,
    cast(
        md5_number_lower(
            concat_ws(
                '/', account, pool_id, node_id, cast(epoch_us(allocation_time) as varchar)
            )
        ) // 2
        as bigint
    ) as incarnation_key
from uncounted_task_runs
where start_time is not null
group by
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    job_id,
    is_failed,
    case when is_failed then coalesce(failure_code, '') end;
