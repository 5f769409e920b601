-- makes:   of the stays in node_stays those of spot nodes that had lost their machine (preempted,
--          deallocated), and when they worked again; and of each node the day's first stay that work
--          ended, where it is older than the day
-- grain:   wanted day x incarnation x state x state_transition_time
-- columns: those of facts.SPOT_ABSENCES, and date
-- merge:   none: a stay is told by the day that listed it last, as in node_stays
-- traps:   recovered_at is the end of the first stay from this one on that idle or running followed.
--          Where the day does not know of one, it is the end of the node's first such stay that a
--          later day tells: that is what the other stays are here for. What node_stays tells once
--          more this does too.
with followed as (
    select
        *,
        min(case when next_state in ('idle', 'running') then ended_before end) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by state_transition_time, last_observed_at
            rows between current row and unbounded following
        ) as worked_at,
        sum(case when next_state in ('idle', 'running') then 1 else 0 end) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by state_transition_time, last_observed_at
            rows between unbounded preceding and current row
        ) as recoveries
    from made_node_stays
    where not is_dedicated and state not in ('idle', 'running')
)
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    state,
    state_transition_time,
    last_observed_at,
    vm_size,
    is_dedicated,
    ended_after,
    ended_before,
    next_state,
    case when state in ('preempted', 'deallocated') then worked_at end as recovered_at,
    cast(
        md5_number_lower(
            concat_ws(
                '/', account, pool_id, node_id, cast(epoch_us(allocation_time) as varchar)
            )
        ) // 2
        as bigint
    ) as incarnation_key
from followed
where state in ('preempted', 'deallocated')
    or (
        next_state in ('idle', 'running')
        and recoveries = 1
        and (allocation_time is null or allocation_time < cast(date as timestamptz))
    )
