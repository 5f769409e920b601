-- makes:   of the stays in node_stays those that are no ordinary work, a tenth of them
-- grain:   wanted day x incarnation x state x state_transition_time
-- columns: those of facts.NOTABLE_STAYS, and date
-- merge:   none: a stay is told by the day that listed it last, as in node_stays
-- traps:   Notable are stays in any state but idle and running (an unknown one too), those that
--          such a state ended, and those that lasted for twelve hours or more, for certain.
--          What node_stays tells once more this does too.
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    state,
    state_transition_time,
    last_observed_at,
    vm_size,
    is_dedicated,
    ended_after,
    ended_before,
    next_state
from made_node_stays
where state not in ('idle', 'running')
    or next_state not in ('idle', 'running')
    or ended_after - state_transition_time >= interval 12 hours
