-- check:    Start tasks that ended before they began
-- severity: fail
-- grain:    account x snapshot x pool x node
-- columns:  account, snapshot_id, pool_id, node_id, start_task_start_time, start_task_end_time
-- caveats:  Both times are the service's own, from the most recent run.
select account, snapshot_id, pool_id, node_id, start_task_start_time, start_task_end_time
from nodes
where start_task_end_time < start_task_start_time
order by snapshot_id, account, pool_id, node_id;
