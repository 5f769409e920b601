-- makes:   the nodes that show the end of a task run for the first time on the day, though they were
--          listed between that end and the day
-- grain:   wanted day x incarnation
-- columns: date, the key
-- caveats: An earlier day may have counted such a run: the task was in recentTasks, left it, and
--          returned. Or none has: a row lacked recentTasks. Few; none in most lakes.
select distinct
    runs.date,
    runs.account,
    runs.pool_id,
    runs.node_id,
    runs.allocation_time
from (
    select
        observations.date,
        observations.account,
        observations.pool_id,
        observations.node_id,
        observations.allocation_time,
        min(observations.observed_at) as first_observed_at,
        max(recent_tasks.end_time) as end_time
    from recent_tasks
    join made_observations as observations
        on observations.account = recent_tasks.account
        and observations.snapshot_id = recent_tasks.snapshot_id
        and observations.pool_id = recent_tasks.pool_id
        and observations.node_id = recent_tasks.node_id
    where recent_tasks.end_time < cast(observations.date as timestamptz) + interval 2 seconds
    group by
        observations.date,
        observations.account,
        observations.pool_id,
        observations.node_id,
        observations.allocation_time,
        recent_tasks.job_id,
        recent_tasks.task_id,
        recent_tasks.subtask_id,
        recent_tasks.start_time
) as runs
join made_seen_incarnations as nodes
    on nodes.date = runs.date
    and nodes.account = runs.account
    and nodes.pool_id = runs.pool_id
    and nodes.node_id = runs.node_id
    and nodes.allocation_time is not distinct from runs.allocation_time
where cast(runs.first_observed_at as date) = runs.date and runs.end_time < nodes.counts_from
