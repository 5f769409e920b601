-- makes:   every attempt at a task that a node's recentTasks showed, as the listings of a day show
--          it
-- grain:   wanted day x incarnation x job_id x task_id x subtask_id x start_time
-- columns: those of facts.TASK_RUNS that are stored, and date
-- merge:   min of first_observed_at and first_completed_at, max of last_observed_at, the rest from
--          the latest last_observed_at
-- caveats: The window slides: a run that entered and left it between two listings was never seen;
--          task_gaps counts these. A retry has another start_time and is a separate run; only the
--          last attempt at a task ever shows an end_time. A row without start_time is provisional.
with sightings as (
    select
        observations.date,
        observations.account,
        observations.pool_id,
        observations.node_id,
        observations.allocation_time,
        observations.observed_at,
        observations.vm_size,
        observations.is_dedicated,
        recent_tasks.job_id,
        recent_tasks.task_id,
        recent_tasks.subtask_id,
        recent_tasks.start_time,
        recent_tasks.task_state,
        recent_tasks.end_time,
        recent_tasks.exit_code,
        recent_tasks.result,
        recent_tasks.failure_category,
        recent_tasks.failure_code,
        recent_tasks.failure_message,
        recent_tasks.container_state,
        recent_tasks.container_error,
        recent_tasks.retry_count,
        recent_tasks.requeue_count
    from recent_tasks
    join made_observations as observations
        on observations.account = recent_tasks.account
        and observations.snapshot_id = recent_tasks.snapshot_id
        and observations.pool_id = recent_tasks.pool_id
        and observations.node_id = recent_tasks.node_id
),
runs as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        job_id,
        task_id,
        subtask_id,
        start_time,
        min(observed_at) as first_observed_at,
        max(observed_at) as last_observed_at,
        min(observed_at) filter (where task_state = 'completed' or end_time is not null)
            as first_completed_at,
        -- one row wins, including its nulls
        max_by(
            struct_pack(
                task_state := task_state,
                end_time := end_time,
                exit_code := exit_code,
                result := result,
                failure_category := failure_category,
                failure_code := failure_code,
                failure_message := failure_message,
                container_state := container_state,
                container_error := container_error,
                retry_count := retry_count,
                requeue_count := requeue_count,
                vm_size := vm_size,
                is_dedicated := is_dedicated
            ),
            observed_at
        ) as last_row
    from sightings
    group by
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        job_id,
        task_id,
        subtask_id,
        start_time
),
counted as (
    select
        runs.*,
        -- a run that had ended before the node was last listed makes it one of late_nodes
        last_row.end_time is not null
            and cast(first_completed_at as date) = runs.date
            and (nodes.counts_from is null or last_row.end_time >= nodes.counts_from)
            as is_counted
    from runs
    left join made_seen_incarnations as nodes
        on nodes.date = runs.date
        and nodes.account = runs.account
        and nodes.pool_id = runs.pool_id
        and nodes.node_id = runs.node_id
        and nodes.allocation_time is not distinct from runs.allocation_time
)
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    job_id,
    task_id,
    subtask_id,
    start_time,
    first_observed_at,
    last_observed_at,
    first_completed_at,
    last_row.task_state,
    last_row.end_time,
    last_row.exit_code,
    last_row.result,
    last_row.failure_category,
    last_row.failure_code,
    last_row.failure_message,
    last_row.container_state,
    last_row.container_error,
    last_row.retry_count,
    last_row.requeue_count,
    last_row.vm_size,
    last_row.is_dedicated,
    is_counted,
    is_counted
        and (
            coalesce(last_row.result = 'failure', false)
            or (last_row.result is null and coalesce(last_row.exit_code <> 0, false))
        ) as is_failure
from counted
