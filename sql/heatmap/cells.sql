-- answers: which states each node was listed in, bin by bin
-- grain:   account x pool x node x bin x state
-- columns: account, pool_id, node_id, bin, state, last_listed_at
-- param:   from timestamptz: the start of bin 0
-- param:   to timestamptz: only listings before this moment
-- param:   step double: seconds of a bin
-- param:   pool varchar = null: only this pool
-- caveats: A malformed row has no state, but it shows that the node was present. All machines with
--          one id share a row.
select
    nodes.account,
    nodes.pool_id,
    nodes.node_id,
    cast(
        floor(
            (epoch(pools.listing_finished_at) - epoch(cast($from as timestamptz)))
            / cast($step as double)
        ) as integer
    ) as bin,
    nodes.state,
    max(pools.listing_finished_at) as last_listed_at
from nodes
join pools
    on pools.account = nodes.account
    and pools.snapshot_id = nodes.snapshot_id
    and pools.pool_id = nodes.pool_id
where nodes.node_id is not null
    and pools.listing_finished_at >= cast($from as timestamptz)
    and pools.listing_finished_at < cast($to as timestamptz)
    and (cast($pool as varchar) is null or nodes.pool_id = cast($pool as varchar))
group by nodes.account, nodes.pool_id, nodes.node_id, bin, nodes.state
order by nodes.account, nodes.pool_id, nodes.node_id, bin, nodes.state;
