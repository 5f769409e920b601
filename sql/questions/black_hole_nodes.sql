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
with ended as (
    select *
    from runs_ended_between(cast($from as timestamptz), cast($to as timestamptz))
    where cast($pool as varchar) is null or pool_id = cast($pool as varchar)
),
hits as (
    select
        date, account, pool_id, node_id, allocation_time, job_id, exit_code,
        cast(
            md5_number_lower(
                concat_ws(
                    '/', account, pool_id, node_id, cast(epoch_us(allocation_time) as varchar)
                )
            ) // 2 as bigint
        ) as incarnation_key,
        count(*) as runs,
        sum(epoch(end_time) - epoch(start_time)) as seconds,
        min(start_time) as first_start_time,
        max(end_time) as last_end_time
    from ended_task_runs
    where is_failed
        and epoch(end_time) - epoch(start_time) <= cast($seconds as double)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or end_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or end_time < cast($to as timestamptz))
    group by date, account, pool_id, node_id, allocation_time, job_id, exit_code
),
codes as (
    select
        incarnation_key,
        exit_code,
        coalesce('exit ' || cast(exit_code as varchar), 'no exit code') || ': ' as code,
        cast(sum(runs) as bigint) as runs,
        row_number() over (
            partition by incarnation_key order by sum(runs) desc, exit_code
        ) as place
    from hits
    group by incarnation_key, exit_code
),
mixes as (
    select
        incarnation_key,
        max(exit_code) filter (where place = 1) as exit_code,
        max(runs) as exit_code_runs,
        cast(sum(runs) as bigint) as hits,
        concat_ws(
            ', ',
            max(code || cast(runs as varchar)) filter (where place = 1),
            max(code || cast(runs as varchar)) filter (where place = 2),
            max(code || cast(runs as varchar)) filter (where place = 3),
            'others: ' || cast(sum(runs) filter (where place > 3) as varchar)
        ) as causes
    from codes
    group by incarnation_key
    having max(runs) >= cast($failures as int)
),
own_runs as (
    select ended.date, ended.account, ended.pool_id, ended.incarnation_key, ended.runs
    from ended
    join mixes on mixes.incarnation_key = ended.incarnation_key
),
suspects as (
    select own_runs.incarnation_key, cast(sum(own_runs.runs) as bigint) as runs
    from own_runs
    join mixes on mixes.incarnation_key = own_runs.incarnation_key
    group by own_runs.incarnation_key
    having max(mixes.hits) >= cast($rate as double) * sum(own_runs.runs)
),
days as (
    select distinct own_runs.date, own_runs.account, own_runs.pool_id
    from own_runs
    join suspects on suspects.incarnation_key = own_runs.incarnation_key
),
-- all nodes' results by job, on the days of the suspects: few pools have one, on few days
pool_runs as (
    select ended.date, ended.account, ended.pool_id, ended.job_id, ended.incarnation_key,
        sum(ended.runs) as runs
    from ended
    join days using (date, account, pool_id)
    group by ended.date, ended.account, ended.pool_id, ended.job_id, ended.incarnation_key
),
fared as (
    select pool_runs.*, coalesce(job_hits.hits, 0) as hits
    from pool_runs
    left join (
        select date, incarnation_key, job_id, sum(runs) as hits
        from hits
        group by date, incarnation_key, job_id
    ) as job_hits
        on job_hits.date = pool_runs.date
        and job_hits.incarnation_key = pool_runs.incarnation_key
        and job_hits.job_id is not distinct from pool_runs.job_id
),
compared as (
    select
        *,
        cast(hits as double) / runs as rate,
        count(*) over (partition by date, account, pool_id, job_id) as nodes,
        sum(cast(hits as double) / runs) over (partition by date, account, pool_id, job_id)
            as job_rates
    from fared
),
by_node as (
    select date, account, pool_id, incarnation_key,
        sum(cast(hits as double)) / sum(runs) as rate
    from fared
    group by date, account, pool_id, incarnation_key
),
placed as (
    select
        *,
        count(*) over (partition by date, account, pool_id) as nodes,
        sum(rate) over (partition by date, account, pool_id) as rates
    from by_node
),
judged as (
    select
        compared.incarnation_key, compared.job_id, compared.runs, compared.nodes = 1 as is_alone,
        placed.nodes - 1 as other_nodes,
        case
            when compared.nodes > 1
                then (compared.job_rates - compared.rate) / (compared.nodes - 1)
            when placed.nodes > 1 then (placed.rates - placed.rate) / (placed.nodes - 1)
        end as elsewhere
    from compared
    join suspects on suspects.incarnation_key = compared.incarnation_key
    join placed
        on placed.date = compared.date and placed.incarnation_key = compared.incarnation_key
),
summed as (
    select
        incarnation_key,
        count(distinct coalesce(job_id, '')) as jobs,
        max(other_nodes) as other_nodes,
        case
            when count(distinct job_id) filter (where is_alone and elsewhere is not null) >= 3
                then sum(runs * elsewhere) / sum(runs) filter (where elsewhere is not null)
            else sum(runs * elsewhere) filter (where not is_alone)
                / sum(runs) filter (where not is_alone)
        end as others_rate
    from judged
    group by incarnation_key
),
accused as (
    select
        hits.account, hits.pool_id, hits.node_id, hits.allocation_time, hits.incarnation_key,
        sum(hits.seconds) as seconds,
        min(hits.first_start_time) as first_start_time,
        max(hits.last_end_time) as last_end_time
    from hits
    join summed on summed.incarnation_key = hits.incarnation_key
    where summed.others_rate <= cast($others as double)
    group by hits.account, hits.pool_id, hits.node_id, hits.allocation_time, hits.incarnation_key
),
missed as (
    select accused.incarnation_key, cast(sum(gaps.missed) as bigint) as runs
    from accused
    join task_gaps as gaps
        on gaps.account = accused.account
        and gaps.pool_id = accused.pool_id
        and gaps.node_id = accused.node_id
        and gaps.allocation_time is not distinct from accused.allocation_time
    where (cast($from as timestamptz) is null or gaps.before >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or gaps.before < cast($to as timestamptz))
    group by accused.incarnation_key
)
select
    accused.account, accused.pool_id, accused.node_id, accused.allocation_time,
    mixes.exit_code,
    mixes.exit_code_runs,
    mixes.hits as short_failures,
    suspects.runs as ended_runs,
    round(cast(mixes.hits as double) / suspects.runs, 4) as short_failure_rate,
    round(summed.others_rate, 4) as others_rate,
    summed.other_nodes,
    summed.jobs,
    round(accused.seconds / mixes.hits, 1) as mean_seconds,
    coalesce(missed.runs, 0) as missed_runs,
    accused.first_start_time,
    accused.last_end_time,
    lifetimes.total_tasks_run,
    lifetimes.total_tasks_succeeded,
    mixes.causes
from accused
join mixes on mixes.incarnation_key = accused.incarnation_key
join suspects on suspects.incarnation_key = accused.incarnation_key
join summed on summed.incarnation_key = accused.incarnation_key
left join node_lifetimes as lifetimes on lifetimes.incarnation_key = accused.incarnation_key
left join missed on missed.incarnation_key = accused.incarnation_key
order by short_failures desc, accused.account, accused.pool_id, accused.node_id,
    accused.allocation_time;
