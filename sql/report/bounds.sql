-- answers: from when to when anything is known of the nodes
-- grain:   one row
-- columns: first_at, last_at, apart_seconds
-- param:   pool varchar = null: only this pool
-- param:   from timestamptz = null: only what was listed at or after this moment
-- param:   to timestamptz = null: only what was listed before this moment
-- caveats: apart_seconds is how far snapshots usually lie apart, null of one, or of history alone.
--          Rows that were expired live on as history: their days count whole, and for every
--          pool.
with followed as (
    select
        epoch(snapshot_at)
        - epoch(lag(snapshot_at) over (partition by account order by snapshot_at)) as apart
    from snapshots
    where source <> 'usage'
),
moments as (
    select account, pool_id, listing_finished_at as first_at, listing_finished_at as last_at
    from pools
    where listing_finished_at is not null
    union all
    select
        account,
        null as pool_id,
        cast(date as timestamptz) as first_at,
        cast(date as timestamptz) + interval 1 day - interval 1 microsecond as last_at
    from history_days
    -- a day that has rows tells its moments itself
    where date not in (select distinct date from pools)
)
select
    min(first_at) as first_at,
    max(last_at) as last_at,
    (select percentile_cont(0.5) within group (order by apart) from followed) as apart_seconds
from moments
where (cast($pool as varchar) is null or pool_id is null or pool_id = cast($pool as varchar))
    and (cast($from as timestamptz) is null or last_at >= cast($from as timestamptz))
    and (cast($to as timestamptz) is null or first_at < cast($to as timestamptz));
