-- question: How well was each account watched: how many snapshots, failures, and how long the gaps?
-- grain:    account x day (UTC)
-- columns:  account, day, snapshots, complete, partial, failed, longest_gap_minutes, failed_listings,
--           last_error
-- param:    from timestamptz = null: only snapshots at or after this moment
-- param:    to timestamptz = null: only snapshots before this moment
-- caveats:  A gap is the time since the previous snapshot, counted on the day it ended. A failed
--           run is a snapshot: it closes a gap in runs, not in data. Imports and usage are left
--           out.
with runs as (
    select
        account,
        snapshot_at,
        status,
        pools_failed,
        error_code,
        (epoch(snapshot_at) - epoch(lag(snapshot_at) over (partition by account order by snapshot_at)))
            / 60 as gap_minutes
    from snapshots
    where source = 'live'
)
select
    account,
    cast(snapshot_at as date) as day,
    count(*) as snapshots,
    count(*) filter (where status = 'complete') as complete,
    count(*) filter (where status = 'partial') as partial,
    count(*) filter (where status = 'failed') as failed,
    round(max(gap_minutes), 1) as longest_gap_minutes,
    coalesce(sum(pools_failed), 0) as failed_listings,
    max_by(error_code, snapshot_at) filter (where error_code is not null) as last_error
from runs
where (cast($from as timestamptz) is null or snapshot_at >= cast($from as timestamptz))
    and (cast($to as timestamptz) is null or snapshot_at < cast($to as timestamptz))
group by account, cast(snapshot_at as date)
order by account, day;
