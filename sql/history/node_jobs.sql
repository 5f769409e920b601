-- makes:   how many task runs of each job ended on each node, of those whose last listing was in a day
-- grain:   wanted day x job_id x incarnation
-- columns: those of facts.NODE_JOBS, and date
-- merge:   none: a run is told by the day that listed it last
-- traps:   As task_runs: of a task that was retried only its last attempt has an end. Rows lie in the
--          order of jobs: whoever asks for some of them passes over the others' nodes.
select
    date,
    account,
    pool_id,
    job_id,
    node_id,
    allocation_time,
    count(*) as ended_runs,
    min(end_time) as first_end_time,
    max(end_time) as last_end_time,
    cast(
        md5_number_lower(concat(node_id, '@', cast(epoch_us(allocation_time) as varchar))) // 2
        as bigint
    ) as node_key
from made_task_runs
where cast(last_observed_at as date) = date
    and start_time is not null
    and end_time is not null
group by date, account, pool_id, job_id, node_id, allocation_time
