-- answers: the events of nodes, one row each
-- grain:   event of a node
-- columns: account, pool_id, node_id, allocation_time, place (orders what has one time), kind, what,
--          detail, began_after, began_at, ended_after, ended_before, outcome (of tasks), number (of
--          tasks)
-- caveats: It began after began_after and by began_at (began_after is null: exactly at began_at).
--          It ended between ended_after and ended_before. Select one node: over a whole fleet this
--          view is slow.
create or replace view node_events as
with lives as (
    select
        *,
        lag(first_observed_at) over (
            partition by account, pool_id, node_id order by first_observed_at, last_observed_at
        ) as life_before
    from node_incarnations
),
-- each setting by itself; the agent's version is absent while a node starts: that is not a change
settings as (
    select *, 'node agent' as setting, node_agent_version as value from node_config_intervals
    union all
    select
        *,
        'image' as setting,
        concat_ws(
            ' ',
            image_publisher, image_offer, image_sku, image_exact_version,
            image_virtual_machine_image_id
        ) as value
    from node_config_intervals
    union all
    select *, 'scheduling' as setting, scheduling_state as value from node_config_intervals
    union all
    select *, 'start task definition' as setting, substr(start_task_definition_id, 1, 8) as value
    from node_config_intervals
),
changes as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        setting,
        value,
        first_observed_at,
        lag(value) over (
            partition by account, pool_id, node_id, allocation_time, setting
            order by first_observed_at, last_observed_at
        ) as value_before,
        lag(last_observed_at) over (
            partition by account, pool_id, node_id, allocation_time, setting
            order by first_observed_at, last_observed_at
        ) as observed_before
    from settings
    where value <> ''
),
start_runs as (
    select
        *,
        lead(start_time) over (
            partition by account, pool_id, node_id, allocation_time order by start_time
        ) as next_start_time,
        lag(start_task_definition_id) over (
            partition by account, pool_id, node_id order by start_time
        ) as definition_before
    from start_task_runs
)
select
    account, pool_id, node_id, allocation_time,
    0 as place,
    'life' as kind,
    case when allocation_time is null then 'first seen' else 'allocated' end as what,
    concat_ws(
        ', ',
        vm_size,
        case when is_dedicated then 'dedicated' when not is_dedicated then 'spot' end,
        nullif(
            concat_ws(
                ' ',
                image_publisher, image_offer, image_sku, image_exact_version,
                image_virtual_machine_image_id
            ),
            ''
        ),
        case when life_before is not null then 'another machine under the id' end
    ) as detail,
    cast(null as timestamptz) as began_after,
    coalesce(allocation_time, first_observed_at) as began_at,
    cast(null as timestamptz) as ended_after,
    cast(null as timestamptz) as ended_before,
    cast(null as varchar) as outcome,
    1 as number
from lives
union all
select
    account, pool_id, node_id, allocation_time,
    2, 'boot', 'booted', '', null, boot_time, null, null, null, 1
from node_boots
union all
select
    start_runs.account, start_runs.pool_id, start_runs.node_id, start_runs.allocation_time,
    3,
    'start task',
    case
        when result = 'success' then 'succeeded'
        when result = 'failure' then 'failed'
        when next_start_time is null and lives.ended_before is null then 'running'
        else 'its end was not seen'
    end,
    concat_ws(
        ', ',
        'exit code ' || cast(exit_code as varchar),
        failure_code,
        case when failure_code is distinct from container_error then container_error end,
        failure_message,
        case when retry_count > 0 then 'retry ' || cast(retry_count as varchar) end,
        case
            when definition_before = start_task_definition_id then null
            when definition_before is null then null
            when is_definition_certain then 'its definition had changed'
            else 'its definition changed about then'
        end
    ),
    null,
    start_time,
    coalesce(end_time, start_runs.last_observed_at),
    coalesce(end_time, next_start_time, lives.ended_before),
    null,
    1
from start_runs
join lives
    on lives.account = start_runs.account
    and lives.pool_id = start_runs.pool_id
    and lives.node_id = start_runs.node_id
    and lives.allocation_time is not distinct from start_runs.allocation_time
union all
select
    account, pool_id, node_id, allocation_time,
    4, 'state', state, '', null, state_transition_time, ended_after, ended_before, null, 1
from node_states
union all
select
    account, pool_id, node_id, allocation_time,
    5, 'config', setting, value_before || ' -> ' || value,
    observed_before, first_observed_at, null, null, null, 1
from changes
where value_before is not null and value_before <> value
union all
select
    account, pool_id, node_id, allocation_time,
    6, 'error', code, coalesce(message, ''),
    started_after, first_observed_at, last_observed_at, ended_before, null, 1
from node_error_episodes
union all
select
    task_runs.account, task_runs.pool_id, task_runs.node_id, task_runs.allocation_time,
    7,
    'task',
    job_id || '/' || task_id || coalesce('/' || cast(subtask_id as varchar), ''),
    case
        when result = 'success' then 'succeeded'
        when result = 'failure' then concat_ws(
            ', ',
            'failed: exit code ' || cast(exit_code as varchar),
            failure_code,
            container_error,
            failure_message
        )
        when is_provisional then 'had not begun when last seen'
        when end_time is not null then 'ended'
        when task_runs.last_observed_at >= lives.last_observed_at then 'running'
        else 'no end of it here: retried, requeued or not seen'
    end,
    case when start_time is null then task_runs.first_observed_at end,
    coalesce(start_time, task_runs.first_observed_at),
    coalesce(end_time, task_runs.last_observed_at),
    coalesce(end_time, lives.ended_before),
    case
        when result = 'success' then 'succeeded'
        when result = 'failure' then coalesce(
            'exit code ' || cast(exit_code as varchar), failure_code, 'failed'
        )
        when is_provisional then 'had not begun'
        when end_time is not null then 'ended'
        when task_runs.last_observed_at >= lives.last_observed_at then 'still running'
        else 'without an end'
    end,
    1
from task_runs
join lives
    on lives.account = task_runs.account
    and lives.pool_id = task_runs.pool_id
    and lives.node_id = task_runs.node_id
    and lives.allocation_time is not distinct from task_runs.allocation_time
union all
select
    account, pool_id, node_id, allocation_time,
    8, 'task', cast(missed as varchar) || ' more', 'ended between two listings, not seen',
    after, before, before, before, 'not seen', missed
from task_gaps
union all
select
    account, pool_id, node_id, allocation_time,
    10,
    'life',
    case when ended_by is null then 'last seen' else 'gone' end,
    concat_ws(
        ', ',
        case ended_by
            when 'absent' then 'two complete listings of its pool did not have it'
            when 'pool_absent' then 'a complete listing of the account did not have its pool'
            when 'id_reused' then 'its id was of another machine by then'
        end,
        'last state ' || last_state,
        cast(total_tasks_run as varchar) || ' tasks run in all'
    ),
    ended_after, coalesce(ended_before, last_observed_at), null, null, null, 1
from lives;
