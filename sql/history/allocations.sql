-- makes:   the allocation_time of node rows that came without one
-- grain:   wanted day x account x pool x snapshot x node, of those rows only
-- columns: date, account, pool_id, node_id, snapshot_id, allocation_time, is_kept
-- traps:   It is the nearest one of the same node with no absence between; of two equally near the
--          earlier; none where none is known. A row of a listing around the day may have its
--          nearest one outside the day's listings: is_kept is false where none was found and the
--          day itself has no such row of the node. The listing's own day tells of it.
with unknown as (
    select distinct listings.date, nodes.account, nodes.pool_id, nodes.node_id
    from nodes
    join made_listings as listings
        on listings.account = nodes.account
        and listings.snapshot_id = nodes.snapshot_id
        and listings.pool_id = nodes.pool_id
    where nodes.allocation_time is null and nodes.node_id is not null
),
proofs as (
    select
        *,
        sum(case when is_proof then 1 else 0 end) over (
            partition by date, account, pool_id
            order by finished_at, snapshot_id
            rows between unbounded preceding and current row
        ) as number
    from made_listings
),
seen as (
    select
        unknown.date,
        unknown.account,
        unknown.pool_id,
        unknown.node_id,
        nodes.snapshot_id,
        nodes.allocation_time,
        nodes.observed_at,
        proofs.finished_at,
        -- proofs that did not have the node: the same number on both sides is no absence between
        proofs.number - sum(case when proofs.is_proof then 1 else 0 end) over (
            partition by unknown.date, unknown.account, unknown.pool_id, unknown.node_id
            order by proofs.finished_at, nodes.snapshot_id
            rows between unbounded preceding and current row
        ) as absences
    from unknown
    join proofs
        on proofs.date = unknown.date
        and proofs.account = unknown.account
        and proofs.pool_id = unknown.pool_id
    join nodes
        on nodes.account = unknown.account
        and nodes.pool_id = unknown.pool_id
        and nodes.node_id = unknown.node_id
        and nodes.snapshot_id = proofs.snapshot_id
    where not proofs.is_absence
),
neighbours as (
    select
        *,
        last_value(allocation_time ignore nulls) over (
            partition by date, account, pool_id, node_id, absences
            order by finished_at, snapshot_id
            rows between unbounded preceding and current row
        ) as earlier,
        max(case when allocation_time is not null then observed_at end) over (
            partition by date, account, pool_id, node_id, absences
            order by finished_at, snapshot_id
            rows between unbounded preceding and current row
        ) as earlier_at,
        first_value(allocation_time ignore nulls) over (
            partition by date, account, pool_id, node_id, absences
            order by finished_at, snapshot_id
            rows between current row and unbounded following
        ) as later,
        min(case when allocation_time is not null then observed_at end) over (
            partition by date, account, pool_id, node_id, absences
            order by finished_at, snapshot_id
            rows between current row and unbounded following
        ) as later_at
    from seen
),
resolved as (
    select
        date,
        account,
        pool_id,
        node_id,
        snapshot_id,
        absences,
        cast(finished_at as date) as own_date,
        case
            when earlier_at is null then later
            when later_at is null then earlier
            when date_diff('microsecond', earlier_at, observed_at)
                <= date_diff('microsecond', observed_at, later_at) then earlier
            else later
        end as nearest
    from neighbours
    where allocation_time is null
)
select
    date,
    account,
    pool_id,
    node_id,
    snapshot_id,
    nearest as allocation_time,
    nearest is not null or max(case when own_date = date then 1 else 0 end) over (
        partition by date, account, pool_id, node_id, absences
    ) = 1 as is_kept
from resolved
