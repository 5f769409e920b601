-- check:    Runs and listings that ended before they began
-- severity: fail
-- grain:    account x snapshot x what
-- columns:  what, account, snapshot_id, pool_id, started_at, finished_at
-- caveats:  The times of a run are by this machine's clock, those of a listing by the service's.
--           This machine's clock may be set back during a run: one second is allowed.
with spans as (
    select
        'run' as what,
        account,
        snapshot_id,
        cast(null as varchar) as pool_id,
        started_at,
        finished_at
    from snapshots
    union all
    select
        'pool listing' as what,
        account,
        snapshot_id,
        cast(null as varchar) as pool_id,
        pool_listing_started_at,
        pool_listing_finished_at
    from snapshots
    union all
    select
        'node listing' as what, account, snapshot_id, pool_id, listing_started_at, listing_finished_at
    from pools
)
select what, account, snapshot_id, pool_id, started_at, finished_at
from spans
where epoch(finished_at) < epoch(started_at) - 1
order by snapshot_id, what, account, pool_id;
