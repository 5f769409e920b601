-- answers: every state a node was listed in, from when to when
-- grain:   incarnation x state x state_transition_time
-- columns: those of facts.NODE_STATES
-- caveats: The start is exact. The end lies between ended_after and ended_before (null where the
--          state is not known to have ended). States that began and ended between two listings are
--          missing. The service's times and its Date header may differ by 2 seconds: a state that
--          would end before it began ends when it began.
create or replace view node_states as
with followed as (
    select
        *,
        lead(state) over (
            partition by account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as next_state,
        lead(state_transition_time) over (
            partition by account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as next_transition_time
    from merged_node_states
),
ended as (
    select
        followed.*,
        greatest(
            followed.state_transition_time,
            coalesce(followed.next_transition_time, node_incarnations.ended_before)
        ) as ended_at,
        followed.next_transition_time is not null
            or node_incarnations.ended_before is not null as has_ended
    from followed
    left join node_incarnations
        on node_incarnations.account = followed.account
        and node_incarnations.pool_id = followed.pool_id
        and node_incarnations.node_id = followed.node_id
        and node_incarnations.allocation_time is not distinct from followed.allocation_time
)
select
    account,
    pool_id,
    node_id,
    allocation_time,
    state,
    state_transition_time,
    first_observed_at,
    last_observed_at,
    vm_size,
    is_dedicated,
    greatest(
        state_transition_time,
        least(last_observed_at, case when has_ended then ended_at end)
    ) as ended_after,
    case when has_ended then ended_at end as ended_before,
    next_state
from ended;
