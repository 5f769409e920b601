-- answers: which state each node was in, from when to when, by the rules of node_hours
-- grain:   account x pool x node x allocation_time x state x state_transition_time x is_certain
-- columns: account, pool_id, node_id, allocation_time, vm_size, is_dedicated, state,
--          state_transition_time, last_observed_at, begins_at, ends_at, is_certain
-- param:   from timestamptz: only what had not ended before this moment
-- param:   to timestamptz: only what began before this moment
-- param:   pool varchar = null: only this pool
-- caveats: The other files of this folder read these rows as report_pieces. A state lasts until the
--          next observed one began; is_certain is 1 up to its last observation and 0 after it.
--          Where the state changed, or the node went, between two listings more than 15 minutes
--          apart, the uncertain time has the state unobserved. So has the time from an allocation
--          to the first observed state, with a null state_transition_time. Nothing is clipped to
--          the range.
with days as (
    select *
    from daily_node_states
    where date >= cast(cast($from as timestamptz) as date)
        and date <= cast(cast($to as timestamptz) - interval 1 microsecond as date)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
),
merged as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        state,
        state_transition_time,
        min(first_observed_at) as first_observed_at,
        max(last_observed_at) as last_observed_at,
        max_by(vm_size, last_observed_at) as vm_size,
        max_by(is_dedicated, last_observed_at) as is_dedicated
    from days
    group by account, pool_id, node_id, allocation_time, state, state_transition_time
),
starts as (
    select
        *,
        max(state_transition_time) over (
            partition by account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
            rows between unbounded preceding and current row
        ) as started_at
    from merged
),
incarnation_days as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        absent_at,
        min(first_observed_at) over (
            partition by account, pool_id, node_id, allocation_time
        ) as first_observed_at,
        last_observed_at,
        row_number() over (
            partition by account, pool_id, node_id, allocation_time
            order by last_observed_at desc, date desc
        ) as place
    from daily_node_incarnations
    where date >= cast(cast($from as timestamptz) as date)
        and date <= cast(cast($to as timestamptz) - interval 1 microsecond as date)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
),
incarnations as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        absent_at,
        -- the id has a later allocation: this node had gone by then
        min(allocation_time) over (
            partition by account, pool_id, node_id
            order by first_observed_at, last_observed_at
            rows between 1 following and unbounded following
        ) as replaced_at,
        lead(first_observed_at) over (
            partition by account, pool_id, node_id
            order by first_observed_at, last_observed_at
        ) as replacement_observed_at
    from incarnation_days
    where place = 1
),
followed as (
    select
        *,
        lead(started_at) over (
            partition by account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as next_started_at,
        lead(first_observed_at) over (
            partition by account, pool_id, node_id, allocation_time
            order by first_observed_at, state_transition_time, state
        ) as next_observed_at,
        row_number() over (
            partition by account, pool_id, node_id, allocation_time
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
        on incarnations.account = followed.account
        and incarnations.pool_id = followed.pool_id
        and incarnations.node_id = followed.node_id
        and incarnations.allocation_time is not distinct from followed.allocation_time
),
pieces as (
    select
        *,
        started_at as begins_at,
        least(last_observed_at, ended_at) as ends_at,
        1 as is_certain
    from ended
    union all
    select
        * replace (
            case
                when date_diff('microsecond', last_observed_at, missed_at) > 900000000
                    then 'unobserved'
                else state
            end as state
        ),
        greatest(started_at, last_observed_at) as begins_at,
        ended_at as ends_at,
        0 as is_certain
    from ended
    where ended_at is not null
    union all
    select
        * replace ('unobserved' as state, cast(null as timestamptz) as state_transition_time),
        allocation_time as begins_at,
        started_at as ends_at,
        0 as is_certain
    from ended
    where number = 1 and allocation_time is not null
)
select
    account,
    pool_id,
    node_id,
    allocation_time,
    vm_size,
    is_dedicated,
    state,
    state_transition_time,
    last_observed_at,
    begins_at,
    ends_at,
    is_certain
from pieces
where ends_at >= begins_at
    and ends_at >= cast($from as timestamptz)
    and begins_at < cast($to as timestamptz);
