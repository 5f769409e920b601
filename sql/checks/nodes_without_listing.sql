-- check:    Node rows of a pool that their snapshot has no listing of
-- severity: fail
-- grain:    account x snapshot x pool
-- columns:  account, snapshot_id, pool_id, stored_rows
-- caveats:  Without its listing nobody knows whether the nodes are all there: history leaves them out.
select nodes.account, nodes.snapshot_id, nodes.pool_id, count(*) as stored_rows
from nodes
left join pools
    on pools.account = nodes.account
    and pools.snapshot_id = nodes.snapshot_id
    and pools.pool_id = nodes.pool_id
where pools.pool_id is null
group by nodes.account, nodes.snapshot_id, nodes.pool_id
order by nodes.snapshot_id, nodes.account, nodes.pool_id;
