-- makes:   every listing of a pool that history may use, and the account listings without the pool
-- grain:   account x pool x listing
-- columns: account, pool_id, snapshot_id, started_at, finished_at, is_complete, is_proof,
--          is_absence
-- caveats: is_complete: every page was read. is_proof: a node missing from it was absent (a
--          complete listing by a run of the whole account, or by an import made complete).
--          is_absence: not a listing of the pool but a complete account listing without it, so the
--          pool had no nodes. Of a run of such account listings only the first two and the last two
--          are rows here.
with account_listings as (
    select
        account,
        snapshot_id,
        coalesce(pool_listing_started_at, pool_listing_finished_at) as started_at,
        pool_listing_finished_at as finished_at,
        2 * row_number() over (
            partition by account order by pool_listing_finished_at, snapshot_id
        ) as number
    from snapshots
    where scope = 'account'
        and pool_listing = 'complete'
        and source <> 'usage'
        and pool_listing_finished_at is not null
),
listed as (
    select
        pools.account,
        pools.pool_id,
        pools.snapshot_id,
        coalesce(pools.listing_started_at, pools.listing_finished_at) as started_at,
        pools.listing_finished_at as finished_at,
        pools.listing = 'complete' as is_complete,
        pools.listing = 'complete'
            and (snapshots.scope = 'account' or snapshots.source = 'import') as is_proof,
        false as is_absence
    from pools
    join snapshots
        on snapshots.account = pools.account and snapshots.snapshot_id = pools.snapshot_id
    where snapshots.source <> 'usage' and pools.listing_finished_at is not null
),
-- A pool listing outside a complete account listing has an odd number, between two of those.
elsewhere as (
    select listed.account, listed.pool_id, listed.snapshot_id, listed.finished_at
    from listed
    left join account_listings
        on account_listings.account = listed.account
        and account_listings.snapshot_id = listed.snapshot_id
    where account_listings.account is null
),
moments as (
    select account, cast(null as varchar) as pool_id, finished_at, 0 as is_elsewhere
    from account_listings
    union all
    select account, pool_id, finished_at, 1 as is_elsewhere
    from elsewhere
),
counted as (
    select
        account,
        pool_id,
        is_elsewhere,
        1 + 2 * sum(1 - is_elsewhere) over (
            partition by account
            order by finished_at, is_elsewhere
            rows between unbounded preceding and current row
        ) as number
    from moments
),
sightings as (
    select pools.account, pools.pool_id, account_listings.number
    from pools
    join account_listings
        on account_listings.account = pools.account
        and account_listings.snapshot_id = pools.snapshot_id
    union
    select account, pool_id, number from counted where is_elsewhere = 1
),
neighbours as (
    select
        account,
        pool_id,
        number,
        coalesce(lag(number) over (partition by account, pool_id order by number), 0) as before,
        lead(number) over (partition by account, pool_id order by number) as after
    from sightings
),
absences as (
    select distinct
        neighbours.account,
        neighbours.pool_id,
        account_listings.snapshot_id,
        account_listings.started_at,
        account_listings.finished_at
    from neighbours
    cross join (values (-4), (-3), (-2), (-1), (1), (2), (3), (4)) as steps (step)
    join account_listings
        on account_listings.account = neighbours.account
        and account_listings.number = neighbours.number + steps.step
    where (
            neighbours.after is null
            or neighbours.after - neighbours.number > 2
            or neighbours.number - neighbours.before > 2
        )
        and account_listings.number > neighbours.before
        and (neighbours.after is null or account_listings.number < neighbours.after)
)
select
    account, pool_id, snapshot_id, started_at, finished_at, is_complete, is_proof, is_absence
from listed
union all
select account, pool_id, snapshot_id, started_at, finished_at, true, true, true
from absences
