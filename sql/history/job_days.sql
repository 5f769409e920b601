-- makes:   on how many nodes runs of a job ended, of those that a day first listed as over
-- grain:   wanted day x account x pool x job_id
-- columns: those of facts.JOB_DAYS, and date
-- merge:   none: a run is told by the day that first listed it as over
-- traps:   As node_jobs. Nodes do not add up over days.
with by_node as (
    select
        date,
        account,
        pool_id,
        job_id,
        count(*) as ended_runs,
        min(end_time) as first_end_time,
        max(end_time) as last_end_time
    from made_task_runs
    where cast(first_completed_at as date) = date
        and start_time is not null
        and end_time is not null
    group by date, account, pool_id, job_id, node_id, allocation_time
),
working as (
    select date, account, pool_id, count(*) as nodes
    from (
        select distinct date, account, pool_id, node_id, allocation_time from made_node_jobs
    ) as nodes
    group by date, account, pool_id
)
select
    by_node.date,
    by_node.account,
    by_node.pool_id,
    by_node.job_id,
    count(*) as nodes,
    max(working.nodes) as pool_nodes,
    cast(sum(by_node.ended_runs) as bigint) as ended_runs,
    min(by_node.first_end_time) as first_end_time,
    max(by_node.last_end_time) as last_end_time
from by_node
join working
    on working.date = by_node.date
    and working.account = by_node.account
    and working.pool_id = by_node.pool_id
group by by_node.date, by_node.account, by_node.pool_id, by_node.job_id
