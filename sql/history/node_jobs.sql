-- makes:   how many task runs of each job ended on each node, of those whose last listing was in a day
-- grain:   wanted day x incarnation x job_id
-- columns: those of facts.NODE_JOBS, and date
-- merge:   none: a run is told by the day that listed it last
-- traps:   As task_runs: of a task that was retried only its last attempt has an end.
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    job_id,
    count(*) as ended_runs,
    min(end_time) as first_end_time,
    max(end_time) as last_end_time
from made_task_runs
where cast(last_observed_at as date) = date
    and start_time is not null
    and end_time is not null
group by date, account, pool_id, node_id, allocation_time, job_id
