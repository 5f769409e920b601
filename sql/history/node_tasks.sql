-- makes:   how many task runs ended on each node, of those that a day first listed as over
-- grain:   wanted day x incarnation
-- columns: those of facts.NODE_TASKS, and date
-- merge:   none: a run is told by the day that first listed it as over
-- traps:   As node_jobs.
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    cast(sum(ended_runs) as bigint) as ended_runs,
    max(incarnation_key) as incarnation_key
from made_node_jobs
group by date, account, pool_id, node_id, allocation_time
