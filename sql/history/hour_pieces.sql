-- makes:   the time of every node in each state, in pieces, as the listings of a day show it
-- grain:   wanted day x incarnation x state x is_certain
-- columns: date, account, pool_id, vm_size, is_dedicated, state, begins_at, ends_at, is_certain
-- caveats: A piece may begin before the day, end after it, or be empty. Where a state changed, or
--          the node went, over a gap of more than 15 minutes between two listings, or over rows
--          that show no state, the time since its last observation has the state unobserved. So has
--          the time from a node's allocation to its first observed state, whatever its length; all
--          time of a node that never showed a state; and the time that rows without a state prove
--          after the last state. A state that starts before the preceding one is given the start of
--          the preceding one.
with incarnations as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        first_observed_at,
        last_observed_at,
        vm_size,
        is_dedicated,
        absent_at,
        -- the id has a later allocation: this node had gone by then
        min(allocation_time) over (
            partition by date, account, pool_id, node_id
            order by first_observed_at, last_observed_at
            rows between 1 following and unbounded following
        ) as next_allocation_time,
        lead(first_observed_at) over (
            partition by date, account, pool_id, node_id
            order by first_observed_at, last_observed_at
        ) as replacement_observed_at
    from made_node_incarnations
),
starts as (
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
        is_blurred,
        max(state_transition_time) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
            rows between unbounded preceding and current row
        ) as started_at
    from made_node_states
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
        incarnations.date,
        incarnations.account,
        incarnations.pool_id,
        incarnations.allocation_time,
        incarnations.first_observed_at as listed_at,
        incarnations.vm_size,
        incarnations.is_dedicated,
        followed.state,
        followed.started_at,
        followed.last_observed_at,
        coalesce(followed.number, 1) as number,
        coalesce(followed.is_blurred, true) as is_blurred,
        coalesce(
            followed.next_started_at,
            least(
                incarnations.absent_at,
                case
                    when incarnations.next_allocation_time > incarnations.first_observed_at
                        then incarnations.next_allocation_time
                end
            ),
            -- it lasts longer: a row without a state still shows that the node was present
            case
                when followed.state is null
                    or incarnations.last_observed_at > followed.last_observed_at
                    then incarnations.last_observed_at
            end
        ) as ended_at,
        coalesce(
            followed.next_observed_at,
            least(incarnations.absent_at, incarnations.replacement_observed_at)
        ) as missed_at
    from incarnations
    left join followed
        on followed.date = incarnations.date
        and followed.account = incarnations.account
        and followed.pool_id = incarnations.pool_id
        and followed.node_id = incarnations.node_id
        and followed.allocation_time is not distinct from incarnations.allocation_time
)
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
where state is not null
union all
select
    date,
    account,
    pool_id,
    vm_size,
    is_dedicated,
    case
        when is_blurred
            or missed_at is null
            or date_diff('microsecond', last_observed_at, missed_at) > 900000000
            then 'unobserved'
        else state
    end as state,
    greatest(started_at, last_observed_at) as begins_at,
    ended_at as ends_at,
    0 as is_certain
from ended
where state is not null and ended_at is not null
union all
-- up to the node's first observed state, or all of its time where no listing showed one
select
    date,
    account,
    pool_id,
    vm_size,
    is_dedicated,
    'unobserved' as state,
    coalesce(allocation_time, listed_at) as begins_at,
    coalesce(started_at, ended_at) as ends_at,
    0 as is_certain
from ended
where number = 1
