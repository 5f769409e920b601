-- question: Which nodes swallow tasks: many short runs that fail alike, where other nodes do well?
-- grain:    incarnation (node_id, allocation_time)
-- columns:  account, pool_id, node_id, allocation_time, exit_code, exit_code_runs, short_failures,
--           ended_runs, short_failure_rate, others_rate, other_nodes, jobs, mean_seconds,
--           missed_runs, first_start_time, last_end_time, total_tasks_run, total_tasks_succeeded
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only runs that ended at or after this moment
-- param:    to timestamptz = null: only runs that ended before this moment
-- param:    failures int = 10: at least so many short failed runs with the same exit code
-- param:    seconds double = 60: short is a run of at most so many seconds
-- param:    rate double = 0.8: at least this share of the node's ended runs were short failures
-- param:    others double = 0.4: at most this share was on the other nodes
-- traps:    others_rate is what the node's runs would have met elsewhere: for each of its jobs the
--           mean over the pool's other nodes that ran it, each node weighing the same. So a job that
--           fails everywhere accuses nobody, and two black holes do not hide each other among many
--           nodes. Jobs that ran on this node alone tell nothing, but where there are three or more
--           they are compared with all runs of the other nodes. A pool of one node is never accused.
--           Runs count that were seen to end: of a task that is retried only its last attempt.
--           missed_runs came and went on the node between two listings of that time: a fast black
--           hole has many. The totals are the node's own since its allocation. Failures without
--           an exit code (the task could not start) are a group of their own.
with hits as (
    select account, pool_id, node_id, allocation_time, job_id, exit_code, start_time, end_time
    from task_failures
    where epoch(end_time) - epoch(start_time) <= cast($seconds as double)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (
            cast($from as timestamptz) is null
            or (
                end_time >= cast($from as timestamptz)
                and date >= cast(cast($from as timestamptz) - interval 1 day as date)
            )
        )
        and (cast($to as timestamptz) is null or end_time < cast($to as timestamptz))
),
by_code as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        exit_code,
        count(*) as runs
    from hits
    group by account, pool_id, node_id, allocation_time, exit_code
),
placed as (
    select
        *,
        row_number() over (
            partition by account, pool_id, node_id, allocation_time order by runs desc, exit_code
        ) as place
    from by_code
),
suspects as (
    select account, pool_id, node_id, allocation_time, exit_code, runs
    from placed
    where place = 1 and runs >= cast($failures as int)
),
looked_at as (
    select distinct account, pool_id from suspects
),
-- without a range the days' sums are enough; within one every run has to be looked at
sums as (
    select account, pool_id, node_id, allocation_time, job_id, ended_runs
    from node_jobs
    where cast($from as timestamptz) is null
        and cast($to as timestamptz) is null
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
    union all
    select account, pool_id, node_id, allocation_time, job_id, 1 as ended_runs
    from task_runs
    where not (cast($from as timestamptz) is null and cast($to as timestamptz) is null)
        and end_time is not null
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or end_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or end_time < cast($to as timestamptz))
),
ended as (
    select
        sums.account,
        sums.pool_id,
        sums.job_id,
        sums.node_id,
        sums.allocation_time,
        cast(sum(sums.ended_runs) as bigint) as runs
    from sums
    join looked_at
        on looked_at.account = sums.account and looked_at.pool_id = sums.pool_id
    group by sums.account, sums.pool_id, sums.job_id, sums.node_id, sums.allocation_time
),
failed as (
    select
        account,
        pool_id,
        job_id,
        node_id,
        allocation_time,
        count(*) as hits,
        sum(epoch(end_time) - epoch(start_time)) as hit_seconds,
        min(start_time) as first_start_time,
        max(end_time) as last_end_time
    from hits
    group by account, pool_id, job_id, node_id, allocation_time
),
by_job as (
    select
        ended.account,
        ended.pool_id,
        ended.job_id,
        ended.node_id,
        ended.allocation_time,
        ended.runs,
        coalesce(failed.hits, 0) as hits,
        failed.hit_seconds,
        failed.first_start_time,
        failed.last_end_time
    from ended
    left join failed
        on failed.account = ended.account
        and failed.pool_id = ended.pool_id
        and failed.job_id is not distinct from ended.job_id
        and failed.node_id = ended.node_id
        and failed.allocation_time is not distinct from ended.allocation_time
),
compared as (
    select
        *,
        cast(hits as double) / runs as rate,
        count(*) over (partition by account, pool_id, job_id) as nodes,
        sum(cast(hits as double) / runs) over (partition by account, pool_id, job_id) as rates
    from by_job
),
by_node as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        count(*) as jobs,
        cast(sum(runs) as bigint) as runs,
        cast(sum(hits) as bigint) as hits,
        sum(hit_seconds) as hit_seconds,
        min(first_start_time) as first_start_time,
        max(last_end_time) as last_end_time,
        count(*) filter (where nodes = 1) as lone_jobs,
        coalesce(sum(runs) filter (where nodes = 1), 0) as lone_runs,
        coalesce(sum(runs) filter (where nodes > 1), 0) as shared_runs,
        coalesce(sum(runs * (rates - rate) / (nodes - 1)) filter (where nodes > 1), 0)
            as expected_hits
    from compared
    group by account, pool_id, node_id, allocation_time
),
beside as (
    select
        *,
        count(*) over (partition by account, pool_id) - 1 as other_nodes,
        sum(cast(hits as double) / runs) over (partition by account, pool_id)
            - cast(hits as double) / runs as other_rates
    from by_node
),
judged as (
    select
        *,
        cast(hits as double) / runs as rate,
        case
            when other_nodes > 0 and lone_jobs >= 3
                then (expected_hits + lone_runs * other_rates / other_nodes) / runs
            when shared_runs > 0 then expected_hits / shared_runs
        end as others_rate
    from beside
),
totals as (
    select
        node_lives.account,
        node_lives.pool_id,
        node_lives.node_id,
        node_lives.allocation_time,
        max(total_tasks_run) as total_tasks_run,
        max(total_tasks_succeeded) as total_tasks_succeeded
    from node_lives
    join suspects
        on suspects.account = node_lives.account
        and suspects.pool_id = node_lives.pool_id
        and suspects.node_id = node_lives.node_id
        and suspects.allocation_time is not distinct from node_lives.allocation_time
    group by
        node_lives.account, node_lives.pool_id, node_lives.node_id, node_lives.allocation_time
),
missed as (
    select
        task_gaps.account,
        task_gaps.pool_id,
        task_gaps.node_id,
        task_gaps.allocation_time,
        cast(sum(missed) as bigint) as runs
    from task_gaps
    join suspects
        on suspects.account = task_gaps.account
        and suspects.pool_id = task_gaps.pool_id
        and suspects.node_id = task_gaps.node_id
        and suspects.allocation_time is not distinct from task_gaps.allocation_time
    where (cast($from as timestamptz) is null or task_gaps.before >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or task_gaps.before < cast($to as timestamptz))
    group by
        task_gaps.account, task_gaps.pool_id, task_gaps.node_id, task_gaps.allocation_time
)
select
    judged.account,
    judged.pool_id,
    judged.node_id,
    judged.allocation_time,
    suspects.exit_code,
    suspects.runs as exit_code_runs,
    judged.hits as short_failures,
    judged.runs as ended_runs,
    round(judged.rate, 4) as short_failure_rate,
    round(judged.others_rate, 4) as others_rate,
    judged.other_nodes,
    judged.jobs,
    round(judged.hit_seconds / judged.hits, 1) as mean_seconds,
    coalesce(missed.runs, 0) as missed_runs,
    judged.first_start_time,
    judged.last_end_time,
    totals.total_tasks_run,
    totals.total_tasks_succeeded
from judged
join suspects
    on suspects.account = judged.account
    and suspects.pool_id = judged.pool_id
    and suspects.node_id = judged.node_id
    and suspects.allocation_time is not distinct from judged.allocation_time
left join missed
    on missed.account = judged.account
    and missed.pool_id = judged.pool_id
    and missed.node_id = judged.node_id
    and missed.allocation_time is not distinct from judged.allocation_time
left join totals
    on totals.account = judged.account
    and totals.pool_id = judged.pool_id
    and totals.node_id = judged.node_id
    and totals.allocation_time is not distinct from judged.allocation_time
where judged.rate >= cast($rate as double)
    and judged.others_rate <= cast($others as double)
order by short_failures desc, judged.account, judged.pool_id, judged.node_id,
    judged.allocation_time;
