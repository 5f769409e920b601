-- check:    Tasks that ended before they began
-- severity: fail
-- grain:    account x snapshot x pool x node x task
-- columns:  account, snapshot_id, pool_id, node_id, job_id, task_id, start_time, end_time
-- caveats:  Both times are the service's own. A task that never began has no start.
select account, snapshot_id, pool_id, node_id, job_id, task_id, start_time, end_time
from recent_tasks
where end_time < start_time
order by snapshot_id, account, pool_id, node_id, job_id, task_id;
