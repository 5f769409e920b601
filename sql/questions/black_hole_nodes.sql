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
-- traps:    others_rate is what the node's runs would have met elsewhere: for each of its jobs and
--           days the mean over the pool's other nodes that ran that job on that day, each node
--           weighing the same. So a job that fails everywhere, be it for a day, accuses nobody, and
--           two black holes do not hide each other among many nodes. Jobs that on their day ran on
--           this node alone tell nothing, but where there are three or more they are compared with
--           all runs of the pool's other nodes on that day. A node that had its days for itself is
--           never accused. A run's day (UTC) is the one whose listing first showed it over.
--           other_nodes is the most of the pool's other nodes on one of its days.
--           Runs count that were seen to end: of a task that is retried only its last attempt. Of a
--           node that the last complete listing before a day lacked, and that came back with the
--           same allocation, the tasks that it still shows count twice.
--           missed_runs came and went on the node between two listings of that time: a fast black
--           hole has many. The totals are the node's own since its allocation. Failures without
--           an exit code (the task could not start) are a group of their own.
--           Nodes are told apart by incarnation_key, 63 bits of a hash.
with hits as (
    select
        date,
        account,
        pool_id,
        job_id,
        incarnation_key,
        exit_code,
        start_time,
        end_time,
        job_runs,
        node_runs
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
    select incarnation_key, exit_code, count(*) as runs
    from hits
    group by incarnation_key, exit_code
),
-- the code that most of a node's failures had
codes as (
    select
        incarnation_key,
        exit_code,
        runs,
        row_number() over (partition by incarnation_key order by runs desc, exit_code) as place
    from by_code
    where runs >= cast($failures as int)
),
-- when the runs ended that a day tells of a pool: where an end of the range lies between, they have
-- to be looked at one by one
pool_days as (
    select
        date,
        account,
        pool_id,
        min(first_end_time) as first_end_time,
        max(last_end_time) as last_end_time
    from job_days
    where not (cast($from as timestamptz) is null and cast($to as timestamptz) is null)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
    group by date, account, pool_id
),
days as (
    select
        date,
        account,
        pool_id,
        (cast($from as timestamptz) is null or first_end_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or last_end_time < cast($to as timestamptz))
            as is_whole
    from pool_days
    where (cast($from as timestamptz) is null or last_end_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or first_end_time < cast($to as timestamptz))
),
part_runs as (
    select
        days.date,
        days.account,
        days.pool_id,
        told.job_id,
        told.node_id,
        told.allocation_time,
        count(*) as ended_runs
    from daily_task_runs as told
    join days
        on days.date = told.date
        and days.account = told.account
        and days.pool_id = told.pool_id
        and not days.is_whole
    where cast(told.first_completed_at as date) = told.date
        and told.start_time is not null
        and told.end_time is not null
        and (
            cast($from as timestamptz) is null or told.end_time >= cast($from as timestamptz)
        )
        and (cast($to as timestamptz) is null or told.end_time < cast($to as timestamptz))
    group by
        days.date,
        days.account,
        days.pool_id,
        told.job_id,
        told.node_id,
        told.allocation_time
),
part_jobs as (
    select
        part_runs.date,
        part_runs.account,
        part_runs.pool_id,
        part_runs.job_id,
        part_runs.ended_runs,
        node_tasks.incarnation_key
    from part_runs
    join node_tasks
        on node_tasks.date = part_runs.date
        and node_tasks.account = part_runs.account
        and node_tasks.pool_id = part_runs.pool_id
        and node_tasks.node_id = part_runs.node_id
        and node_tasks.allocation_time is not distinct from part_runs.allocation_time
),
part_nodes as (
    select date, account, pool_id, incarnation_key, cast(sum(ended_runs) as bigint) as runs
    from part_jobs
    group by date, account, pool_id, incarnation_key
),
part_pools as (
    select date, account, pool_id, count(*) as nodes
    from part_nodes
    group by date, account, pool_id
),
-- every node with short failures, day by day
node_hits as (
    select
        date,
        account,
        pool_id,
        incarnation_key,
        count(*) as hits,
        max(node_runs) as runs,
        sum(epoch(end_time) - epoch(start_time)) as seconds,
        min(start_time) as first_start_time,
        max(end_time) as last_end_time
    from hits
    group by date, account, pool_id, incarnation_key
),
node_days as (
    select
        node_hits.date,
        node_hits.account,
        node_hits.pool_id,
        node_hits.incarnation_key,
        node_hits.hits,
        coalesce(part_nodes.runs, node_hits.runs) as runs,
        node_hits.seconds,
        node_hits.first_start_time,
        node_hits.last_end_time
    from node_hits
    left join part_nodes
        on part_nodes.date = node_hits.date
        and part_nodes.incarnation_key = node_hits.incarnation_key
),
-- whose share is too small on the days of their failures is no black hole
suspects as (
    select
        node_days.account,
        node_days.pool_id,
        node_days.incarnation_key,
        max(codes.exit_code) as exit_code,
        max(codes.runs) as exit_code_runs,
        cast(sum(node_days.hits) as bigint) as hits,
        sum(node_days.seconds) as seconds,
        min(node_days.first_start_time) as first_start_time,
        max(node_days.last_end_time) as last_end_time
    from node_days
    join codes on codes.incarnation_key = node_days.incarnation_key and codes.place = 1
    group by node_days.account, node_days.pool_id, node_days.incarnation_key
    having cast(sum(node_days.hits) as double) / sum(node_days.runs) >= cast($rate as double)
),
-- their jobs, day by day
own_parts as (
    select
        node_jobs.date,
        suspects.account,
        suspects.pool_id,
        node_jobs.job_id,
        node_jobs.incarnation_key,
        node_jobs.ended_runs as runs
    from node_jobs
    join suspects on suspects.incarnation_key = node_jobs.incarnation_key
),
own_jobs as (
    select date, account, pool_id, job_id, incarnation_key, runs
    from own_parts
    where cast($from as timestamptz) is null and cast($to as timestamptz) is null
    union all
    select
        own_parts.date,
        own_parts.account,
        own_parts.pool_id,
        own_parts.job_id,
        own_parts.incarnation_key,
        own_parts.runs
    from own_parts
    join days
        on days.date = own_parts.date
        and days.account = own_parts.account
        and days.pool_id = own_parts.pool_id
        and days.is_whole
    union all
    select
        part_jobs.date,
        part_jobs.account,
        part_jobs.pool_id,
        part_jobs.job_id,
        part_jobs.incarnation_key,
        part_jobs.ended_runs
    from part_jobs
    join suspects on suspects.incarnation_key = part_jobs.incarnation_key
),
jobs as (
    select distinct date, account, pool_id, job_id from own_jobs
),
part_job_nodes as (
    select date, account, pool_id, job_id, count(*) as nodes
    from part_jobs
    group by date, account, pool_id, job_id
),
-- on how many nodes those ran
job_nodes as (
    select
        jobs.date,
        jobs.account,
        jobs.pool_id,
        jobs.job_id,
        coalesce(part_job_nodes.nodes, job_days.nodes) as nodes,
        coalesce(part_pools.nodes, job_days.pool_nodes) as pool_nodes
    from jobs
    join job_days
        on job_days.date = jobs.date
        and job_days.account = jobs.account
        and job_days.pool_id = jobs.pool_id
        and job_days.job_id is not distinct from jobs.job_id
    left join part_job_nodes
        on part_job_nodes.date = jobs.date
        and part_job_nodes.account = jobs.account
        and part_job_nodes.pool_id = jobs.pool_id
        and part_job_nodes.job_id is not distinct from jobs.job_id
    left join part_pools
        on part_pools.date = jobs.date
        and part_pools.account = jobs.account
        and part_pools.pool_id = jobs.pool_id
),
-- the short failures of every node that ran those
job_hits as (
    select
        hits.date,
        hits.account,
        hits.pool_id,
        hits.job_id,
        hits.incarnation_key,
        count(*) as hits,
        max(hits.job_runs) as runs
    from hits
    join jobs
        on jobs.date = hits.date
        and jobs.account = hits.account
        and jobs.pool_id = hits.pool_id
        and jobs.job_id is not distinct from hits.job_id
    group by hits.date, hits.account, hits.pool_id, hits.job_id, hits.incarnation_key
),
job_hit_rates as (
    select
        job_hits.date,
        job_hits.account,
        job_hits.pool_id,
        job_hits.job_id,
        job_hits.incarnation_key,
        cast(job_hits.hits as double) / coalesce(part_jobs.ended_runs, job_hits.runs) as rate
    from job_hits
    left join part_jobs
        on part_jobs.date = job_hits.date
        and part_jobs.incarnation_key = job_hits.incarnation_key
        and part_jobs.job_id is not distinct from job_hits.job_id
),
job_rates as (
    select date, account, pool_id, job_id, sum(rate) as rates
    from job_hit_rates
    group by date, account, pool_id, job_id
),
-- where a job ran on a node alone, the pool's other nodes of that day tell
lone_days as (
    select distinct date, account, pool_id from job_nodes where nodes = 1
),
pool_rates as (
    select
        node_days.date,
        node_days.account,
        node_days.pool_id,
        sum(cast(node_days.hits as double) / node_days.runs) as rates
    from node_days
    join lone_days
        on lone_days.date = node_days.date
        and lone_days.account = node_days.account
        and lone_days.pool_id = node_days.pool_id
    group by node_days.date, node_days.account, node_days.pool_id
),
compared as (
    select
        own_jobs.account,
        own_jobs.pool_id,
        own_jobs.incarnation_key,
        coalesce(own_jobs.job_id, '') as job_id,
        own_jobs.runs,
        job_nodes.nodes,
        job_nodes.pool_nodes,
        case
            when job_nodes.nodes > 1
                then (coalesce(job_rates.rates, 0) - coalesce(own_rates.rate, 0))
                    / (job_nodes.nodes - 1)
            when job_nodes.pool_nodes > 1
                then (
                    coalesce(pool_rates.rates, 0)
                    - coalesce(cast(own_days.hits as double) / own_days.runs, 0)
                ) / (job_nodes.pool_nodes - 1)
        end as elsewhere
    from own_jobs
    join job_nodes
        on job_nodes.date = own_jobs.date
        and job_nodes.account = own_jobs.account
        and job_nodes.pool_id = own_jobs.pool_id
        and job_nodes.job_id is not distinct from own_jobs.job_id
    left join job_rates
        on job_rates.date = own_jobs.date
        and job_rates.account = own_jobs.account
        and job_rates.pool_id = own_jobs.pool_id
        and job_rates.job_id is not distinct from own_jobs.job_id
    left join job_hit_rates as own_rates
        on own_rates.date = own_jobs.date
        and own_rates.incarnation_key = own_jobs.incarnation_key
        and own_rates.job_id is not distinct from own_jobs.job_id
    left join pool_rates
        on pool_rates.date = own_jobs.date
        and pool_rates.account = own_jobs.account
        and pool_rates.pool_id = own_jobs.pool_id
    left join node_days as own_days
        on own_days.date = own_jobs.date
        and own_days.incarnation_key = own_jobs.incarnation_key
),
by_node as (
    select
        incarnation_key,
        cast(sum(runs) as bigint) as runs,
        count(distinct job_id) as jobs,
        max(pool_nodes) - 1 as other_nodes,
        count(distinct job_id) filter (where nodes = 1 and pool_nodes > 1) as lone_jobs,
        coalesce(sum(runs) filter (where nodes = 1 and pool_nodes > 1), 0) as lone_runs,
        coalesce(sum(runs * elsewhere) filter (where nodes = 1), 0) as lone_hits,
        coalesce(sum(runs) filter (where nodes > 1), 0) as shared_runs,
        coalesce(sum(runs * elsewhere) filter (where nodes > 1), 0) as shared_hits
    from compared
    group by incarnation_key
),
judged as (
    select
        suspects.*,
        by_node.runs,
        by_node.jobs,
        by_node.other_nodes,
        cast(suspects.hits as double) / by_node.runs as rate,
        case
            when lone_jobs >= 3 then (shared_hits + lone_hits) / (shared_runs + lone_runs)
            when shared_runs > 0 then shared_hits / shared_runs
        end as others_rate
    from suspects
    join by_node on by_node.incarnation_key = suspects.incarnation_key
),
black_holes as (
    select *
    from judged
    where rate >= cast($rate as double) and others_rate <= cast($others as double)
),
-- who they are
lives as (
    select
        black_holes.incarnation_key,
        daily_node_lives.node_id,
        daily_node_lives.allocation_time,
        max(daily_node_lives.total_tasks_run) as total_tasks_run,
        max(daily_node_lives.total_tasks_succeeded) as total_tasks_succeeded
    from daily_node_lives
    join black_holes on black_holes.incarnation_key = daily_node_lives.incarnation_key
    group by black_holes.incarnation_key, daily_node_lives.node_id, daily_node_lives.allocation_time
),
named as (
    select
        black_holes.*,
        lives.node_id,
        lives.allocation_time,
        lives.total_tasks_run,
        lives.total_tasks_succeeded
    from black_holes
    join lives on lives.incarnation_key = black_holes.incarnation_key
),
-- two days may tell of one gap
gaps as (
    select named.incarnation_key, told.after, told.before, max(told.missed) as missed
    from daily_task_gaps as told
    join named
        on named.account = told.account
        and named.pool_id = told.pool_id
        and named.node_id = told.node_id
        and named.allocation_time is not distinct from told.allocation_time
    where (cast($from as timestamptz) is null or told.before >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or told.before < cast($to as timestamptz))
    group by named.incarnation_key, told.after, told.before
),
missed as (
    select incarnation_key, cast(sum(missed) as bigint) as runs
    from gaps
    group by incarnation_key
)
select
    named.account,
    named.pool_id,
    named.node_id,
    named.allocation_time,
    named.exit_code,
    named.exit_code_runs,
    named.hits as short_failures,
    named.runs as ended_runs,
    round(named.rate, 4) as short_failure_rate,
    round(named.others_rate, 4) as others_rate,
    named.other_nodes,
    named.jobs,
    round(named.seconds / named.hits, 1) as mean_seconds,
    coalesce(missed.runs, 0) as missed_runs,
    named.first_start_time,
    named.last_end_time,
    named.total_tasks_run,
    named.total_tasks_succeeded
from named
left join missed on missed.incarnation_key = named.incarnation_key
order by short_failures desc, named.account, named.pool_id, named.node_id, named.allocation_time;
