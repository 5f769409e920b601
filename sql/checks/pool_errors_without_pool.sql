-- check:    Errors of a pool that their snapshot does not have
-- severity: fail
-- grain:    account x snapshot x pool
-- columns:  account, snapshot_id, pool_id, stored_rows
-- caveats:  Of a pool that a listing holds twice the first is kept, and its errors.
select pool_errors.account, pool_errors.snapshot_id, pool_errors.pool_id, count(*) as stored_rows
from pool_errors
left join pools
    on pools.account = pool_errors.account
    and pools.snapshot_id = pool_errors.snapshot_id
    and pools.pool_id = pool_errors.pool_id
where pools.pool_id is null
group by pool_errors.account, pool_errors.snapshot_id, pool_errors.pool_id
order by pool_errors.snapshot_id, pool_errors.account, pool_errors.pool_id;
