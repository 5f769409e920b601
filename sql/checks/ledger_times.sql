-- check:    Runs and listings that ended before they began
-- severity: fail
-- grain:    account x snapshot x what
-- columns:  what, account, snapshot_id, pool_id, started_at, finished_at
-- caveats:  A run's times are this machine's clock, a listing's the service's; this machine's may be
--           set back while a run lasts: one second is allowed.
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
