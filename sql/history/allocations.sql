-- makes:   the allocation_time of node rows that came without one: only this file settles identity
-- grain:   account x pool x snapshot x node, of those rows only
-- columns: account, pool_id, node_id, snapshot_id, allocation_time, shown_by (the snapshot that
--          showed it first)
-- caveats: It is the latest allocation of that node that is not later than the row (2 seconds
--          allowed), among those that listings showed with no absence between. The whole record is
--          searched, so the result is the same for every day. A row without such an allocation has
--          a null allocation_time; all such rows of a node are one incarnation.
with proofs as (
    select
        events.account,
        events.pool_id,
        events.snapshot_id,
        events.finished_at,
        events.is_proof,
        events.is_absence,
        sum(case when events.is_proof then 1 else 0 end) over (
            partition by events.account, events.pool_id
            order by events.finished_at, events.snapshot_id
            rows between unbounded preceding and current row
        ) as number
    from made_events as events
    join (select distinct account, pool_id from made_unallocated) as pools
        on pools.account = events.account and pools.pool_id = events.pool_id
),
seen as (
    select
        nodes.account,
        nodes.pool_id,
        nodes.node_id,
        nodes.snapshot_id,
        nodes.allocation_time,
        nodes.observed_at,
        -- proofs without the node: an equal number for two rows means no absence between them
        proofs.number - sum(case when proofs.is_proof then 1 else 0 end) over (
            partition by nodes.account, nodes.pool_id, nodes.node_id
            order by proofs.finished_at, nodes.snapshot_id
            rows between unbounded preceding and current row
        ) as absences
    from nodes
    join made_unallocated as unallocated
        on unallocated.account = nodes.account
        and unallocated.pool_id = nodes.pool_id
        and unallocated.node_id = nodes.node_id
    join proofs
        on proofs.account = nodes.account
        and proofs.pool_id = nodes.pool_id
        and proofs.snapshot_id = nodes.snapshot_id
    where not proofs.is_absence
),
shown as (
    select
        account,
        pool_id,
        node_id,
        absences,
        allocation_time,
        min_by(snapshot_id, row(observed_at, snapshot_id)) as shown_by
    from seen
    where allocation_time is not null
    group by account, pool_id, node_id, absences, allocation_time
)
select
    seen.account,
    seen.pool_id,
    seen.node_id,
    seen.snapshot_id,
    max(shown.allocation_time) as allocation_time,
    max_by(shown.shown_by, shown.allocation_time) as shown_by
from seen
join shown
    on shown.account = seen.account
    and shown.pool_id = seen.pool_id
    and shown.node_id = seen.node_id
    and shown.absences = seen.absences
    and shown.allocation_time <= seen.observed_at + interval 2 seconds
where seen.allocation_time is null
group by seen.account, seen.pool_id, seen.node_id, seen.snapshot_id
