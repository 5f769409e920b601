-- check:    Node rows whose pool has no listing in their snapshot
-- severity: fail
-- grain:    account x snapshot x pool
-- columns:  account, snapshot_id, pool_id, stored_rows
-- caveats:  Without the listing it is unknown whether all of the pool's nodes are stored, so
--           history leaves these nodes out.
select nodes.account, nodes.snapshot_id, nodes.pool_id, count(*) as stored_rows
from nodes
left join pools
    on pools.account = nodes.account
    and pools.snapshot_id = nodes.snapshot_id
    and pools.pool_id = nodes.pool_id
where pools.pool_id is null
group by nodes.account, nodes.snapshot_id, nodes.pool_id
order by nodes.snapshot_id, nodes.account, nodes.pool_id;
