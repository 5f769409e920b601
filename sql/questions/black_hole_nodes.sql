-- question: Which nodes swallow tasks: many short runs that fail, where other nodes do well?
-- grain:    incarnation (node_id, allocation_time)
-- columns:  account, pool_id, node_id, allocation_time, exit_code, exit_code_runs, short_failures,
--           ended_runs, short_failure_rate, others_rate, other_nodes, jobs, mean_seconds,
--           missed_runs, first_start_time, last_end_time, total_tasks_run, total_tasks_succeeded,
--           causes
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only runs that ended at or after this moment
-- param:    to timestamptz = null: only runs that ended before this moment
-- param:    failures int = 10: minimum number of short failed runs with the same exit code
-- param:    seconds double = 60: a run is short if it takes at most this many seconds
-- param:    rate double = 0.8: minimum share of short failures in the node's ended runs
-- param:    others double = 0.4: maximum share of short failures on the other nodes
-- caveats:  others_rate is the share that the node's runs would have met elsewhere: for each of its
--           jobs and days, the mean over the pool's other nodes that ran that job on that day, with
--           the same weight for each node. So a job that fails everywhere, even for one day, flags
--           no node, and two black holes do not hide each other among many nodes. A job that ran on
--           this node alone on its day shows nothing, unless there are three or more such jobs:
--           these are compared with all runs of the pool's other nodes on that day. A node that was
--           the only one to run tasks on its days is never flagged. A run's day (UTC) is the day
--           whose listing first showed it as ended. other_nodes is the largest number of the pool's
--           other nodes on one of its days. causes has the most frequent exit codes of the short
--           failures; exit_code is the first of them. For a task that was retried only the last
--           attempt counts. missed_runs began and ended on the node between two listings: a fast
--           black hole has many. The totals are the node's own since its allocation.
-- candidates: enough of the runs that ended on them failed, however long they took
with candidates as (
    select incarnation_key
    from task_outcomes
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and coalesce(last_end_time >= cast($from as timestamptz), true)
        and coalesce(first_end_time < cast($to as timestamptz), true)
    group by incarnation_key
    having sum(runs) filter (where is_failed) >= cast($failures as int)
        and sum(runs) filter (where is_failed) >= cast($rate as double) * sum(runs) filter (
            where is_failed
                or coalesce(first_end_time >= cast($from as timestamptz), true)
                and coalesce(last_end_time < cast($to as timestamptz), true)
        )
),
-- their days, numbered: the other nodes of their pools are compared on these days alone
pool_days as (
    select row_number() over (order by date, account, pool_id) as pool_day, date, account, pool_id
    from (
        select distinct outcomes.date, outcomes.account, outcomes.pool_id
        from task_outcomes as outcomes
        join candidates on candidates.incarnation_key = outcomes.incarnation_key
    ) as days
),
hits as (
    select
        pool_day, account, pool_id, node_id, allocation_time, job_id, exit_code,
        cast(md5_number_lower(concat_ws(
            '/', account, pool_id, node_id, cast(epoch_us(allocation_time) as varchar)
        )) // 2 as bigint) as incarnation_key,
        count(*) as runs,
        sum(epoch(end_time) - epoch(start_time)) as seconds,
        min(start_time) as first_start_time, max(end_time) as last_end_time
    from ended_task_runs
    join pool_days using (date, account, pool_id)
    where is_failed
        and epoch(end_time) - epoch(start_time) <= cast($seconds as double)
        and (cast($from as timestamptz) is null or end_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or end_time < cast($to as timestamptz))
    group by pool_day, account, pool_id, node_id, allocation_time, job_id, exit_code
),
codes as (
    select
        account, pool_id, node_id, allocation_time, incarnation_key, exit_code,
        coalesce('exit ' || cast(exit_code as varchar), 'no exit code') || ': ' as code,
        cast(sum(runs) as bigint) as runs,
        sum(seconds) as seconds,
        min(first_start_time) as first_start_time, max(last_end_time) as last_end_time,
        row_number() over (partition by incarnation_key order by sum(runs) desc, exit_code) as place
    from hits
    join candidates using (incarnation_key)
    group by account, pool_id, node_id, allocation_time, incarnation_key, exit_code
),
suspects as (
    select
        account, pool_id, node_id, allocation_time, incarnation_key,
        max(exit_code) filter (where place = 1) as exit_code, max(runs) as exit_code_runs,
        cast(sum(runs) as bigint) as hits,
        sum(seconds) as seconds,
        min(first_start_time) as first_start_time, max(last_end_time) as last_end_time,
        concat_ws(
            ', ',
            max(code || cast(runs as varchar)) filter (where place = 1),
            max(code || cast(runs as varchar)) filter (where place = 2),
            max(code || cast(runs as varchar)) filter (where place = 3),
            'others: ' || cast(sum(runs) filter (where place > 3) as varchar)
        ) as causes
    from codes
    group by account, pool_id, node_id, allocation_time, incarnation_key
    having max(runs) >= cast($failures as int)
),
ran as (
    select pool_day, incarnation_key, job_id, sum(runs) as runs
    from runs_ended_between(cast($from as timestamptz), cast($to as timestamptz))
    join pool_days using (date, account, pool_id)
    group by pool_day, incarnation_key, job_id
),
-- of each node with hits: their share of its runs of a job, and the sum of all nodes' shares
by_job as (
    select
        ran.*, coalesce(job_hits.hits, 0) as hits,
        coalesce(job_hits.hits, 0) / cast(ran.runs as double) as rate,
        sum(coalesce(job_hits.hits, 0) / cast(ran.runs as double)) over (
            partition by ran.pool_day, ran.job_id
        ) as rates
    from ran
    left join (
        select pool_day, incarnation_key, job_id, sum(runs) as hits
        from hits
        group by pool_day, incarnation_key, job_id
    ) as job_hits
        on job_hits.pool_day = ran.pool_day
        and job_hits.incarnation_key = ran.incarnation_key
        and job_hits.job_id is not distinct from ran.job_id
    where ran.incarnation_key in (select incarnation_key from hits)
),
-- the same of all its runs of a day
by_day as (
    select
        pool_day, incarnation_key,
        sum(hits) / cast(sum(runs) as double) as rate,
        sum(sum(hits) / cast(sum(runs) as double)) over (partition by pool_day) as rates
    from by_job
    group by pool_day, incarnation_key
),
jobs as (
    select pool_day, job_id, count(*) as nodes from ran group by pool_day, job_id
),
days as (
    select pool_day, count(distinct incarnation_key) as nodes from ran group by pool_day
),
judged as (
    select
        by_job.incarnation_key, by_job.job_id, by_job.runs,
        jobs.nodes = 1 as is_alone, days.nodes - 1 as other_nodes,
        case
            when jobs.nodes > 1 then (by_job.rates - by_job.rate) / (jobs.nodes - 1)
            when days.nodes > 1 then (by_day.rates - by_day.rate) / (days.nodes - 1)
        end as elsewhere
    from by_job
    join suspects using (incarnation_key)
    join by_day using (pool_day, incarnation_key)
    join days using (pool_day)
    join jobs
        on jobs.pool_day = by_job.pool_day and jobs.job_id is not distinct from by_job.job_id
),
summed as (
    select
        incarnation_key, cast(sum(runs) as bigint) as runs,
        count(distinct coalesce(job_id, '')) as jobs, max(other_nodes) as other_nodes,
        case
            when count(distinct job_id) filter (where is_alone and elsewhere is not null) >= 3
                then sum(runs * elsewhere) / sum(runs) filter (where elsewhere is not null)
            else sum(runs * elsewhere) filter (where not is_alone)
                / sum(runs) filter (where not is_alone)
        end as others_rate
    from judged
    group by incarnation_key
),
missed as (
    select suspects.incarnation_key, cast(sum(gaps.missed) as bigint) as runs
    from suspects
    join task_gaps as gaps
        on gaps.account = suspects.account
        and gaps.pool_id = suspects.pool_id
        and gaps.node_id = suspects.node_id
        and gaps.allocation_time is not distinct from suspects.allocation_time
    where coalesce(gaps.before >= cast($from as timestamptz), true)
        and coalesce(gaps.before < cast($to as timestamptz), true)
    group by suspects.incarnation_key
)
select
    suspects.account, suspects.pool_id, suspects.node_id, suspects.allocation_time,
    suspects.exit_code, suspects.exit_code_runs,
    suspects.hits as short_failures,
    summed.runs as ended_runs,
    round(cast(suspects.hits as double) / summed.runs, 4) as short_failure_rate,
    round(summed.others_rate, 4) as others_rate,
    summed.other_nodes, summed.jobs,
    round(suspects.seconds / suspects.hits, 1) as mean_seconds,
    coalesce(missed.runs, 0) as missed_runs,
    suspects.first_start_time, suspects.last_end_time,
    lifetimes.total_tasks_run, lifetimes.total_tasks_succeeded,
    suspects.causes
from suspects
join summed using (incarnation_key)
left join node_lifetimes as lifetimes using (incarnation_key)
left join missed using (incarnation_key)
where suspects.hits >= cast($rate as double) * summed.runs
    and summed.others_rate <= cast($others as double)
order by short_failures desc, suspects.account, suspects.pool_id, suspects.node_id,
    suspects.allocation_time;
