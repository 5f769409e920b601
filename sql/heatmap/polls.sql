-- answers: when each pool was listed, between two moments
-- grain:   account x pool x listing
-- columns: account, pool_id, listed_at, is_complete
-- param:   from timestamptz = null: only listings at or after this moment
-- param:   to timestamptz = null: only listings before this moment
-- param:   pool varchar = null: only this pool
-- caveats: A complete account listing without the pool is a complete listing of no nodes. Moments
--          are by the service's clock.
with listed as (
    select
        pools.account,
        pools.snapshot_id,
        pools.pool_id,
        pools.listing_finished_at as listed_at,
        pools.listing = 'complete' as is_complete
    from pools
    join snapshots
        on snapshots.account = pools.account and snapshots.snapshot_id = pools.snapshot_id
    where snapshots.source <> 'usage'
        and (cast($pool as varchar) is null or pools.pool_id = cast($pool as varchar))
),
known as (
    select distinct account, pool_id
    from listed
    where (cast($from as timestamptz) is null or listed_at >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or listed_at < cast($to as timestamptz))
),
absent as (
    select known.account, known.pool_id, snapshots.pool_listing_finished_at as listed_at
    from known
    join snapshots
        on snapshots.account = known.account
        and snapshots.scope = 'account'
        and snapshots.pool_listing = 'complete'
        and snapshots.source <> 'usage'
    left join listed
        on listed.account = known.account
        and listed.pool_id = known.pool_id
        and listed.snapshot_id = snapshots.snapshot_id
    where listed.pool_id is null
),
polls as (
    select account, pool_id, listed_at, is_complete from listed
    union all
    select account, pool_id, listed_at, true as is_complete from absent
)
select account, pool_id, listed_at, is_complete
from polls
where listed_at is not null
    and (cast($from as timestamptz) is null or listed_at >= cast($from as timestamptz))
    and (cast($to as timestamptz) is null or listed_at < cast($to as timestamptz))
order by account, pool_id, listed_at;
