-- question: Which nodes report errors now, and which?
-- grain:    node x error
-- columns:  account, pool_id, node_id, state, state_transition_time, code, message, age_seconds
-- param:    pool varchar = null: only this pool
-- caveats:  A node's errors are current, not past. An unusable node without errors (the service
--           cannot reach the machine) is listed with an empty code.
select
    nodes_latest.account,
    nodes_latest.pool_id,
    nodes_latest.node_id,
    nodes_latest.state,
    nodes_latest.state_transition_time,
    node_errors.code,
    node_errors.message,
    nodes_latest.age_seconds
from nodes_latest
left join node_errors
    on node_errors.account = nodes_latest.account
    and node_errors.snapshot_id = nodes_latest.snapshot_id
    and node_errors.pool_id = nodes_latest.pool_id
    and node_errors.node_id = nodes_latest.node_id
where (node_errors.node_id is not null or nodes_latest.state = 'unusable')
    and (cast($pool as varchar) is null or nodes_latest.pool_id = cast($pool as varchar))
order by nodes_latest.account, nodes_latest.pool_id, nodes_latest.node_id, node_errors.position;
