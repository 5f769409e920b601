-- check:    Complete listings that differ from /nodecounts by more than 5 % and 2 nodes
-- severity: warn
-- grain:    account x snapshot x pool
-- columns:  account, snapshot_id, pool_id, nodes_listed, nodes_counted
-- caveats:  The service's counts lag behind while a pool resizes. One such row is not a loss; a
--           pool that appears here in snapshot after snapshot is.
select account, snapshot_id, pool_id, nodes_listed, nodes_counted
from pools
where listing = 'complete'
    and abs(nodes_listed - nodes_counted) > greatest(2, 0.05 * nodes_listed)
order by snapshot_id, account, pool_id;
