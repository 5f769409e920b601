-- makes:   every state a node was listed in, as the listings of a day show it
-- grain:   wanted day x incarnation x state x state_transition_time
-- columns: date, the key, first_observed_at, last_observed_at, vm_size, is_dedicated
-- caveats: The start is the service's own and exact.
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    state,
    state_transition_time,
    min(observed_at) as first_observed_at,
    max(observed_at) as last_observed_at,
    max_by(vm_size, observed_at) filter (where vm_size is not null) as vm_size,
    max_by(is_dedicated, observed_at) filter (where is_dedicated is not null) as is_dedicated
from made_observations
where is_state_known
group by date, account, pool_id, node_id, allocation_time, state, state_transition_time
