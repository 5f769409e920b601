-- question: How often are spot nodes preempted, after how long, and when are they back?
-- grain:    pool x vm_size (spot nodes only)
-- columns:  account, pool_id, vm_size, node_hours, preemptions, nodes_preempted,
--           preemptions_per_node_hour, p50_hours_to_preempt, recovered, p50_minutes_to_recover,
--           p95_minutes_to_recover
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only preemptions at or after this moment
-- param:    to timestamptz = null: only preemptions before this moment
-- traps:    node_hours are those during which a spot node was watched, from its first to its last
--           listing, and held a machine (preempted and deallocated time is no risk). A preemption
--           that was over before the next listing was not seen; one that began before the node was
--           first listed is left out. Hours to preempt count from the node's allocation, or from
--           when it was created anew after the preemption before (what happened before the first
--           listing is not known); nodes that never were preempted are not in it, the rate has
--           them. Minutes to recover last from the preemption to the
--           first idle or running state that a listing showed, so they are too long by less than
--           the time between listings; nodes that left without coming back are not in it.
with watched_nodes as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        max_by(vm_size, last_observed_at) as vm_size,
        min(first_observed_at) as first_observed_at,
        max(last_observed_at) as last_observed_at
    from daily_node_incarnations
    where not is_dedicated
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
    group by allocation_time, node_id, pool_id, account
),
spot as (
    select account, pool_id, node_id, allocation_time, vm_size, first_observed_at, last_observed_at
    from watched_nodes
    where (cast($from as timestamptz) is null or last_observed_at >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or first_observed_at < cast($to as timestamptz))
),
absences as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        state,
        state_transition_time,
        last_observed_at,
        ended_after,
        ended_before,
        recovered_at,
        -- told once more where the node was absent and came back in the same state
        row_number() over (
            partition by state_transition_time, node_id, allocation_time, pool_id, account, state
            order by last_observed_at desc
        ) as place
    from spot_absences
    where state in ('preempted', 'deallocated')
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
),
-- what its day did not know of a node's recovery, a later one may
recoveries as (
    select
        absences.account,
        absences.pool_id,
        absences.node_id,
        absences.allocation_time,
        absences.state_transition_time,
        min(spot_absences.ended_before) as recovered_at
    from absences
    join spot_absences
        on spot_absences.account = absences.account
        and spot_absences.pool_id = absences.pool_id
        and spot_absences.node_id = absences.node_id
        and spot_absences.allocation_time is not distinct from absences.allocation_time
        and spot_absences.state_transition_time >= absences.state_transition_time
    where absences.recovered_at is null and spot_absences.next_state in ('idle', 'running')
    group by
        absences.account,
        absences.pool_id,
        absences.node_id,
        absences.allocation_time,
        absences.state_transition_time
),
followed as (
    select
        absences.account,
        absences.pool_id,
        absences.node_id,
        absences.allocation_time,
        absences.state,
        absences.state_transition_time,
        coalesce(absences.ended_before, absences.ended_after) as ended_at,
        coalesce(absences.recovered_at, recoveries.recovered_at) as recovered_at,
        max(case when absences.state = 'preempted' then absences.ended_before end) over (
            partition by
                absences.allocation_time, absences.node_id, absences.pool_id, absences.account
            order by absences.state_transition_time, absences.last_observed_at
            rows between unbounded preceding and 1 preceding
        ) as created_at,
        max(case when absences.state = 'preempted' then absences.state_transition_time end) over (
            partition by
                absences.allocation_time, absences.node_id, absences.pool_id, absences.account
            order by absences.state_transition_time, absences.last_observed_at
            rows between unbounded preceding and 1 preceding
        ) as preempted_before_at
    from absences
    left join recoveries
        on absences.recovered_at is null
        and recoveries.account = absences.account
        and recoveries.pool_id = absences.pool_id
        and recoveries.node_id = absences.node_id
        and recoveries.allocation_time is not distinct from absences.allocation_time
        and recoveries.state_transition_time = absences.state_transition_time
    where absences.place = 1
),
away as (
    select followed.*, spot.vm_size, spot.first_observed_at, spot.last_observed_at
    from followed
    join spot
        on spot.account = followed.account
        and spot.pool_id = followed.pool_id
        and spot.node_id = followed.node_id
        and spot.allocation_time is not distinct from followed.allocation_time
    where followed.state in ('preempted', 'deallocated')
),
pieces as (
    select account, pool_id, vm_size, first_observed_at as begins_at, last_observed_at as ends_at,
        1 as sign
    from spot
    union all
    select
        account,
        pool_id,
        vm_size,
        greatest(state_transition_time, first_observed_at) as begins_at,
        least(ended_at, last_observed_at) as ends_at,
        -1 as sign
    from away
),
clipped as (
    select
        account,
        pool_id,
        vm_size,
        sign,
        greatest(begins_at, coalesce(cast($from as timestamptz), begins_at)) as begins_at,
        least(ends_at, coalesce(cast($to as timestamptz), ends_at)) as ends_at
    from pieces
),
watched as (
    select
        account,
        pool_id,
        vm_size,
        sum(sign * (epoch(ends_at) - epoch(begins_at))) / 3600 as node_hours
    from clipped
    where ends_at > begins_at
    group by account, pool_id, vm_size
),
preempted as (
    select
        account,
        pool_id,
        vm_size,
        count(*) as preemptions,
        count(*) filter (
            where preempted_before_at is null
                or preempted_before_at < first_observed_at
                or preempted_before_at < cast($from as timestamptz)
        ) as nodes_preempted,
        percentile_cont(0.5) within group (
            order by (
                epoch(state_transition_time) - epoch(coalesce(created_at, allocation_time))
            ) / 3600
        ) as p50_hours_to_preempt,
        count(recovered_at) as recovered,
        percentile_cont(0.5) within group (
            order by (epoch(recovered_at) - epoch(state_transition_time)) / 60
        ) as p50_minutes_to_recover,
        percentile_cont(0.95) within group (
            order by (epoch(recovered_at) - epoch(state_transition_time)) / 60
        ) as p95_minutes_to_recover
    from away
    where state = 'preempted'
        and state_transition_time >= first_observed_at
        and (
            cast($from as timestamptz) is null
            or state_transition_time >= cast($from as timestamptz)
        )
        and (cast($to as timestamptz) is null or state_transition_time < cast($to as timestamptz))
    group by account, pool_id, vm_size
)
select
    watched.account,
    watched.pool_id,
    watched.vm_size,
    watched.node_hours,
    coalesce(preempted.preemptions, 0) as preemptions,
    coalesce(preempted.nodes_preempted, 0) as nodes_preempted,
    coalesce(preempted.preemptions, 0) / nullif(watched.node_hours, 0) as preemptions_per_node_hour,
    preempted.p50_hours_to_preempt,
    coalesce(preempted.recovered, 0) as recovered,
    preempted.p50_minutes_to_recover,
    preempted.p95_minutes_to_recover
from watched
left join preempted
    on preempted.account = watched.account
    and preempted.pool_id = watched.pool_id
    and preempted.vm_size is not distinct from watched.vm_size
order by preemptions_per_node_hour desc nulls last, account, pool_id, vm_size;
