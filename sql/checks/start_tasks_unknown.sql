-- check:    Nodes whose start task is not told
-- severity: fail
-- grain:    account x snapshot x pool x start task
-- columns:  account, snapshot_id, pool_id, start_task_id, nodes
-- caveats:  Each distinct start task of a pool's nodes stands once a snapshot in start_tasks.
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
