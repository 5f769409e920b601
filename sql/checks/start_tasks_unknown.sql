-- check:    Nodes whose start task is missing from start_tasks
-- severity: fail
-- grain:    account x snapshot x pool x start task
-- columns:  account, snapshot_id, pool_id, start_task_id, nodes
-- caveats:  start_tasks has one row for each distinct start task of a pool's nodes in a snapshot.
select nodes.account, nodes.snapshot_id, nodes.pool_id, nodes.start_task_id, count(*) as nodes
from nodes
left join start_tasks
    on start_tasks.account = nodes.account
    and start_tasks.snapshot_id = nodes.snapshot_id
    and start_tasks.pool_id = nodes.pool_id
    and start_tasks.start_task_id = nodes.start_task_id
where nodes.start_task_id is not null and start_tasks.start_task_id is null
group by nodes.account, nodes.snapshot_id, nodes.pool_id, nodes.start_task_id
order by nodes.snapshot_id, nodes.account, nodes.pool_id, nodes.start_task_id;
