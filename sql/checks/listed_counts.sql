-- check:    Complete listings whose number of node rows differs from the number of nodes listed
-- severity: fail
-- grain:    account x snapshot x pool
-- columns:  account, snapshot_id, pool_id, nodes_listed, stored_rows
-- caveats:  A pool that was listed twice, or that has no listing, has its own check.
with stored as (
    select account, snapshot_id, pool_id, count(*) as stored_rows
    from nodes
    group by account, snapshot_id, pool_id
)
select
    pools.account,
    pools.snapshot_id,
    pools.pool_id,
    pools.nodes_listed,
    coalesce(stored.stored_rows, 0) as stored_rows
from pools
left join stored
    on stored.account = pools.account
    and stored.snapshot_id = pools.snapshot_id
    and stored.pool_id = pools.pool_id
where pools.listing = 'complete'
    and pools.nodes_listed <> coalesce(stored.stored_rows, 0)
order by pools.snapshot_id, pools.account, pools.pool_id;
