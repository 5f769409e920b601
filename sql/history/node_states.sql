-- makes:   every state a node was listed in, as the listings of a day show it
-- grain:   wanted day x incarnation x state x state_transition_time
-- columns: those of facts.NODE_STATES that are stored, and date
-- merge:   min of first_observed_at, max of last_observed_at, the rest last by last_observed_at
-- traps:   The start is the service's own and exact. Where it ended only the view tells: that takes
--          the states of other days.
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
