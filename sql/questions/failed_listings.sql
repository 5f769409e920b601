-- question: Which pools could not be listed, how often, why, and how long were they not seen?
-- grain:    pool
-- columns:  account, pool_id, listings, complete, partial, failed, failure_rate,
--           longest_gap_minutes, gap_started_at, last_complete_at, last_failed_at, error_code,
--           error_message, request_id
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only snapshots at or after this moment
-- param:    to timestamptz = null: only snapshots before this moment
-- caveats:  Every pool that was listed has a row, most without a failure. A gap is the time between
--           two complete listings of the pool's nodes within the range, whatever happened between:
--           failed listings, failed runs, or no runs. A run whose list of pools failed names no
--           pools: it counts here only as a gap, and in coverage. Gaps before the first and after
--           the last complete listing are left out. Where a pool did not exist for a while, that
--           time counts as a gap. Imports count only where they made a listing complete.
with listings as (
    select
        pools.account,
        pools.pool_id,
        pools.snapshot_id,
        pools.snapshot_at,
        pools.listing,
        case when pools.listing = 'complete'
            then coalesce(pools.listing_finished_at, pools.snapshot_at)
        end as completed_at,
        case when pools.listing <> 'complete' then pools.error_code end as error_code,
        pools.error_message,
        pools.request_id
    from pools
    join snapshots
        on snapshots.account = pools.account and snapshots.snapshot_id = pools.snapshot_id
    where (snapshots.source = 'live' or (snapshots.source = 'import' and pools.listing = 'complete'))
        and (cast($pool as varchar) is null or pools.pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or pools.snapshot_at >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or pools.snapshot_at < cast($to as timestamptz))
),
followed as (
    select
        *,
        lag(completed_at) over (
            partition by account, pool_id, case when completed_at is null then 0 else 1 end
            order by completed_at
        ) as completed_before
    from listings
)
select
    account,
    pool_id,
    count(*) as listings,
    count(*) filter (where listing = 'complete') as complete,
    count(*) filter (where listing = 'partial') as partial,
    count(*) filter (where listing = 'failed') as failed,
    round(cast(count(*) filter (where listing <> 'complete') as double) / count(*), 4)
        as failure_rate,
    round(max(epoch(completed_at) - epoch(completed_before)) / 60, 1) as longest_gap_minutes,
    max_by(completed_before, epoch(completed_at) - epoch(completed_before)) as gap_started_at,
    max(completed_at) as last_complete_at,
    max(snapshot_at) filter (where listing <> 'complete') as last_failed_at,
    max_by(error_code, snapshot_id) filter (where error_code is not null) as error_code,
    max_by(error_message, snapshot_id) filter (where error_code is not null) as error_message,
    max_by(request_id, snapshot_id) filter (where error_code is not null) as request_id
from followed
group by account, pool_id
order by failed desc, partial desc, account, pool_id;
