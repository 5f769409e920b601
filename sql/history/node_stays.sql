-- makes:   every stay of a node in a state whose last listing was in a day, from when to when
-- grain:   wanted day x incarnation x state x state_transition_time
-- columns: those of facts.NODE_STAYS, and date
-- merge:   none: a stay is told by the day that listed it last. Those that a later day lists again
--          are not told by this one, so no days have to be joined
-- traps:   The start is exact; the end lies between ended_after and ended_before (null where it is
--          not known to have ended), as in the view node_states. A day sees two complete listings
--          after it, so what came next is told. A node that was absent from those and is listed
--          again later, in the same stay, has it told once more.
with incarnations as (
    select
        *,
        min(allocation_time) over (
            partition by date, account, pool_id, node_id
            order by first_observed_at, last_observed_at
            rows between 1 following and unbounded following
        ) as next_allocation_time
    from made_node_incarnations
),
followed as (
    select
        *,
        lead(state) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as next_state,
        lead(state_transition_time) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as next_transition_time
    from made_node_states
),
ended as (
    select
        followed.*,
        greatest(
            followed.state_transition_time,
            coalesce(
                followed.next_transition_time,
                least(
                    incarnations.absent_at,
                    case
                        when incarnations.next_allocation_time > incarnations.first_observed_at
                            then incarnations.next_allocation_time
                    end
                )
            )
        ) as ended_at,
        followed.next_transition_time is not null
            or incarnations.absent_at is not null
            or coalesce(incarnations.next_allocation_time > incarnations.first_observed_at, false)
            as has_ended
    from followed
    left join incarnations
        on incarnations.date = followed.date
        and incarnations.account = followed.account
        and incarnations.pool_id = followed.pool_id
        and incarnations.node_id = followed.node_id
        and incarnations.allocation_time is not distinct from followed.allocation_time
)
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
    greatest(
        state_transition_time,
        least(last_observed_at, case when has_ended then ended_at end)
    ) as ended_after,
    case when has_ended then ended_at end as ended_before,
    next_state
from ended
where cast(last_observed_at as date) = date
