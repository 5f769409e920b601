-- check:    States that ended before they began
-- severity: fail
-- grain:    incarnation x state x state_transition_time
-- columns:  account, pool_id, node_id, allocation_time, state, state_transition_time, ended_after,
--           ended_before
-- caveats:  This checks the facts of history, not rows: closed days are read as they were built.
select
    account,
    pool_id,
    node_id,
    allocation_time,
    state,
    state_transition_time,
    ended_after,
    ended_before
from node_states
where ended_after < state_transition_time
    or ended_before < state_transition_time
    or ended_before < ended_after
order by account, pool_id, node_id, state_transition_time;
