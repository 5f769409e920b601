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
with absences as (
    select *
    from spot_absences_between(
        cast($pool as varchar), cast($from as timestamptz), cast($to as timestamptz)
    )
),
summed as (
    select
        account,
        pool_id,
        vm_size,
        sum(
            case
                when is_first_row and watched_until > watched_from
                    then epoch(watched_until) - epoch(watched_from)
                else 0
            end
        ) as watched_seconds,
        sum(
            case
                when away_at is not null
                        and least(back_at, watched_until) > greatest(away_at, watched_from)
                    then epoch(least(back_at, watched_until)) - epoch(greatest(away_at, watched_from))
                else 0
            end
        ) as away_seconds,
        count(*) filter (where is_preemption) as preemptions,
        count(*) filter (where is_preemption and is_nodes_first) as nodes_preempted,
        percentile_cont(0.5) within group (
            order by (epoch(away_at) - epoch(created_at)) / 3600
        ) filter (where is_preemption) as p50_hours_to_preempt,
        count(recovered_at) filter (where is_preemption) as recovered,
        percentile_cont(0.5) within group (
            order by (epoch(recovered_at) - epoch(away_at)) / 60
        ) filter (where is_preemption) as p50_minutes_to_recover,
        percentile_cont(0.95) within group (
            order by (epoch(recovered_at) - epoch(away_at)) / 60
        ) filter (where is_preemption) as p95_minutes_to_recover
    from absences
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
