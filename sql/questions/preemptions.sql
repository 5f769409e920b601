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
    group by account, pool_id, node_id, allocation_time
),
spot as (
    select account, pool_id, node_id, allocation_time, vm_size, first_observed_at, last_observed_at
    from watched_nodes
    where (cast($from as timestamptz) is null or last_observed_at >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or first_observed_at < cast($to as timestamptz))
),
-- only nodes that were away at some time, and of their stays those, and those before they worked again
away_nodes as (
    select distinct account, pool_id, node_id, allocation_time
    from notable_stays
    where not is_dedicated
        and state in ('preempted', 'deallocated')
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
),
stays as (
    select
        notable_stays.account,
        notable_stays.pool_id,
        notable_stays.node_id,
        notable_stays.allocation_time,
        state,
        state_transition_time,
        last_observed_at,
        ended_after,
        ended_before,
        next_state,
        -- told once more where the node was absent and came back in the same state
        row_number() over (
            partition by
                notable_stays.account, notable_stays.pool_id, notable_stays.node_id,
                notable_stays.allocation_time, state, state_transition_time
            order by last_observed_at desc
        ) as place
    from notable_stays
    join away_nodes
        on away_nodes.account = notable_stays.account
        and away_nodes.pool_id = notable_stays.pool_id
        and away_nodes.node_id = notable_stays.node_id
        and away_nodes.allocation_time is not distinct from notable_stays.allocation_time
    where not notable_stays.is_dedicated
        and state not in ('idle', 'running')
        and (state in ('preempted', 'deallocated') or next_state in ('idle', 'running'))
),
followed as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        state,
        state_transition_time,
        coalesce(ended_before, ended_after) as ended_at,
        min(case when next_state in ('idle', 'running') then ended_before end) over (
            partition by account, pool_id, node_id, allocation_time
            order by state_transition_time, last_observed_at
            rows between current row and unbounded following
        ) as recovered_at,
        max(case when state = 'preempted' then ended_before end) over (
            partition by account, pool_id, node_id, allocation_time
            order by state_transition_time, last_observed_at
            rows between unbounded preceding and 1 preceding
        ) as created_at
    from stays
    where place = 1
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
        count(distinct concat(node_id, cast(allocation_time as varchar))) as nodes_preempted,
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
