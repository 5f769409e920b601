-- question: What share of start-task runs fails, by pool, image and day, and from which causes?
-- grain:    pool x image x day (UTC)
-- columns:  account, day, pool_id, image, runs, failed_runs, failure_rate, unended_runs, nodes,
--           failed_nodes, top_cause, top_cause_runs, second_cause, second_cause_runs
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only runs that began at or after this moment
-- param:    to timestamptz = null: only runs that began before this moment
-- caveats:  failure_rate is the share of failed_runs in runs, the runs that were seen to end. The
--           others (still running, or their node was taken) are in unended_runs. A retry is a
--           separate run, on the day it began. A run that began and ended between two listings was
--           never seen: retries come quickly, so failures are missed more often than successes.
--           Runs that began before the account's first listing of a node are left out: only the
--           last such run was seen, and only on nodes that still existed. A cause is a failure code
--           and an exit code. The image is the node's when the run was last seen, null where no
--           listing showed it.
with first_listings as (
    select account, min(first_observed_at) as listed_at
    from daily_node_incarnations
    group by account
),
seen as (
    select
        start_task_ends.account,
        cast(start_time as date) as day,
        pool_id,
        image_virtual_machine_image_id,
        image_publisher,
        image_offer,
        image_sku,
        image_exact_version,
        result is not null or end_time is not null as has_ended,
        coalesce(result = 'failure', false) as has_failed,
        -- a node counts with the last of its runs that began on the day on the image
        next_start_time is null
            or cast(next_start_time as date) <> cast(start_time as date)
            or coalesce(next_start_time >= cast($to as timestamptz), false) as is_last
    from start_task_ends
    join first_listings
        on first_listings.account = start_task_ends.account
        and first_listings.listed_at <= start_task_ends.start_time
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or start_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or start_time < cast($to as timestamptz))
),
counted as (
    select
        account,
        day,
        pool_id,
        image_virtual_machine_image_id,
        image_publisher,
        image_offer,
        image_sku,
        image_exact_version,
        count(*) filter (where has_ended) as runs,
        count(*) filter (where has_failed) as failed_runs,
        count(*) filter (where not has_ended) as unended_runs,
        count(*) filter (where is_last) as nodes
    from seen
    group by
        account, day, pool_id, image_virtual_machine_image_id, image_publisher, image_offer,
        image_sku, image_exact_version
),
totals as (
    select
        account,
        day,
        pool_id,
        coalesce(
            image_virtual_machine_image_id,
            nullif(concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version), '')
        ) as image,
        cast(sum(runs) as bigint) as runs,
        cast(sum(failed_runs) as bigint) as failed_runs,
        cast(sum(unended_runs) as bigint) as unended_runs,
        cast(sum(nodes) as bigint) as nodes
    from counted
    group by
        account, day, pool_id,
        coalesce(
            image_virtual_machine_image_id,
            nullif(concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version), '')
        )
),
failures as (
    select
        start_task_ends.account,
        cast(start_time as date) as day,
        pool_id,
        coalesce(
            image_virtual_machine_image_id,
            nullif(concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version), '')
        ) as image,
        concat_ws('@', node_id, cast(allocation_time as varchar)) as machine,
        concat_ws(' ', coalesce(failure_code, 'no code'), 'exit ' || cast(exit_code as varchar))
            as cause
    from start_task_ends
    join first_listings
        on first_listings.account = start_task_ends.account
        and first_listings.listed_at <= start_task_ends.start_time
    where result = 'failure'
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or start_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or start_time < cast($to as timestamptz))
),
failed as (
    select account, day, pool_id, image, count(distinct machine) as nodes
    from failures
    group by account, day, pool_id, image
),
causes as (
    select account, day, pool_id, image, cause, count(*) as runs
    from failures
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
    coalesce(failed.nodes, 0) as failed_nodes,
    first_place.cause as top_cause,
    first_place.runs as top_cause_runs,
    second_place.cause as second_cause,
    second_place.runs as second_cause_runs
from totals
left join failed
    on failed.account = totals.account
    and failed.day = totals.day
    and failed.pool_id = totals.pool_id
    and failed.image is not distinct from totals.image
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
