-- question: Which nodes idled longest at a stretch, when, and what did that cost?
-- grain:    incarnation (allocation_time) x stretch of idle time
-- columns:  account, pool_id, node_id, allocation_time, vm_size, is_dedicated, started_at,
--           ended_after, ended_before, idle_hours, is_idle_still, idle_cost, currency
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only idle time from this moment on
-- param:    to timestamptz = null: only idle time before this moment
-- param:    hours double = 1: at least so many hours at a stretch
-- param:    rows bigint = 1000: the longest so many
-- traps:    A stretch starts exactly when the service says and lasted at least to ended_after, its
--           last listing; it was over by ended_before (null while it goes on). idle_hours are those
--           to ended_after, within from and to: a lower bound. A task that came and went between two
--           listings ends a stretch too, as the service then tells another start.
with long_stays as (
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
    from notable_stays
    where state = 'idle'
        and (epoch(ended_after) - epoch(state_transition_time)) / 3600 >= 12
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or ended_after > cast($from as timestamptz))
        and (cast($to as timestamptz) is null or state_transition_time < cast($to as timestamptz))
),
-- notable_stays has all of twelve hours or more: the others are looked at where those are too few
short_stays as (
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
    from node_stays
    where cast($hours as double) < 12
        and (select count(*) from long_stays where idle_hours >= 12) < 2 * cast($rows as bigint)
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
    from long_stays
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
    from short_stays
),
longest as (
    select *
    from streaks
    where idle_hours >= cast($hours as double)
    order by idle_hours desc, account, pool_id, node_id, started_at
    limit 2 * cast($rows as bigint)
),
-- told once more where the node was absent and came back in the same stretch
placed as (
    select
        *,
        row_number() over (
            partition by account, pool_id, node_id, allocation_time, started_at
            order by idle_hours desc, ended_after desc
        ) as place
    from longest
)
select
    placed.account,
    placed.pool_id,
    placed.node_id,
    placed.allocation_time,
    placed.vm_size,
    placed.is_dedicated,
    placed.started_at,
    placed.ended_after,
    placed.ended_before,
    placed.idle_hours,
    placed.ended_before is null as is_idle_still,
    placed.idle_hours * prices.price_per_hour as idle_cost,
    prices.currency
from placed
left join prices
    on prices.vm_size = lower(placed.vm_size)
    and prices.is_dedicated = placed.is_dedicated
where placed.place = 1
order by idle_hours desc, account, pool_id, node_id, started_at
limit cast($rows as bigint);
