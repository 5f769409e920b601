-- makes:   every state a node was listed in, from when to when, as the listings of a day show it
-- grain:   wanted day x incarnation x state x state_transition_time
-- columns: those of facts.NODE_STATES that are stored, and date
-- merge:   min of first_observed_at, max of last_observed_at, the last known vm_size and
--          is_dedicated; the view computes ended_after, ended_before and next_state again
-- caveats: The start is the service's own and exact. The end is known as far as the day's listings
--          show it.
with followed as (
    select
        *,
        lead(state) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as next_state,
        lead(state_transition_time) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as next_transition_time,
        lead(first_observed_at) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as next_observed_at
    from made_seen_states
),
-- rows that show the node without its state: few in most lakes
unknown as (
    select date, account, pool_id, node_id, allocation_time, observed_at
    from made_observations
    where not is_state_known
),
blurred as (
    select distinct
        followed.date,
        followed.account,
        followed.pool_id,
        followed.node_id,
        followed.allocation_time,
        followed.state,
        followed.state_transition_time
    from followed
    join unknown
        on unknown.date = followed.date
        and unknown.account = followed.account
        and unknown.pool_id = followed.pool_id
        and unknown.node_id = followed.node_id
        and unknown.allocation_time is not distinct from followed.allocation_time
        and unknown.observed_at > followed.last_observed_at
        and (
            followed.next_observed_at is null
            or unknown.observed_at < followed.next_observed_at
        )
),
ended as (
    select
        followed.*,
        greatest(
            followed.state_transition_time,
            coalesce(
                followed.next_transition_time,
                least(incarnations.absent_at, incarnations.replaced_at)
            )
        ) as ended_at,
        followed.next_transition_time is not null
            or incarnations.absent_at is not null
            or incarnations.replaced_at is not null as has_ended
    from followed
    left join made_seen_incarnations as incarnations
        on incarnations.date = followed.date
        and incarnations.account = followed.account
        and incarnations.pool_id = followed.pool_id
        and incarnations.node_id = followed.node_id
        and incarnations.allocation_time is not distinct from followed.allocation_time
),
bounded as (
    select
        ended.*,
        greatest(
            ended.state_transition_time,
            least(ended.last_observed_at, case when has_ended then ended_at end)
        ) as ended_after,
        case when has_ended then ended_at end as ended_before,
        blurred.date is not null as is_blurred,
        cast(ended.last_observed_at as date) = ended.date as is_last
    from ended
    left join blurred
        on blurred.date = ended.date
        and blurred.account = ended.account
        and blurred.pool_id = ended.pool_id
        and blurred.node_id = ended.node_id
        and blurred.allocation_time is not distinct from ended.allocation_time
        and blurred.state = ended.state
        and blurred.state_transition_time = ended.state_transition_time
)
select
    date,
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
    ended_after,
    ended_before,
    next_state,
    is_blurred,
    is_last,
    is_last
        and (
            state not in ('idle', 'running')
            or coalesce(next_state not in ('idle', 'running'), false)
            or ended_after - state_transition_time >= interval 12 hours
        ) as is_abnormal
from bounded
