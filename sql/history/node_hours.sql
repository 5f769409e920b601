-- makes:   hours of nodes in each state of a day
-- grain:   wanted day x account x pool x vm_size x is_dedicated x state
-- columns: those of facts.NODE_HOURS, and date
-- merge:   none: every row is of its day, clipped to it, so days add up
-- traps:   A state is taken to last until the next observed one began; certain_hours end with its
--          last observation. Where it changed, or the node went, over a gap of more than 15 minutes
--          between two listings, the time from the last observation on stands under unobserved; so
--          does the time from a node's allocation to its first observed state, whatever its length:
--          no listing showed what it was in then. A state that lasts on counts to its last
--          observation. A start before that of the state before is taken to be as late as that.
with starts as (
    select
        *,
        max(state_transition_time) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
            rows between unbounded preceding and current row
        ) as started_at
    from made_node_states
),
incarnations as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        absent_at,
        -- another one under the same id: this one had gone when that one was allocated
        min(allocation_time) over (
            partition by date, account, pool_id, node_id
            order by first_observed_at, last_observed_at
            rows between 1 following and unbounded following
        ) as replaced_at,
        lead(first_observed_at) over (
            partition by date, account, pool_id, node_id
            order by first_observed_at, last_observed_at
        ) as replacement_observed_at
    from made_node_incarnations
),
followed as (
    select
        *,
        lead(started_at) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as next_started_at,
        lead(first_observed_at) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as next_observed_at,
        row_number() over (
            partition by date, account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as number
    from starts
),
ended as (
    select
        followed.*,
        coalesce(
            followed.next_started_at,
            least(
                incarnations.absent_at,
                case
                    when incarnations.replaced_at > followed.started_at
                        then incarnations.replaced_at
                end
            )
        ) as ended_at,
        coalesce(
            followed.next_observed_at,
            least(incarnations.absent_at, incarnations.replacement_observed_at)
        ) as missed_at
    from followed
    join incarnations
        on incarnations.date = followed.date
        and incarnations.account = followed.account
        and incarnations.pool_id = followed.pool_id
        and incarnations.node_id = followed.node_id
        and incarnations.allocation_time is not distinct from followed.allocation_time
),
pieces as (
    select
        date,
        account,
        pool_id,
        vm_size,
        is_dedicated,
        state,
        started_at as begins_at,
        least(last_observed_at, ended_at) as ends_at,
        1 as is_certain
    from ended
    union all
    select
        date,
        account,
        pool_id,
        vm_size,
        is_dedicated,
        case
            when date_diff('microsecond', last_observed_at, missed_at) > 900000000
                then 'unobserved'
            else state
        end as state,
        greatest(started_at, last_observed_at) as begins_at,
        ended_at as ends_at,
        0 as is_certain
    from ended
    where ended_at is not null
    union all
    select
        date,
        account,
        pool_id,
        vm_size,
        is_dedicated,
        'unobserved' as state,
        allocation_time as begins_at,
        started_at as ends_at,
        0 as is_certain
    from ended
    where number = 1 and allocation_time is not null
),
clipped as (
    select
        date,
        account,
        pool_id,
        vm_size,
        is_dedicated,
        state,
        is_certain,
        date_diff(
            'microsecond',
            greatest(begins_at, cast(date as timestamptz)),
            least(ends_at, cast(date as timestamptz) + interval 1 day)
        ) / 3600000000.0 as hours
    from pieces
)
select
    date,
    account,
    pool_id,
    vm_size,
    is_dedicated,
    state,
    sum(hours) as hours,
    coalesce(sum(hours) filter (where is_certain = 1), 0.0) as certain_hours
from clipped
where hours > 0
group by date, account, pool_id, vm_size, is_dedicated, state
