-- question: How often are spot nodes preempted, after how long, and when are they back?
-- grain:    pool x vm_size (spot nodes only)
-- columns:  account, pool_id, vm_size, node_hours, preemptions, nodes_preempted,
--           preemptions_per_node_hour, p50_hours_to_preempt, recovered, p50_minutes_to_recover,
--           p95_minutes_to_recover
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only preemptions at or after this moment
-- param:    to timestamptz = null: only preemptions before this moment
-- caveats:  node_hours are the hours in which a spot node was watched, from its first to its last
--           listing, and had a machine (preempted and deallocated time carries no risk). A
--           preemption that ended before the next listing was not seen; one that began before the
--           node was first listed is left out. Hours to preempt count from the node's allocation,
--           or from when it was created again after the previous preemption (the time before the
--           first listing is not known). They leave out nodes that were never preempted; the rate
--           includes these. Minutes to recover count from the preemption to the first idle or
--           running state that a listing showed, so they are too long by less than the time between
--           listings. They leave out nodes that left without recovering.
with begun as (
    select incarnation_key, first_observed_at, is_dedicated
    from node_startups
    where is_dedicated is distinct from true
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
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
        and (cast($pool as varchar) is null or node_lifetimes.pool_id = cast($pool as varchar))
        and (
            cast($from as timestamptz) is null
            or node_lifetimes.last_observed_at >= cast($from as timestamptz)
        )
        and (
            cast($to as timestamptz) is null
            or begun.first_observed_at < cast($to as timestamptz)
        )
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
),
-- each node with each of its absences, or one row without an absence
followed as (
    select
        spot.account,
        spot.pool_id,
        spot.vm_size,
        coalesce(away.number, 1) = 1 as is_first_row,
        away.number is not null as is_away,
        greatest(
            spot.first_observed_at, coalesce(cast($from as timestamptz), spot.first_observed_at)
        ) as begins_at,
        least(spot.last_observed_at, coalesce(cast($to as timestamptz), spot.last_observed_at))
            as ends_at,
        away.ended_at,
        coalesce(
            away.state = 'preempted'
            and away.state_transition_time >= spot.first_observed_at
            and (
                cast($from as timestamptz) is null
                or away.state_transition_time >= cast($from as timestamptz)
            )
            and (
                cast($to as timestamptz) is null
                or away.state_transition_time < cast($to as timestamptz)
            ),
            false
        ) as is_preemption,
        away.preempted_before_at is null
            or away.preempted_before_at < spot.first_observed_at
            or coalesce(away.preempted_before_at < cast($from as timestamptz), false)
            as is_nodes_first,
        away.state_transition_time,
        coalesce(away.created_at, away.allocation_time) as created_at,
        away.recovered_at
    from spot
    left join away on away.incarnation_key = spot.incarnation_key
),
summed as (
    select
        account,
        pool_id,
        vm_size,
        sum(
            case
                when is_first_row and ends_at > begins_at
                    then epoch(ends_at) - epoch(begins_at)
                else 0
            end
        ) as watched_seconds,
        sum(
            case
                when is_away and least(ended_at, ends_at) > greatest(state_transition_time, begins_at)
                    then epoch(least(ended_at, ends_at))
                        - epoch(greatest(state_transition_time, begins_at))
                else 0
            end
        ) as away_seconds,
        count(*) filter (where is_preemption) as preemptions,
        count(*) filter (where is_preemption and is_nodes_first) as nodes_preempted,
        percentile_cont(0.5) within group (
            order by (epoch(state_transition_time) - epoch(created_at)) / 3600
        ) filter (where is_preemption) as p50_hours_to_preempt,
        count(recovered_at) filter (where is_preemption) as recovered,
        percentile_cont(0.5) within group (
            order by (epoch(recovered_at) - epoch(state_transition_time)) / 60
        ) filter (where is_preemption) as p50_minutes_to_recover,
        percentile_cont(0.95) within group (
            order by (epoch(recovered_at) - epoch(state_transition_time)) / 60
        ) filter (where is_preemption) as p95_minutes_to_recover
    from followed
    group by account, pool_id, vm_size
)
select
    account,
    pool_id,
    vm_size,
    (watched_seconds - away_seconds) / 3600 as node_hours,
    preemptions,
    nodes_preempted,
    preemptions * 3600 / nullif(watched_seconds - away_seconds, 0) as preemptions_per_node_hour,
    p50_hours_to_preempt,
    recovered,
    p50_minutes_to_recover,
    p95_minutes_to_recover
from summed
where watched_seconds > 0
order by preemptions_per_node_hour desc nulls last, account, pool_id, vm_size;
