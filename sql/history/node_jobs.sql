-- makes:   how many runs of each job ended on each node, of those that a day first listed as over
-- grain:   wanted day x incarnation x job_id
-- columns: those of facts.NODE_JOBS, and date
-- merge:   none: a run is told by the day that first listed it as over
-- traps:   As task_runs: of a task that was retried only its last attempt has an end. Nodes show their
--          runs for longer or shorter: on the day that listed them last, runs that ended side by side
--          would not stand side by side.
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    job_id,
    count(*) as ended_runs,
    cast(
        md5_number_lower(
            concat_ws(
                '/', account, pool_id, node_id, cast(epoch_us(allocation_time) as varchar)
            )
        ) // 2
        as bigint
    ) as incarnation_key
from made_task_runs
where cast(first_completed_at as date) = date
    and start_time is not null
    and end_time is not null
group by date, account, pool_id, node_id, allocation_time, job_id
