-- answers: every run of a start task that was ever seen; a retry is a run
-- grain:   incarnation x start_time
-- columns: those of facts.START_TASK_RUNS
-- caveats: As start_task_runs in sql/history. Of interrupted nodes the listing just before a run was
--          first seen may be another day's: its definition is that of node_config_intervals.
create or replace view start_task_runs as
with before as (
    select
        runs.account,
        runs.pool_id,
        runs.node_id,
        runs.allocation_time,
        runs.start_time,
        max_by(
            coalesce(intervals.start_task_definition_id, ''), intervals.first_observed_at
        ) as definition_id
    from merged_start_task_runs as runs
    join interrupted_nodes as nodes
        on nodes.account = runs.account
        and nodes.pool_id = runs.pool_id
        and nodes.node_id = runs.node_id
        and nodes.allocation_time is not distinct from runs.allocation_time
    join node_config_intervals as intervals
        on intervals.account = runs.account
        and intervals.pool_id = runs.pool_id
        and intervals.node_id = runs.node_id
        and intervals.allocation_time is not distinct from runs.allocation_time
        and intervals.first_observed_at < runs.first_observed_at
    group by
        runs.account, runs.pool_id, runs.node_id, runs.allocation_time, runs.start_time
)
select
    runs.account,
    runs.pool_id,
    runs.node_id,
    runs.allocation_time,
    runs.start_time,
    runs.first_observed_at,
    runs.last_observed_at,
    runs.start_task_id,
    runs.start_task_definition_id,
    runs.is_definition_certain
        and coalesce(before.definition_id in ('', runs.start_task_definition_id), true)
        as is_definition_certain,
    runs.state,
    runs.end_time,
    runs.exit_code,
    runs.result,
    runs.failure_category,
    runs.failure_code,
    runs.failure_message,
    runs.container_state,
    runs.container_error,
    runs.retry_count,
    runs.vm_size,
    runs.is_dedicated,
    runs.image_publisher,
    runs.image_offer,
    runs.image_sku,
    runs.image_exact_version,
    runs.image_virtual_machine_image_id
from merged_start_task_runs as runs
left join before
    on before.account = runs.account
    and before.pool_id = runs.pool_id
    and before.node_id = runs.node_id
    and before.allocation_time is not distinct from runs.allocation_time
    and before.start_time = runs.start_time;
