-- check:    Snapshots with status complete that have an incomplete listing
-- severity: fail
-- grain:    account x snapshot
-- columns:  account, snapshot_id, pool_listing, incomplete_pools, malformed
-- caveats:  Live runs only: an import is complete when its files were read, which proves less.
with incomplete as (
    select account, snapshot_id, count(*) as incomplete_pools
    from pools
    where listing <> 'complete'
    group by account, snapshot_id
)
select
    snapshots.account,
    snapshots.snapshot_id,
    snapshots.pool_listing,
    coalesce(incomplete.incomplete_pools, 0) as incomplete_pools,
    snapshots.malformed
from snapshots
left join incomplete
    on incomplete.account = snapshots.account
    and incomplete.snapshot_id = snapshots.snapshot_id
where snapshots.source = 'live'
    and snapshots.status = 'complete'
    and (
        snapshots.pool_listing <> 'complete'
        or incomplete.incomplete_pools > 0
        or snapshots.malformed > 0
    )
order by snapshots.snapshot_id, snapshots.account;
