-- question: Which states was one node seen in, and when?
-- grain:    incarnation (allocation_time) x state x state_transition_time
-- columns:  account, pool_id, node_id, allocation_time, state, state_transition_time,
--           first_observed_at, last_observed_at, snapshots, running_tasks, total_tasks_run, errors
-- param:    pool varchar = null: of this pool
-- param:    node varchar = null: this node
-- caveats:  The start of a state is exact. Its end lies between last_observed_at and the next row's
--           state_transition_time. Another allocation_time is another machine with the same id. A
--           state that began and ended between two snapshots is not seen.
select
    nodes.account,
    nodes.pool_id,
    nodes.node_id,
    nodes.allocation_time,
    nodes.state,
    nodes.state_transition_time,
    min(nodes.observed_at) as first_observed_at,
    max(nodes.observed_at) as last_observed_at,
    count(distinct nodes.snapshot_id) as snapshots,
    max(nodes.running_tasks_count) as running_tasks,
    max(nodes.total_tasks_run) as total_tasks_run,
    string_agg(distinct node_errors.code, ', ') as errors
from nodes
left join node_errors
    on node_errors.account = nodes.account
    and node_errors.snapshot_id = nodes.snapshot_id
    and node_errors.pool_id = nodes.pool_id
    and node_errors.node_id = nodes.node_id
where (cast($pool as varchar) is null or nodes.pool_id = cast($pool as varchar))
    and (cast($node as varchar) is null or nodes.node_id = cast($node as varchar))
    and not nodes.is_malformed
group by
    nodes.account,
    nodes.pool_id,
    nodes.node_id,
    nodes.allocation_time,
    nodes.state,
    nodes.state_transition_time
order by nodes.account, nodes.pool_id, nodes.node_id, first_observed_at;
