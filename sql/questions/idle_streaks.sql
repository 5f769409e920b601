-- question: Which nodes idled longest at a stretch, when, and what did that cost?
-- grain:    incarnation (allocation_time) x stretch of idle time
-- columns:  account, pool_id, node_id, allocation_time, vm_size, is_dedicated, started_at,
--           ended_after, ended_before, idle_hours, is_idle_still, idle_cost, currency
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only idle time from this moment on
-- param:    to timestamptz = null: only idle time before this moment
-- param:    hours double = 1: at least this many hours at a stretch
-- param:    rows bigint = 1000: maximum number of rows, the longest first
-- caveats:  A stretch starts exactly when the service says. It lasted at least to ended_after, its
--           last listing, and had ended by ended_before (null while it goes on). idle_hours counts
--           up to ended_after, within from and to: a lower bound. A task that began and ended
--           between two listings also ends a stretch, because the service then reports another
--           start.
with long_intervals as (
    select
        *,
        (
            epoch(least(ended_after, coalesce(cast($to as timestamptz), ended_after)))
            - epoch(
                greatest(
                    state_transition_time,
                    coalesce(cast($from as timestamptz), state_transition_time)
                )
            )
        ) / 3600 as idle_hours
    from state_intervals
    where is_abnormal
        and state = 'idle'
        and (epoch(ended_after) - epoch(state_transition_time)) / 3600 >= 12
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or ended_after > cast($from as timestamptz))
        and (cast($to as timestamptz) is null or state_transition_time < cast($to as timestamptz))
),
-- is_abnormal covers stretches of twelve hours or more: others are read where these are too few
short_intervals as (
    select
        *,
        (
            epoch(least(ended_after, coalesce(cast($to as timestamptz), ended_after)))
            - epoch(
                greatest(
                    state_transition_time,
                    coalesce(cast($from as timestamptz), state_transition_time)
                )
            )
        ) / 3600 as idle_hours
    from state_intervals
    where cast($hours as double) < 12
        and (select count(*) from long_intervals where idle_hours >= 12) < cast($rows as bigint)
        and state = 'idle'
        and (epoch(ended_after) - epoch(state_transition_time)) / 3600 < 12
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or ended_after > cast($from as timestamptz))
        and (cast($to as timestamptz) is null or state_transition_time < cast($to as timestamptz))
),
streaks as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        vm_size,
        is_dedicated,
        state_transition_time as started_at,
        ended_after,
        ended_before,
        idle_hours
    from long_intervals
    union all
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        vm_size,
        is_dedicated,
        state_transition_time as started_at,
        ended_after,
        ended_before,
        idle_hours
    from short_intervals
),
longest as (
    select *
    from streaks
    where idle_hours >= cast($hours as double)
    order by idle_hours desc, account, pool_id, node_id, started_at
    limit cast($rows as bigint)
)
select
    longest.account,
    longest.pool_id,
    longest.node_id,
    longest.allocation_time,
    longest.vm_size,
    longest.is_dedicated,
    longest.started_at,
    longest.ended_after,
    longest.ended_before,
    longest.idle_hours,
    longest.ended_before is null as is_idle_still,
    longest.idle_hours * prices.price_per_hour as idle_cost,
    prices.currency
from longest
left join prices
    on prices.vm_size = lower(longest.vm_size)
    and prices.is_dedicated = longest.is_dedicated
order by idle_hours desc, account, pool_id, node_id, started_at
limit cast($rows as bigint);
