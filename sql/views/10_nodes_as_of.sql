-- answers: the fleet as its last complete listings up to one moment showed it
-- grain:   node (of the pools that still existed)
-- columns: those of nodes, and age_seconds (of its pool's listing, at `reference`)
-- caveats: The rows of a pool are as old as its last complete listing; a failed listing since then
--          shows in age_seconds only. A pool that is missing from a later complete account listing
--          is gone, and so are its nodes. Moments are by the service's clock.
-- The days that may hold the last listings are read first: listing_spans has the first and the last
-- end of a listing in each file. Earlier days are read only for an account for which those days lack
-- the last complete account listing, or the last complete listing of a pool in it.
create or replace macro nodes_as_of(until, reference) as table
with bounds as (
    select account, max(first_finished_at) as since
    from listing_spans
    where first_finished_at <= until
    group by account
),
near_days as (
    select distinct listing_spans.date
    from listing_spans
    left join bounds on bounds.account = listing_spans.account
    where listing_spans.last_finished_at is null  -- unknown until the file is read
        or (
            listing_spans.last_finished_at >= bounds.since
            and listing_spans.first_finished_at <= until
        )
),
near_account_listings as (
    select account, snapshot_id, date, pool_listing_finished_at as listed_at
    from snapshots
    where date in (select date from near_days)
        and scope = 'account' and pool_listing = 'complete' and pool_listing_finished_at <= until
),
near_pools as (
    select account, pool_id, snapshot_id, date, listing, listing_finished_at as listed_at
    from pools
    where date in (select date from near_days)
),
near_last as (
    select
        account,
        max(listed_at) as listed_at,
        max_by(snapshot_id, listed_at) as snapshot_id
    from near_account_listings
    group by account
),
near_listed as (
    select account, pool_id, max(listed_at) as listed_at
    from near_pools
    where listing = 'complete' and listed_at <= until
    group by account, pool_id
),
unsure as (
    select bounds.account
    from bounds
    left join near_last
        on near_last.account = bounds.account and near_last.listed_at >= bounds.since
    where near_last.account is null
    union
    select near_pools.account
    from near_pools
    join near_last
        on near_last.account = near_pools.account
        and near_last.snapshot_id = near_pools.snapshot_id
    join bounds on bounds.account = near_pools.account
    left join near_listed
        on near_listed.account = near_pools.account
        and near_listed.pool_id = near_pools.pool_id
        and near_listed.listed_at >= bounds.since
    where near_listed.account is null
),
account_listings as (
    select
        account,
        max(listed_at) as listed_at,
        max_by(snapshot_id, listed_at) as snapshot_id,
        max_by(date, listed_at) as date
    from (
        select account, snapshot_id, date, listed_at from near_account_listings
        union all
        select account, snapshot_id, date, pool_listing_finished_at
        from snapshots
        where account in (select account from unsure)
            and scope = 'account' and pool_listing = 'complete'
            and pool_listing_finished_at <= until
    ) as listings
    group by account
),
known_pools as (
    select account, pool_id, snapshot_id, date, listing, listed_at from near_pools
    union all
    select account, pool_id, snapshot_id, date, listing, listing_finished_at
    from pools
    where account in (select account from unsure)
),
pool_listings as (
    select
        account,
        pool_id,
        max(listed_at) as listed_at,
        max_by(snapshot_id, listed_at) as snapshot_id,
        max_by(date, listed_at) as date
    from known_pools
    where listing = 'complete' and listed_at <= until
    group by account, pool_id
),
listed_pools as (
    select distinct known_pools.account, known_pools.pool_id
    from known_pools
    join account_listings
        on account_listings.date = known_pools.date
        and account_listings.account = known_pools.account
        and account_listings.snapshot_id = known_pools.snapshot_id
),
present as (
    select pool_listings.*
    from pool_listings
    left join account_listings
        on account_listings.account = pool_listings.account
        and account_listings.listed_at > pool_listings.listed_at
    left join listed_pools
        on listed_pools.account = pool_listings.account
        and listed_pools.pool_id = pool_listings.pool_id
    where account_listings.account is null or listed_pools.pool_id is not null
)
select
    nodes.*,
    epoch(cast(reference as timestamptz)) - epoch(present.listed_at) as age_seconds
from nodes
join present
    on present.date = nodes.date  -- only the files of those days are read
    and present.account = nodes.account
    and present.snapshot_id = nodes.snapshot_id
    and present.pool_id = nodes.pool_id;
