-- check:    Pools that were listed twice in one snapshot
-- severity: fail
-- grain:    account x snapshot x pool
-- columns:  account, snapshot_id, pool_id, listings
-- caveats:  The service may return a pool on two pages; the first is kept. Two rows here mean that
--           the pool's nodes count twice.
select account, snapshot_id, pool_id, count(*) as listings
from pools
group by account, snapshot_id, pool_id
having count(*) > 1
order by snapshot_id, account, pool_id;
