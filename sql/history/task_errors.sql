-- makes:   which failures the task runs of a pool had that ended on a day
-- grain:   wanted day x account x pool x failure code
-- columns: those of facts.TASK_ERRORS, and date
-- merge:   none: a run counts on the day it ended
-- traps:   As task_failures: failed is what the result says, or without one an exit code other than 0.
--          failed_runs add up over days, failed_nodes do not. Failures without a code are ''.
with failures as (
    select
        date,
        account,
        pool_id,
        coalesce(failure_code, '') as failure_code,
        node_id,
        allocation_time,
        end_time,
        failure_message
    from made_task_runs
    where cast(end_time as date) = date
        and start_time is not null
        and (result = 'failure' or (result is null and exit_code <> 0))
),
by_node as (
    select
        date,
        account,
        pool_id,
        failure_code,
        count(*) as failed_runs,
        min(end_time) as first_end_time,
        max(end_time) as last_end_time,
        max_by(failure_message, end_time) filter (where failure_message is not null)
            as failure_message,
        max(end_time) filter (where failure_message is not null) as told_at
    from failures
    group by date, account, pool_id, failure_code, node_id, allocation_time
)
select
    date,
    account,
    pool_id,
    failure_code,
    cast(sum(failed_runs) as bigint) as failed_runs,
    count(*) as failed_nodes,
    min(first_end_time) as first_end_time,
    max(last_end_time) as last_end_time,
    max_by(failure_message, told_at) filter (where failure_message is not null) as failure_message
from by_node
group by date, account, pool_id, failure_code
