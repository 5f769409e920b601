-- question: How many nodes joined and left each pool, how long did they live, and were there enough?
-- grain:    pool x dedicated/spot
-- columns:  account, pool_id, is_dedicated, nodes_at_start, joined, left_pool, nodes_at_end,
--           reused_ids, p50_lifetime_hours, current_nodes, target_nodes, listings,
--           listings_below_target
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: joined and left at or after this moment; null for the
--           account's first listing of a node
-- param:    to timestamptz = null: joined and left before this moment
-- caveats:  A node is one allocation: an id that is given to another machine counts again, and in
--           reused_ids. Joined is dated by the allocation time, exact. Left is dated by the moment
--           at which a node is proven to have gone, up to two listings late, so near the ends of
--           the range a node may count a little later. A node that came and went between two
--           listings is not known. Lifetimes are of the nodes that left, from allocation to their
--           last listing. current_nodes and target_nodes are the service's own figures in the last
--           snapshot in range (null for a group without figures). listings_below_target counts the
--           snapshots with fewer nodes than the target: resizes take a while. current_nodes,
--           target_nodes, listings and listings_below_target leave out days whose rows have
--           expired.
with record as (
    select
        account,
        coalesce(cast($from as timestamptz), min(first_observed_at)) as begins_at
    from daily_node_incarnations
    group by account
),
-- a node without an allocation time joined when it was first seen
unallocated as (
    select account, pool_id, node_id, min(first_observed_at) as first_observed_at
    from daily_node_incarnations
    where allocation_time is null
    group by account, pool_id, node_id
),
joined_lives as (
    select account, pool_id, node_id, is_dedicated, allocation_time as joined_at, ended_after,
        ended_before
    from node_lifetimes
    where allocation_time is not null
    union all
    select
        node_lifetimes.account,
        node_lifetimes.pool_id,
        node_lifetimes.node_id,
        node_lifetimes.is_dedicated,
        unallocated.first_observed_at as joined_at,
        node_lifetimes.ended_after,
        node_lifetimes.ended_before
    from node_lifetimes
    left join unallocated
        on unallocated.account = node_lifetimes.account
        and unallocated.pool_id = node_lifetimes.pool_id
        and unallocated.node_id = node_lifetimes.node_id
    where node_lifetimes.allocation_time is null
),
lives as (
    select joined_lives.*, record.begins_at
    from joined_lives
    join record on record.account = joined_lives.account
    where (cast($pool as varchar) is null or joined_lives.pool_id = cast($pool as varchar))
        and (
            cast($from as timestamptz) is null
            or joined_lives.ended_before is null
            or joined_lives.ended_before >= cast($from as timestamptz)
        )
        and (
            cast($to as timestamptz) is null
            or joined_lives.joined_at < cast($to as timestamptz)
        )
),
counted as (
    select
        account,
        pool_id,
        is_dedicated,
        count(*) filter (where joined_at < begins_at) as nodes_at_start,
        count(*) filter (where joined_at >= begins_at) as joined,
        count(*) filter (where is_over) as left_pool,
        count(*) filter (where not is_over) as nodes_at_end,
        count(*) - count(distinct node_id) as reused_ids,
        percentile_cont(0.5) within group (
            order by (epoch(ended_after) - epoch(joined_at)) / 3600
        ) filter (where is_over) as p50_lifetime_hours
    from (
        select
            *,
            ended_before is not null
                and (
                    cast($to as timestamptz) is null or ended_before < cast($to as timestamptz)
                ) as is_over
        from lives
    ) as judged
    group by account, pool_id, is_dedicated
),
listed as (
    select
        account,
        pool_id,
        max_by(current_dedicated_nodes, snapshot_at) as current_dedicated,
        max_by(target_dedicated_nodes, snapshot_at) as target_dedicated,
        max(target_dedicated_nodes) as most_dedicated,
        count(*) filter (where current_dedicated_nodes < target_dedicated_nodes) as few_dedicated,
        max_by(current_low_priority_nodes, snapshot_at) as current_spot,
        max_by(target_low_priority_nodes, snapshot_at) as target_spot,
        max(target_low_priority_nodes) as most_spot,
        count(*) filter (where current_low_priority_nodes < target_low_priority_nodes) as few_spot,
        count(*) as listings
    from pools
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or snapshot_at >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or snapshot_at < cast($to as timestamptz))
    group by account, pool_id
),
wanted as (
    select account, pool_id, true as is_dedicated, current_dedicated as current_nodes,
        target_dedicated as target_nodes, most_dedicated as most_wanted, listings,
        few_dedicated as listings_below_target
    from listed
    union all
    select account, pool_id, false, current_spot, target_spot, most_spot, listings, few_spot
    from listed
)
select
    coalesce(counted.account, wanted.account) as account,
    coalesce(counted.pool_id, wanted.pool_id) as pool_id,
    case when counted.account is null then wanted.is_dedicated else counted.is_dedicated end
        as is_dedicated,
    coalesce(counted.nodes_at_start, 0) as nodes_at_start,
    coalesce(counted.joined, 0) as joined,
    coalesce(counted.left_pool, 0) as left_pool,
    coalesce(counted.nodes_at_end, 0) as nodes_at_end,
    coalesce(counted.reused_ids, 0) as reused_ids,
    counted.p50_lifetime_hours,
    wanted.current_nodes,
    wanted.target_nodes,
    coalesce(wanted.listings, 0) as listings,
    coalesce(wanted.listings_below_target, 0) as listings_below_target
from counted
full join wanted
    on wanted.account = counted.account
    and wanted.pool_id = counted.pool_id
    and wanted.is_dedicated = counted.is_dedicated
-- a pool that never got any node of its target has a row too
where counted.account is not null or wanted.most_wanted > 0
order by account, pool_id, is_dedicated desc;
