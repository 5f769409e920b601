-- answers: the first and the last moment for which facts about nodes are stored
-- grain:   one row
-- columns: first_at, last_at, apart_seconds
-- param:   pool varchar = null: only this pool
-- param:   from timestamptz = null: only what was listed at or after this moment
-- param:   to timestamptz = null: only what was listed before this moment
-- caveats: apart_seconds is the usual time between snapshots; it is null for one snapshot, or where
--          only history is left. Expired rows remain as history: their days count whole, and for
--          every pool.
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
    -- the moments of a day that has rows come from its rows
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
