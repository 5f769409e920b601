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
-- a node is told by the day that listed it first, and once more where it was absent and came back;
-- and by the one that listed it last
with begun as (
    select
        incarnation_key,
        min(first_observed_at) as first_observed_at,
        bool_and(is_dedicated) as is_dedicated
    from node_starts
    where cast(first_observed_at as date) = date
        and is_dedicated is distinct from true
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
    group by incarnation_key
),
spot as (
    select
        node_lives.account,
        node_lives.pool_id,
        node_lives.incarnation_key,
        node_lives.vm_size,
        begun.first_observed_at,
        node_lives.last_observed_at
    from node_lives
    join begun on begun.incarnation_key = node_lives.incarnation_key
    where not coalesce(node_lives.is_dedicated, begun.is_dedicated)
        and (cast($pool as varchar) is null or node_lives.pool_id = cast($pool as varchar))
        and (
            cast($from as timestamptz) is null
            or node_lives.last_observed_at >= cast($from as timestamptz)
        )
        and (
            cast($to as timestamptz) is null
            or begun.first_observed_at < cast($to as timestamptz)
        )
),
absences as (
    select
        incarnation_key,
        allocation_time,
        state,
        state_transition_time,
        last_observed_at,
        ended_after,
        ended_before,
        recovered_at,
        -- told once more where the node was absent and came back in the same state
        row_number() over (
            partition by incarnation_key, state_transition_time, state
            order by last_observed_at desc
        ) as place
    from spot_absences
    where state in ('preempted', 'deallocated')
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
),
-- what its day did not know of a node's recovery, a later one may
recoveries as (
    select
        absences.incarnation_key,
        absences.state_transition_time,
        min(spot_absences.ended_before) as recovered_at
    from absences
    join spot_absences
        on spot_absences.incarnation_key = absences.incarnation_key
        and spot_absences.state_transition_time >= absences.state_transition_time
    where absences.recovered_at is null and spot_absences.next_state in ('idle', 'running')
    group by absences.incarnation_key, absences.state_transition_time
),
away as (
    select
        absences.incarnation_key,
        absences.allocation_time,
        absences.state,
        absences.state_transition_time,
        coalesce(absences.ended_before, absences.ended_after) as ended_at,
        coalesce(absences.recovered_at, recoveries.recovered_at) as recovered_at,
        row_number() over (
            partition by absences.incarnation_key
            order by absences.state_transition_time, absences.last_observed_at
        ) as number,
        max(case when absences.state = 'preempted' then absences.ended_before end) over (
            partition by absences.incarnation_key
            order by absences.state_transition_time, absences.last_observed_at
            rows between unbounded preceding and 1 preceding
        ) as created_at,
        max(case when absences.state = 'preempted' then absences.state_transition_time end) over (
            partition by absences.incarnation_key
            order by absences.state_transition_time, absences.last_observed_at
            rows between unbounded preceding and 1 preceding
        ) as preempted_before_at
    from absences
    left join recoveries
        on absences.recovered_at is null
        and recoveries.incarnation_key = absences.incarnation_key
        and recoveries.state_transition_time = absences.state_transition_time
    where absences.place = 1
),
-- each node with each of its absences, or with none
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
told as (
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
from told
where watched_seconds > 0
order by preemptions_per_node_hour desc nulls last, account, pool_id, vm_size;
