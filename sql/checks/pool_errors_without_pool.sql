-- check:    Errors of a pool that is missing from their snapshot
-- severity: fail
-- grain:    account x snapshot x pool
-- columns:  account, snapshot_id, pool_id, stored_rows
-- caveats:  Where a listing returns a pool twice, the first entry and its errors are kept.
select pool_errors.account, pool_errors.snapshot_id, pool_errors.pool_id, count(*) as stored_rows
from pool_errors
left join pools
    on pools.account = pool_errors.account
    and pools.snapshot_id = pool_errors.snapshot_id
    and pools.pool_id = pool_errors.pool_id
where pools.pool_id is null
group by pool_errors.account, pool_errors.snapshot_id, pool_errors.pool_id
order by pool_errors.snapshot_id, pool_errors.account, pool_errors.pool_id;
