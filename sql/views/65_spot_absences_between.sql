-- answers: spot nodes with each of their absences (preempted, deallocated) between two moments
-- grain:   absence of a spot node; one row of each node without one
-- columns: account, pool_id, vm_size, is_first_row (one of each node), watched_from and
--          watched_until (first and last listing within the moments), away_at and back_at (null
--          without an absence), created_at (before the absence), recovered_at, is_preemption
--          (one that began within the moments), is_nodes_first (of the node's preemptions there)
-- caveats: from begins on, before ends; either may be null. of_pool is null: of every pool.
create or replace macro spot_absences_between(of_pool, begins, ends) as table
with begun as (
    select incarnation_key, first_observed_at, is_dedicated
    from node_startups
    where is_dedicated is distinct from true and (of_pool is null or pool_id = of_pool)
),
spot as (
    select
        node_lifetimes.account,
        node_lifetimes.pool_id,
        node_lifetimes.node_id,
        node_lifetimes.allocation_time,
        node_lifetimes.incarnation_key,
        node_lifetimes.vm_size,
        begun.first_observed_at,
        node_lifetimes.last_observed_at
    from node_lifetimes
    join begun on begun.incarnation_key = node_lifetimes.incarnation_key
    where not coalesce(node_lifetimes.is_dedicated, begun.is_dedicated)
        and (of_pool is null or node_lifetimes.pool_id = of_pool)
        and (begins is null or node_lifetimes.last_observed_at >= begins)
        and (ends is null or begun.first_observed_at < ends)
),
-- states of spot nodes other than idle and running, and when the node returned to those
troubled as (
    select
        spot.incarnation_key,
        intervals.allocation_time,
        intervals.state,
        intervals.state_transition_time,
        intervals.last_observed_at,
        coalesce(intervals.ended_before, intervals.ended_after) as ended_at,
        intervals.ended_before,
        min(case when intervals.next_state in ('idle', 'running') then intervals.ended_before end)
            over (
                partition by spot.incarnation_key
                order by intervals.state_transition_time, intervals.last_observed_at
                rows between current row and unbounded following
            ) as recovered_at
    from state_intervals as intervals
    join spot
        on spot.account = intervals.account
        and spot.pool_id = intervals.pool_id
        and spot.node_id = intervals.node_id
        and spot.allocation_time is not distinct from intervals.allocation_time
    where intervals.is_abnormal and intervals.state not in ('idle', 'running')
),
away as (
    select
        *,
        row_number() over (
            partition by incarnation_key order by state_transition_time, last_observed_at
        ) as number,
        max(case when state = 'preempted' then ended_before end) over (
            partition by incarnation_key
            order by state_transition_time, last_observed_at
            rows between unbounded preceding and 1 preceding
        ) as created_at,
        max(case when state = 'preempted' then state_transition_time end) over (
            partition by incarnation_key
            order by state_transition_time, last_observed_at
            rows between unbounded preceding and 1 preceding
        ) as preempted_before_at
    from troubled
    where state in ('preempted', 'deallocated')
)
select
    spot.account,
    spot.pool_id,
    spot.vm_size,
    coalesce(away.number, 1) = 1 as is_first_row,
    greatest(spot.first_observed_at, coalesce(begins, spot.first_observed_at)) as watched_from,
    least(spot.last_observed_at, coalesce(ends, spot.last_observed_at)) as watched_until,
    away.state_transition_time as away_at,
    away.ended_at as back_at,
    coalesce(away.created_at, away.allocation_time) as created_at,
    away.recovered_at,
    coalesce(
        away.state = 'preempted'
        and away.state_transition_time >= spot.first_observed_at
        and (begins is null or away.state_transition_time >= begins)
        and (ends is null or away.state_transition_time < ends),
        false
    ) as is_preemption,
    away.preempted_before_at is null
        or away.preempted_before_at < spot.first_observed_at
        or coalesce(away.preempted_before_at < begins, false)
        as is_nodes_first
from spot
left join away on away.incarnation_key = spot.incarnation_key;
