-- answers: the fleet as its last complete listings showed it, up to one moment
-- grain:   node (of the pools that were still there)
-- columns: those of nodes, and age_seconds (of its pool's listing, at `reference`)
-- traps:   A pool is as old as its last complete listing; a failed listing since then shows in
--          age_seconds only. A pool that a later complete account listing no longer has is gone,
--          and so are its nodes. Moments are the service's clock.
create or replace macro nodes_as_of(until, reference) as table
with account_listings as (
    select
        account,
        max(pool_listing_finished_at) as listed_at,
        max_by(snapshot_id, pool_listing_finished_at) as snapshot_id,
        max_by(date, pool_listing_finished_at) as date
    from snapshots
    where scope = 'account' and pool_listing = 'complete' and pool_listing_finished_at <= until
    group by account
),
pool_listings as (
    select
        account,
        pool_id,
        max(listing_finished_at) as listed_at,
        max_by(snapshot_id, listing_finished_at) as snapshot_id,
        max_by(date, listing_finished_at) as date
    from pools
    where listing = 'complete' and listing_finished_at <= until
    group by account, pool_id
),
present as (
    select pool_listings.*
    from pool_listings
    left join account_listings
        on account_listings.account = pool_listings.account
        and account_listings.listed_at > pool_listings.listed_at
    left join pools
        on pools.date = account_listings.date
        and pools.account = account_listings.account
        and pools.snapshot_id = account_listings.snapshot_id
        and pools.pool_id = pool_listings.pool_id
    where account_listings.account is null or pools.pool_id is not null
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
