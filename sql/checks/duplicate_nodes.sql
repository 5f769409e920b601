-- check:    Nodes that stand twice in one snapshot
-- severity: fail
-- grain:    account x snapshot x pool x node
-- columns:  account, snapshot_id, pool_id, node_id, stored_rows
-- caveats:  A node met twice in a listing is kept once, the first. Rows without a valid id are of no
--           node and left out.
select account, snapshot_id, pool_id, node_id, count(*) as stored_rows
from nodes
where node_id is not null
group by account, snapshot_id, pool_id, node_id
having count(*) > 1
order by snapshot_id, account, pool_id, node_id;
