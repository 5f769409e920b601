-- answers: the times in which nodes were not seen for longer than gap_minutes, and why
-- grain:   event of a node
-- columns: those of node_events
-- caveats: Covers one account, pool and node, or all where the argument is null. gap_minutes is by
--          default 15 minutes, or three times the usual time between two listings if that is
--          longer. It needs the rows of the days: gaps of expired days are missing.
create or replace macro node_gaps(of_account, of_pool, of_node, gap_minutes) as table
with known_incarnations as (
    select *
    from node_incarnations
    where (of_account is null or account = of_account)
        and (of_pool is null or pool_id = of_pool)
        and (of_node is null or node_id = of_node)
),
seen as (
    select
        account,
        pool_id,
        node_id,
        snapshot_id,
        observed_at,
        lead(observed_at) over (
            partition by account, pool_id, node_id order by observed_at, snapshot_id
        ) as next_observed_at
    from nodes
    where (of_account is null or account = of_account)
        and (of_pool is null or pool_id = of_pool)
        and (of_node is null or node_id = of_node)
),
paces as (
    select
        account,
        pool_id,
        node_id,
        coalesce(
            60 * gap_minutes,
            greatest(900, 3 * percentile_cont(0.5) within group (
                order by epoch(next_observed_at) - epoch(observed_at)
            ))
        ) as gap_seconds
    from seen
    where next_observed_at is not null
    group by account, pool_id, node_id
),
unseen as (
    select seen.*
    from seen
    join paces
        on paces.account = seen.account
        and paces.pool_id = seen.pool_id
        and paces.node_id = seen.node_id
    where epoch(seen.next_observed_at) - epoch(seen.observed_at) > paces.gap_seconds
),
-- Gaps are rare: the ledger and the pools' listings are read only for them.
missed_runs as (
    select account, snapshot_id, snapshot_at, error_code
    from snapshots
    where source <> 'usage' and account in (select account from unseen)
),
missed_listings as (
    select account, pool_id, snapshot_id, listing, listing_finished_at, error_code
    from pools
    where pool_id in (select pool_id from unseen)
),
listed_meanwhile as (
    select
        unseen.account,
        unseen.pool_id,
        unseen.node_id,
        unseen.observed_at,
        count(distinct missed_runs.snapshot_id) as runs,
        count(missed_listings.snapshot_id) filter (where missed_listings.listing = 'failed')
            as failed,
        count(missed_listings.snapshot_id) filter (where missed_listings.listing = 'partial')
            as partial,
        count(missed_listings.snapshot_id) filter (where missed_listings.listing = 'complete')
            as complete,
        min(coalesce(missed_listings.error_code, missed_runs.error_code)) as error_code
    from unseen
    join missed_runs
        on missed_runs.account = unseen.account
        and missed_runs.snapshot_id > unseen.snapshot_id
        and missed_runs.snapshot_at < unseen.next_observed_at
    left join missed_listings
        on missed_listings.account = missed_runs.account
        and missed_listings.snapshot_id = missed_runs.snapshot_id
        and missed_listings.pool_id = unseen.pool_id
    where coalesce(missed_listings.listing_finished_at, missed_runs.snapshot_at)
        < unseen.next_observed_at
    group by unseen.account, unseen.pool_id, unseen.node_id, unseen.observed_at
)
-- a node that was not new when first listed has an unknown time before that listing
select
    account, pool_id, node_id, allocation_time,
    1 as place, 'gap' as kind, 'not watched yet' as what,
    'first listed at the end of this' as detail, null as began_after,
    allocation_time as began_at, first_observed_at as ended_after,
    first_observed_at as ended_before, null as outcome, 1 as number
from known_incarnations
where epoch(first_observed_at) - epoch(allocation_time)
    > 60 * coalesce(gap_minutes, 15)
union all
select
    known_incarnations.account, known_incarnations.pool_id, known_incarnations.node_id, known_incarnations.allocation_time,
    9,
    'gap',
    'not seen',
    case
        when runs is null then 'no snapshot was taken'
        else concat_ws(
            ', ',
            case when failed > 0 then cast(failed as varchar) || ' listings failed' end,
            case when partial > 0 then cast(partial as varchar) || ' broke off' end,
            case when complete > 0 then cast(complete as varchar) || ' did not have it' end,
            case
                when runs > failed + partial + complete
                    then cast(runs - failed - partial - complete as varchar)
                        || ' snapshots without its pool'
            end,
            error_code
        )
    end,
    null, unseen.observed_at, next_observed_at, next_observed_at, null, 1
from unseen
join known_incarnations
    on known_incarnations.account = unseen.account
    and known_incarnations.pool_id = unseen.pool_id
    and known_incarnations.node_id = unseen.node_id
    and unseen.observed_at >= known_incarnations.first_observed_at
    and unseen.next_observed_at <= known_incarnations.last_observed_at
left join listed_meanwhile
    on listed_meanwhile.account = unseen.account
    and listed_meanwhile.pool_id = unseen.pool_id
    and listed_meanwhile.node_id = unseen.node_id
    and listed_meanwhile.observed_at = unseen.observed_at;
