-- question: Why do start tasks fail, how often, and on how many nodes?
-- grain:    pool x cause (failure code, exit code)
-- columns:  account, pool_id, failure_code, exit_code, runs, nodes, first_start_time,
--           last_start_time, message
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only runs that began at or after this moment
-- param:    to timestamptz = null: only runs that began before this moment
-- traps:    A run is (node, allocation, start time): one that was seen in many snapshots counts
--           once, a retry is a run of its own. A run that began and ended between two snapshots
--           was never seen. nodes counts ids: another machine under the same id is no node more. Of
--           how many runs these failed, start_task_failure_rate tells.
select
    account,
    pool_id,
    failure_code,
    exit_code,
    count(*) as runs,
    count(distinct node_id) as nodes,
    min(start_time) as first_start_time,
    max(start_time) as last_start_time,
    max_by(failure_message, start_time) as message
from start_task_ends
where result = 'failure'
    and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
    and (cast($from as timestamptz) is null or start_time >= cast($from as timestamptz))
    and (cast($to as timestamptz) is null or start_time < cast($to as timestamptz))
group by account, pool_id, failure_code, exit_code
order by runs desc, account, pool_id, failure_code, exit_code;
