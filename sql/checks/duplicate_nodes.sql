-- check:    Nodes with more than one row in one snapshot
-- severity: fail
-- grain:    account x snapshot x pool x node
-- columns:  account, snapshot_id, pool_id, node_id, stored_rows
-- caveats:  A node that a listing returns twice is stored once, from its first row. Rows without a
--           valid id belong to no node and are left out.
select account, snapshot_id, pool_id, node_id, count(*) as stored_rows
from nodes
where node_id is not null
group by account, snapshot_id, pool_id, node_id
having count(*) > 1
order by snapshot_id, account, pool_id, node_id;
