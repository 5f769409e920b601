-- check:    States that began before their node was allocated, or after the node was listed in them
-- severity: fail
-- grain:    account x snapshot x pool x node
-- columns:  what, account, snapshot_id, pool_id, node_id, state, state_transition_time,
--           allocation_time, observed_at
-- caveats:  The service's times may differ from its Date header by 2 seconds. The observed_at of an
--           import is its --at: one that is too early appears here.
select
    case
        when state_transition_time < allocation_time then 'began before its allocation'
        else 'began after it was seen'
    end as what,
    account,
    snapshot_id,
    pool_id,
    node_id,
    state,
    state_transition_time,
    allocation_time,
    observed_at
from nodes
where state_transition_time < allocation_time
    or epoch(state_transition_time) > epoch(observed_at) + 2
order by snapshot_id, account, pool_id, node_id;
