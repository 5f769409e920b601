-- question: When did start tasks fail on several nodes of a pool at once, from the same cause?
-- grain:    pool x cause (failure code, exit code) x storm
-- columns:  account, pool_id, failure_code, exit_code, started_at, ended_at, storm_minutes, nodes,
--           failed_runs, peak_nodes, pool_runs, pool_failed_runs, pool_failure_rate, images, message
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only runs that failed at or after this moment
-- param:    to timestamptz = null: only runs that failed before this moment
-- param:    nodes int = 3: minimum number of nodes that failed from the cause
-- param:    minutes double = 30: within this many minutes
-- param:    rate double = 0.3: minimum share of the pool's runs at that time that failed
-- caveats:  A storm goes on as long as every stretch of that many minutes has that many nodes that
--           failed from the cause. It lasts from the first of those failures to the last; two
--           storms whose stretches overlap are one. peak_nodes is the largest number in one
--           stretch. In a large pool that starts many nodes at once some fail: the rate excludes
--           it. The rate covers all runs of the pool that were seen to end and that overlap the
--           time from when the first of the failed runs began to when the last ended. It covers all
--           causes: one problem may have several. Retries are runs. Runs and nodes that
--           came and went between two listings were never seen: the numbers of nodes are lower
--           bounds. Runs that ended before the hour of a pool's first complete listing are left
--           out: only runs of nodes that still existed are known, so no rate can be computed.
--           Machines are counted, not ids.
with watched as (
    select account, pool_id, min(hour) as began_at
    from pool_hours
    where listings > 0
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
    group by account, pool_id
),
ended as (
    select
        start_task_ends.account,
        start_task_ends.pool_id,
        start_time,
        coalesce(end_time, start_time) as run_ended_at,
        coalesce(result = 'failure', false) as has_failed
    from start_task_ends
    left join watched
        on watched.account = start_task_ends.account
        and watched.pool_id = start_task_ends.pool_id
    where (result is not null or end_time is not null)
        and (cast($pool as varchar) is null or start_task_ends.pool_id = cast($pool as varchar))
        and (watched.began_at is null or coalesce(end_time, start_time) >= watched.began_at)
        and (
            cast($from as timestamptz) is null
            or coalesce(end_time, start_time) >= cast($from as timestamptz)
        )
        and (
            cast($to as timestamptz) is null
            or coalesce(end_time, start_time) < cast($to as timestamptz)
        )
),
failed as (
    select
        start_task_ends.account,
        start_task_ends.pool_id,
        failure_code,
        exit_code,
        concat_ws(' ', coalesce(failure_code, ''), cast(exit_code as varchar)) as cause,
        concat_ws('@', node_id, cast(allocation_time as varchar)) as machine,
        start_time,
        coalesce(end_time, start_time) as run_ended_at,
        coalesce(
            image_virtual_machine_image_id,
            concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version)
        ) as image,
        failure_message
    from start_task_ends
    left join watched
        on watched.account = start_task_ends.account
        and watched.pool_id = start_task_ends.pool_id
    where result = 'failure'
        and (cast($pool as varchar) is null or start_task_ends.pool_id = cast($pool as varchar))
        and (watched.began_at is null or coalesce(end_time, start_time) >= watched.began_at)
        and (
            cast($from as timestamptz) is null
            or coalesce(end_time, start_time) >= cast($from as timestamptz)
        )
        and (
            cast($to as timestamptz) is null
            or coalesce(end_time, start_time) < cast($to as timestamptz)
        )
),
-- A machine that fails again within the stretch stays in it throughout: one spell.
failures as (
    select
        account,
        pool_id,
        cause,
        machine,
        run_ended_at,
        case
            when epoch(run_ended_at) - epoch(
                lag(run_ended_at) over (
                    partition by account, pool_id, cause, machine order by run_ended_at
                )
            ) <= 60 * cast($minutes as double) then 0
            else 1
        end as is_new
    from failed
),
numbered as (
    select
        *,
        sum(is_new) over (
            partition by account, pool_id, cause, machine order by run_ended_at
            rows between unbounded preceding and current row
        ) as spell
    from failures
),
spells as (
    select
        account,
        pool_id,
        cause,
        machine,
        spell,
        min(run_ended_at) as began_at,
        max(run_ended_at) as failed_at
    from numbered
    group by account, pool_id, cause, machine, spell
),
-- Seconds at which a machine enters, or leaves, the stretch that ends at that second.
steps as (
    select account, pool_id, cause, epoch(began_at) as moment, 1 as step from spells
    union all
    select
        account,
        pool_id,
        cause,
        epoch(failed_at) + 60 * cast($minutes as double) as moment,
        -1 as step
    from spells
),
levels as (
    select
        account,
        pool_id,
        cause,
        moment,
        sum(step) over (
            partition by account, pool_id, cause order by moment, step desc
            rows between unbounded preceding and current row
        ) as machines,
        lead(moment) over (partition by account, pool_id, cause order by moment, step desc) as until
    from steps
),
high as (
    select
        *,
        -- a stretch extends backwards: failures within it belong to the same storm
        case
            when moment - 60 * cast($minutes as double) <= max(until) over (
                partition by account, pool_id, cause order by moment, until
                rows between unbounded preceding and 1 preceding
            ) then 0
            else 1
        end as is_new
    from levels
    where machines >= cast($nodes as int)
),
stormy as (
    select
        *,
        sum(is_new) over (
            partition by account, pool_id, cause order by moment, until
            rows between unbounded preceding and current row
        ) as storm
    from high
),
stretches as (
    select
        account,
        pool_id,
        cause,
        storm,
        min(moment) - 60 * cast($minutes as double) as began,
        max(until) as ended,
        max(machines) as peak_nodes
    from stormy
    group by account, pool_id, cause, storm
),
storms as (
    select
        stretches.account,
        stretches.pool_id,
        stretches.cause,
        stretches.storm,
        stretches.peak_nodes,
        max(failed.failure_code) as failure_code,
        max(failed.exit_code) as exit_code,
        min(failed.run_ended_at) as started_at,
        max(failed.run_ended_at) as ended_at,
        min(failed.start_time) as first_start_time,
        count(distinct failed.machine) as nodes,
        count(*) as failed_runs,
        count(distinct failed.image) as images,
        max_by(failed.failure_message, failed.run_ended_at) as message
    from stretches
    join failed
        on failed.account = stretches.account
        and failed.pool_id = stretches.pool_id
        and failed.cause = stretches.cause
        and epoch(failed.run_ended_at) >= stretches.began
        and epoch(failed.run_ended_at) <= stretches.ended
    group by
        stretches.account, stretches.pool_id, stretches.cause, stretches.storm,
        stretches.peak_nodes
),
-- A run within one day is joined only with that day's storms, which are few. Runs and storms that
-- cross a midnight are joined with all of the pool.
days as (
    select
        *,
        case
            when floor(epoch(start_time) / 86400) = floor(epoch(run_ended_at) / 86400)
                then floor(epoch(start_time) / 86400)
        end as day
    from ended
),
storm_days as (
    select
        account,
        pool_id,
        cause,
        storm,
        first_start_time,
        ended_at,
        case
            when floor(epoch(first_start_time) / 86400) = floor(epoch(ended_at) / 86400)
                then floor(epoch(ended_at) / 86400)
        end as day
    from storms
),
met as (
    select storm_days.account, storm_days.pool_id, cause, storm, has_failed
    from storm_days
    join days
        on days.account = storm_days.account
        and days.pool_id = storm_days.pool_id
        and days.day = storm_days.day
        and days.run_ended_at >= storm_days.first_start_time
        and days.start_time <= storm_days.ended_at
    union all
    select storm_days.account, storm_days.pool_id, cause, storm, has_failed
    from storm_days
    join days
        on days.account = storm_days.account
        and days.pool_id = storm_days.pool_id
        and days.run_ended_at >= storm_days.first_start_time
        and days.start_time <= storm_days.ended_at
    where storm_days.day is null
    union all
    select storm_days.account, storm_days.pool_id, cause, storm, has_failed
    from storm_days
    join days
        on days.account = storm_days.account
        and days.pool_id = storm_days.pool_id
        and days.run_ended_at >= storm_days.first_start_time
        and days.start_time <= storm_days.ended_at
    where storm_days.day is not null and days.day is null
),
rated as (
    select
        account,
        pool_id,
        cause,
        storm,
        count(*) as pool_runs,
        count(*) filter (where has_failed) as pool_failed_runs
    from met
    group by account, pool_id, cause, storm
)
select
    storms.account,
    storms.pool_id,
    storms.failure_code,
    storms.exit_code,
    storms.started_at,
    storms.ended_at,
    round((epoch(storms.ended_at) - epoch(storms.started_at)) / 60, 1) as storm_minutes,
    storms.nodes,
    storms.failed_runs,
    cast(storms.peak_nodes as bigint) as peak_nodes,
    rated.pool_runs,
    rated.pool_failed_runs,
    round(cast(rated.pool_failed_runs as double) / rated.pool_runs, 4) as pool_failure_rate,
    storms.images,
    storms.message
from storms
join rated
    on rated.account = storms.account
    and rated.pool_id = storms.pool_id
    and rated.cause = storms.cause
    and rated.storm = storms.storm
where cast(rated.pool_failed_runs as double) / rated.pool_runs >= cast($rate as double)
order by storms.started_at, storms.account, storms.pool_id, storms.failure_code, storms.exit_code;
