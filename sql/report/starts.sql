-- answers: the result of each run of a start task
-- grain:   account x pool x node x allocation_time x start_time
-- columns: account, pool_id, node_id, start_time, end_time, result, exit_code, failure_code,
--          failure_message
-- param:   from timestamptz: only runs that began at or after this moment
-- param:   to timestamptz: only runs that began before this moment
-- param:   pool varchar = null: only this pool
-- caveats: A retry is a run. Runs that began and ended between two listings were never seen.
select
    account,
    pool_id,
    node_id,
    start_time,
    end_time,
    result,
    exit_code,
    failure_code,
    failure_message
from start_task_runs
where start_time >= cast($from as timestamptz)
    and start_time < cast($to as timestamptz)
    and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
order by account, pool_id, node_id, start_time;
