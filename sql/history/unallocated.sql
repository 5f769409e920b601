-- makes:   the nodes that have a row without an allocation_time in a listing of a wanted day
-- grain:   account x pool x node
-- columns: account, pool_id, node_id
-- caveats: Few; none in most lakes. Only for these nodes the rows of the whole record are read.
select distinct nodes.account, nodes.pool_id, nodes.node_id
from nodes
join made_listings as listings
    on listings.account = nodes.account
    and listings.snapshot_id = nodes.snapshot_id
    and listings.pool_id = nodes.pool_id
where nodes.allocation_time is null and nodes.node_id is not null
