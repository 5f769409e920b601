-- question: What share of start-task runs fails, by pool, image and day, and from which causes?
-- grain:    pool x image x day (UTC)
-- columns:  account, day, pool_id, image, runs, failed_runs, failure_rate, unended_runs, nodes,
--           failed_nodes, top_cause, top_cause_runs, second_cause, second_cause_runs
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only runs that began at or after this moment
-- param:    to timestamptz = null: only runs that began before this moment
-- traps:    failure_rate is failed_runs of runs, those that were seen to end; the others (still
--           running, or their node was taken) stand in unended_runs. A retry is a run of its own, on
--           the day it began. A run that began and ended between two listings was never seen:
--           retries come quickly, so failures are missed more often than successes. Runs that
--           began before the account's first snapshot are left out: of those only the last one of
--           nodes that live on was seen. A cause is a failure code and an exit code. The image is
--           the node's when the run was last seen, null where no listing told it.
with moments as (
    select account, snapshot_at
    from snapshots
    where source <> 'usage'
    union all
    -- the snapshots of days whose rows have expired are gone; their history stands
    select account, first_observed_at
    from daily_node_incarnations
),
first_snapshots as (
    select account, min(snapshot_at) as snapshot_at
    from moments
    group by account
),
seen as (
    select
        daily_start_task_runs.account,
        cast(start_time as date) as day,
        pool_id,
        coalesce(
            image_virtual_machine_image_id,
            nullif(concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version), '')
        ) as image,
        concat_ws('@', node_id, cast(allocation_time as varchar)) as machine,
        result is not null or end_time is not null as has_ended,
        coalesce(result = 'failure', false) as has_failed,
        concat_ws(' ', coalesce(failure_code, 'no code'), 'exit ' || cast(exit_code as varchar))
            as cause
    from daily_start_task_runs
    join first_snapshots
        on first_snapshots.account = daily_start_task_runs.account
        and first_snapshots.snapshot_at <= daily_start_task_runs.start_time
    where cast(last_observed_at as date) = date  -- each run once: by the day that listed it last
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or start_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or start_time < cast($to as timestamptz))
),
totals as (
    select
        account,
        day,
        pool_id,
        image,
        count(*) filter (where has_ended) as runs,
        count(*) filter (where has_failed) as failed_runs,
        count(*) filter (where not has_ended) as unended_runs,
        count(distinct machine) as nodes,
        count(distinct case when has_failed then machine end) as failed_nodes
    from seen
    group by account, day, pool_id, image
),
causes as (
    select account, day, pool_id, image, cause, count(*) as runs
    from seen
    where has_failed
    group by account, day, pool_id, image, cause
),
placed as (
    select
        *,
        row_number() over (
            partition by account, day, pool_id, image order by runs desc, cause
        ) as place
    from causes
)
select
    totals.account,
    totals.day,
    totals.pool_id,
    totals.image,
    totals.runs,
    totals.failed_runs,
    round(cast(totals.failed_runs as double) / nullif(totals.runs, 0), 4) as failure_rate,
    totals.unended_runs,
    totals.nodes,
    totals.failed_nodes,
    first_place.cause as top_cause,
    first_place.runs as top_cause_runs,
    second_place.cause as second_cause,
    second_place.runs as second_cause_runs
from totals
left join placed as first_place
    on first_place.account = totals.account
    and first_place.day = totals.day
    and first_place.pool_id = totals.pool_id
    and first_place.image is not distinct from totals.image
    and first_place.place = 1
left join placed as second_place
    on second_place.account = totals.account
    and second_place.day = totals.day
    and second_place.pool_id = totals.pool_id
    and second_place.image is not distinct from totals.image
    and second_place.place = 2
order by totals.account, totals.day, totals.pool_id, totals.image;
