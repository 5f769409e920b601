-- check:    Tasks, errors and start-task output whose node is missing from their snapshot
-- severity: fail
-- grain:    table x account x snapshot x pool x node
-- columns:  table_name, account, snapshot_id, pool_id, node_id, stored_rows
-- caveats:  Children of a node without a valid id carry no node id either and are left out.
with children as (
    select 'recent_tasks' as table_name, account, snapshot_id, pool_id, node_id from recent_tasks
    union all
    select 'node_errors' as table_name, account, snapshot_id, pool_id, node_id from node_errors
    union all
    select 'start_task_output' as table_name, account, snapshot_id, pool_id, node_id
    from start_task_output
)
select
    children.table_name,
    children.account,
    children.snapshot_id,
    children.pool_id,
    children.node_id,
    count(*) as stored_rows
from children
left join nodes
    on nodes.account = children.account
    and nodes.snapshot_id = children.snapshot_id
    and nodes.pool_id = children.pool_id
    and nodes.node_id = children.node_id
where children.node_id is not null and nodes.node_id is null
group by
    children.table_name,
    children.account,
    children.snapshot_id,
    children.pool_id,
    children.node_id
order by
    children.snapshot_id,
    children.table_name,
    children.account,
    children.pool_id,
    children.node_id;
