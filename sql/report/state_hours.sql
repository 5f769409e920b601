-- answers: how many node-hours each pool spent in each state, between two moments of a day
-- grain:   account x pool x vm_size x dedicated/spot x state
-- columns: account, pool_id, vm_size, is_dedicated, state, hours, certain_hours
-- param:   from timestamptz: the first moment
-- param:   to timestamptz: the last
-- param:   pool varchar = null: only this pool
-- traps:   Where a state changed over a gap of more than 15 minutes between listings, the time from
--          the last observation on stands under unobserved, as in node_hours. What lasts on counts
--          to its last observation.
with pieces as (
    select
        account,
        pool_id,
        vm_size,
        is_dedicated,
        state,
        state_transition_time as begins_at,
        coalesce(ended_after, last_observed_at) as ends_at,
        1 as is_certain
    from node_states
    where state_transition_time < cast($to as timestamptz)
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
    from node_states
    where ended_before is not null and ended_after < cast($to as timestamptz)
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
