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
--           Nodes are told apart by 63 bits of a hash of their id and allocation.
with hits as (
    select account, pool_id, node_key, job_id, exit_code, start_time, end_time
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
    select account, pool_id, node_key, exit_code, count(*) as runs
    from hits
    group by account, pool_id, node_key, exit_code
),
placed as (
    select
        *,
        row_number() over (
            partition by account, pool_id, node_key order by runs desc, exit_code
        ) as place
    from by_code
),
suspects as (
    select account, pool_id, node_key, exit_code, runs
    from placed
    where place = 1 and runs >= cast($failures as int)
),
looked_at as (
    select distinct account, pool_id from suspects
),
-- what a day tells of a node and job ended within the range, or beyond an end of it: then its runs
-- have to be looked at
edges as (
    select date, account, pool_id, job_id, node_id, allocation_time, node_key
    from node_jobs
    where (
            (
                first_end_time < cast($from as timestamptz)
                and last_end_time >= cast($from as timestamptz)
            )
            or (
                first_end_time < cast($to as timestamptz)
                and last_end_time >= cast($to as timestamptz)
            )
        )
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
),
edge_jobs as (
    select
        edges.account,
        edges.pool_id,
        edges.job_id,
        edges.node_key,
        count(*) as ended_runs
    from daily_task_runs as told
    join edges
        on edges.date = told.date
        and edges.account = told.account
        and edges.pool_id = told.pool_id
        and edges.job_id is not distinct from told.job_id
        and edges.node_id = told.node_id
        and edges.allocation_time is not distinct from told.allocation_time
    where cast(told.last_observed_at as date) = told.date
        and told.start_time is not null
        and told.end_time is not null
        and (
            cast($from as timestamptz) is null or told.end_time >= cast($from as timestamptz)
        )
        and (cast($to as timestamptz) is null or told.end_time < cast($to as timestamptz))
    group by edges.account, edges.pool_id, edges.job_id, edges.node_key
),
own_parts as (
    select node_jobs.account, node_jobs.pool_id, node_jobs.job_id, node_jobs.node_key, ended_runs
    from node_jobs
    join suspects
        on suspects.account = node_jobs.account
        and suspects.pool_id = node_jobs.pool_id
        and suspects.node_key = node_jobs.node_key
    where (cast($from as timestamptz) is null or first_end_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or last_end_time < cast($to as timestamptz))
    union all
    select edge_jobs.account, edge_jobs.pool_id, job_id, edge_jobs.node_key, ended_runs
    from edge_jobs
    join suspects
        on suspects.account = edge_jobs.account
        and suspects.pool_id = edge_jobs.pool_id
        and suspects.node_key = edge_jobs.node_key
),
own as (
    select account, pool_id, job_id, node_key, cast(sum(ended_runs) as bigint) as runs
    from own_parts
    group by account, pool_id, job_id, node_key
),
failed as (
    select
        account,
        pool_id,
        job_id,
        node_key,
        count(*) as hits,
        sum(epoch(end_time) - epoch(start_time)) as hit_seconds,
        min(start_time) as first_start_time,
        max(end_time) as last_end_time
    from hits
    group by account, pool_id, job_id, node_key
),
own_jobs as (
    select
        own.account,
        own.pool_id,
        own.job_id,
        own.node_key,
        own.runs,
        coalesce(failed.hits, 0) as hits,
        failed.hit_seconds,
        failed.first_start_time,
        failed.last_end_time
    from own
    left join failed
        on failed.account = own.account
        and failed.pool_id = own.pool_id
        and failed.job_id is not distinct from own.job_id
        and failed.node_key = own.node_key
),
accused as (
    select account, pool_id, node_key
    from own_jobs
    group by account, pool_id, node_key
    having cast(sum(hits) as double) / sum(runs) >= cast($rate as double)
),
-- a number of each job: millions of pairs are told apart by two numbers, not by texts
jobs as (
    select account, pool_id, job_id, row_number() over (order by account, pool_id, job_id) as job
    from (
        select distinct own_jobs.account, own_jobs.pool_id, own_jobs.job_id
        from own_jobs
        join accused
            on accused.account = own_jobs.account
            and accused.pool_id = own_jobs.pool_id
            and accused.node_key = own_jobs.node_key
    ) as theirs
),
job_nodes as (
    select jobs.job, node_jobs.node_key, ended_runs
    from node_jobs
    join jobs
        on jobs.account = node_jobs.account
        and jobs.pool_id = node_jobs.pool_id
        and jobs.job_id is not distinct from node_jobs.job_id
    where (cast($from as timestamptz) is null or first_end_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or last_end_time < cast($to as timestamptz))
    union all
    select jobs.job, edge_jobs.node_key, ended_runs
    from edge_jobs
    join jobs
        on jobs.account = edge_jobs.account
        and jobs.pool_id = edge_jobs.pool_id
        and jobs.job_id is not distinct from edge_jobs.job_id
),
job_counts as (
    select job, count(distinct node_key) as nodes
    from job_nodes
    group by job
),
-- the other nodes' rates: of those that have any
hits_of_jobs as (
    select jobs.job, hits.node_key, count(*) as hits
    from hits
    join jobs
        on jobs.account = hits.account
        and jobs.pool_id = hits.pool_id
        and jobs.job_id is not distinct from hits.job_id
    group by jobs.job, hits.node_key
),
hit_rates as (
    select
        job_nodes.job,
        job_nodes.node_key,
        cast(max(hits_of_jobs.hits) as double) / sum(job_nodes.ended_runs) as rate
    from job_nodes
    join hits_of_jobs
        on hits_of_jobs.node_key = job_nodes.node_key and hits_of_jobs.job = job_nodes.job
    group by job_nodes.job, job_nodes.node_key
),
job_rates as (
    select job, sum(rate) as rates
    from hit_rates
    group by job
),
compared as (
    select
        own_jobs.*,
        cast(own_jobs.hits as double) / own_jobs.runs as rate,
        job_counts.nodes,
        coalesce(job_rates.rates, 0) as rates
    from own_jobs
    join accused
        on accused.account = own_jobs.account
        and accused.pool_id = own_jobs.pool_id
        and accused.node_key = own_jobs.node_key
    join jobs
        on jobs.account = own_jobs.account
        and jobs.pool_id = own_jobs.pool_id
        and jobs.job_id is not distinct from own_jobs.job_id
    join job_counts on job_counts.job = jobs.job
    left join job_rates on job_rates.job = jobs.job
),
by_node as (
    select
        account,
        pool_id,
        node_key,
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
    group by account, pool_id, node_key
),
-- every node of their pools, and the rates of those with short failures
node_parts as (
    select account, pool_id, node_key, ended_runs
    from node_tasks
    where cast($from as timestamptz) is null
        and cast($to as timestamptz) is null
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
    union all
    select account, pool_id, node_key, ended_runs
    from node_jobs
    where not (cast($from as timestamptz) is null and cast($to as timestamptz) is null)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or first_end_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or last_end_time < cast($to as timestamptz))
    union all
    select account, pool_id, node_key, ended_runs from edge_jobs
),
pool_nodes as (
    select node_parts.account, node_parts.pool_id, count(distinct node_parts.node_key) as nodes
    from node_parts
    join looked_at
        on looked_at.account = node_parts.account and looked_at.pool_id = node_parts.pool_id
    group by node_parts.account, node_parts.pool_id
),
node_hits as (
    select account, pool_id, node_key, count(*) as hits
    from hits
    group by account, pool_id, node_key
),
-- they tell of jobs that ran on one node alone: asked where there are any
lonely as (
    select distinct account, pool_id from by_node where lone_jobs >= 3
),
node_rates as (
    select
        node_parts.account,
        node_parts.pool_id,
        node_parts.node_key,
        cast(max(node_hits.hits) as double) / sum(node_parts.ended_runs) as rate
    from node_parts
    join node_hits
        on node_hits.account = node_parts.account
        and node_hits.pool_id = node_parts.pool_id
        and node_hits.node_key = node_parts.node_key
    join lonely
        on lonely.account = node_parts.account and lonely.pool_id = node_parts.pool_id
    group by node_parts.account, node_parts.pool_id, node_parts.node_key
),
pool_rates as (
    select account, pool_id, sum(rate) as rates
    from node_rates
    group by account, pool_id
),
beside as (
    select
        by_node.*,
        pool_nodes.nodes - 1 as other_nodes,
        pool_rates.rates - cast(by_node.hits as double) / by_node.runs as other_rates
    from by_node
    join pool_nodes
        on pool_nodes.account = by_node.account and pool_nodes.pool_id = by_node.pool_id
    left join pool_rates
        on pool_rates.account = by_node.account and pool_rates.pool_id = by_node.pool_id
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
-- whose keys those are
named as (
    select distinct
        node_tasks.account,
        node_tasks.pool_id,
        node_tasks.node_key,
        node_tasks.node_id,
        node_tasks.allocation_time
    from node_tasks
    join accused
        on accused.account = node_tasks.account
        and accused.pool_id = node_tasks.pool_id
        and accused.node_key = node_tasks.node_key
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
    join named
        on named.account = node_lives.account
        and named.pool_id = node_lives.pool_id
        and named.node_id = node_lives.node_id
        and named.allocation_time is not distinct from node_lives.allocation_time
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
    join named
        on named.account = task_gaps.account
        and named.pool_id = task_gaps.pool_id
        and named.node_id = task_gaps.node_id
        and named.allocation_time is not distinct from task_gaps.allocation_time
    where (cast($from as timestamptz) is null or task_gaps.before >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or task_gaps.before < cast($to as timestamptz))
    group by
        task_gaps.account, task_gaps.pool_id, task_gaps.node_id, task_gaps.allocation_time
)
select
    judged.account,
    judged.pool_id,
    named.node_id,
    named.allocation_time,
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
    and suspects.node_key = judged.node_key
join named
    on named.account = judged.account
    and named.pool_id = judged.pool_id
    and named.node_key = judged.node_key
left join missed
    on missed.account = named.account
    and missed.pool_id = named.pool_id
    and missed.node_id = named.node_id
    and missed.allocation_time is not distinct from named.allocation_time
left join totals
    on totals.account = named.account
    and totals.pool_id = named.pool_id
    and totals.node_id = named.node_id
    and totals.allocation_time is not distinct from named.allocation_time
where judged.rate >= cast($rate as double)
    and judged.others_rate <= cast($others as double)
order by short_failures desc, judged.account, judged.pool_id, named.node_id,
    named.allocation_time;
