-- answers: how many node-hours each pool spent in each state, between two moments of a day
-- grain:   account x pool x vm_size x dedicated/spot x state
-- columns: account, pool_id, vm_size, is_dedicated, state, hours, certain_hours
-- param:   from timestamptz: the first moment
-- param:   to timestamptz: the last
-- param:   pool varchar = null: only this pool
-- traps:   Where a state ended more than 15 minutes after its last observation, the time from
--          that on stands under unobserved; so does the time from an allocation to the first
--          observed state. Where the next listing came late but the next state began soon,
--          node_hours has as unobserved what is the earlier state's here: certain hours, and all
--          hours together, are the same. What lasts on counts to its last observation.
with stays as (
    -- a node that was absent for a while may be told twice
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        state,
        state_transition_time,
        max(vm_size) as vm_size,
        max(is_dedicated) as is_dedicated,
        max(last_observed_at) as last_observed_at,
        max(ended_after) as ended_after,
        max(ended_before) as ended_before
    from node_stays
    where date >= cast(cast($from as timestamptz) as date)
        and (
            state_transition_time < cast($to as timestamptz)
            or (
                allocation_time >= cast($from as timestamptz)
                and allocation_time < cast($to as timestamptz)
            )
        )
    group by account, pool_id, node_id, allocation_time, state, state_transition_time
),
pieces as (
    select
        account,
        pool_id,
        vm_size,
        is_dedicated,
        state,
        state_transition_time as begins_at,
        coalesce(ended_after, last_observed_at) as ends_at,
        1 as is_certain
    from stays
    union all
    select
        account,
        pool_id,
        vm_size,
        is_dedicated,
        case
            when epoch(ended_before) - epoch(ended_after) > 900 then 'unobserved'
            else state
        end as state,
        ended_after as begins_at,
        ended_before as ends_at,
        0 as is_certain
    from stays
    where ended_before is not null and ended_after < cast($to as timestamptz)
    union all
    select
        account,
        pool_id,
        min_by(vm_size, state_transition_time) as vm_size,
        min_by(is_dedicated, state_transition_time) as is_dedicated,
        'unobserved' as state,
        allocation_time as begins_at,
        min(state_transition_time) as ends_at,
        0 as is_certain
    from stays
    where allocation_time is not null
    group by account, pool_id, node_id, allocation_time
),
clipped as (
    select
        account,
        pool_id,
        vm_size,
        is_dedicated,
        state,
        is_certain,
        (
            epoch(least(ends_at, cast($to as timestamptz)))
            - epoch(greatest(begins_at, cast($from as timestamptz)))
        ) / 3600 as hours
    from pieces
    where ends_at > cast($from as timestamptz)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
)
select
    account,
    pool_id,
    vm_size,
    is_dedicated,
    state,
    sum(hours) as hours,
    coalesce(sum(hours) filter (where is_certain = 1), 0.0) as certain_hours
from clipped
where hours > 0
group by account, pool_id, vm_size, is_dedicated, state
order by account, pool_id, vm_size, is_dedicated, state;
