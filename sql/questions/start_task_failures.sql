-- question: Why do start tasks fail, how often, and on how many nodes?
-- grain:    pool x cause (failure code, exit code)
-- columns:  account, pool_id, failure_code, exit_code, runs, nodes, first_start_time,
--           last_start_time, message
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only runs that began at or after this moment
-- param:    to timestamptz = null: only runs that began before this moment
-- traps:    A run is (node, allocation, start time): one that was seen in many snapshots counts
--           once, a retry is a run of its own. A run that began and ended between two snapshots
--           was never seen.
with runs as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        start_task_start_time,
        max_by(start_task_failure_code, observed_at) as failure_code,
        max_by(start_task_exit_code, observed_at) as exit_code,
        max_by(start_task_failure_message, observed_at) as message
    from nodes
    where start_task_result = 'failure'
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or start_task_start_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or start_task_start_time < cast($to as timestamptz))
    group by account, pool_id, node_id, allocation_time, start_task_start_time
)
select
    account,
    pool_id,
    failure_code,
    exit_code,
    count(*) as runs,
    count(distinct node_id) as nodes,
    min(start_task_start_time) as first_start_time,
    max(start_task_start_time) as last_start_time,
    max_by(message, start_task_start_time) as message
from runs
group by account, pool_id, failure_code, exit_code
order by runs desc, account, pool_id, failure_code, exit_code;
