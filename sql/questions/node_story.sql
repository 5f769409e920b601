-- question: What happened to one node, from its allocation to its end?
-- grain:    event of a node: a stretch of work, or each of its states and tasks
-- columns:  account, pool_id, node_id, allocation_time, life, kind, what, detail, began_after,
--           began_at, ended_after, ended_before
-- param:    account varchar = null: of this account
-- param:    pool varchar = null: of this pool
-- param:    node varchar = null: this node, every machine that had its id
-- param:    from timestamptz = null: only what had not ended before this moment
-- param:    to timestamptz = null: only what began before this moment
-- param:    tasks boolean = false: each task run and each idle and running state in a row of its own
-- param:    gap_minutes double = null: tell where the node was not seen for longer than this; by
--           default 15 minutes, or three times the usual time between two listings if that is more
-- traps:    It began after began_after and by began_at (began_after is null: at began_at exactly); it
--           ended between ended_after and ended_before (both the same: then exactly; ended_before is
--           null: not known to have ended). Kinds life, boot and config are moments and have no end.
--           life counts the machines that had the id, by allocation_time. What began and ended
--           between two listings is not told. Rows of kind gap need the rows of their days: they
--           are not told of expired ones.
with lives as (
    select
        *,
        row_number() over (
            partition by account, pool_id, node_id order by first_observed_at, last_observed_at
        ) as life,
        lag(first_observed_at) over (
            partition by account, pool_id, node_id order by first_observed_at, last_observed_at
        ) as life_before
    from node_incarnations
    where (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
),
-- a node lives for few of the record's days: the rows of those are looked at, and joined here
days as (
    select distinct date
    from daily_node_incarnations
    where (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
),
seen as (
    select
        account,
        pool_id,
        node_id,
        snapshot_id,
        observed_at,
        lead(observed_at) over (
            partition by account, pool_id, node_id order by observed_at, snapshot_id
        ) as next_observed_at
    from nodes
    where (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
),
paces as (
    select
        account,
        pool_id,
        node_id,
        coalesce(
            60 * cast($gap_minutes as double),
            greatest(900, 3 * percentile_cont(0.5) within group (
                order by epoch(next_observed_at) - epoch(observed_at)
            ))
        ) as gap_seconds
    from seen
    where next_observed_at is not null
    group by account, pool_id, node_id
),
unseen as (
    select seen.*
    from seen
    join paces
        on paces.account = seen.account
        and paces.pool_id = seen.pool_id
        and paces.node_id = seen.node_id
    where epoch(seen.next_observed_at) - epoch(seen.observed_at) > paces.gap_seconds
),
-- A node is rarely unseen: the ledger and the pools' listings are looked at where it was.
missed_runs as (
    select account, snapshot_id, snapshot_at, error_code
    from snapshots
    where source <> 'usage' and account in (select account from unseen)
),
missed_listings as (
    select account, pool_id, snapshot_id, listing, listing_finished_at, error_code
    from pools
    where pool_id in (select pool_id from unseen)
),
listed_meanwhile as (
    select
        unseen.account,
        unseen.pool_id,
        unseen.node_id,
        unseen.observed_at,
        count(distinct missed_runs.snapshot_id) as runs,
        count(missed_listings.snapshot_id) filter (where missed_listings.listing = 'failed')
            as failed,
        count(missed_listings.snapshot_id) filter (where missed_listings.listing = 'partial')
            as partial,
        count(missed_listings.snapshot_id) filter (where missed_listings.listing = 'complete')
            as complete,
        min(coalesce(missed_listings.error_code, missed_runs.error_code)) as error_code
    from unseen
    join missed_runs
        on missed_runs.account = unseen.account
        and missed_runs.snapshot_id > unseen.snapshot_id
        and missed_runs.snapshot_at < unseen.next_observed_at
    left join missed_listings
        on missed_listings.account = missed_runs.account
        and missed_listings.snapshot_id = missed_runs.snapshot_id
        and missed_listings.pool_id = unseen.pool_id
    where coalesce(missed_listings.listing_finished_at, missed_runs.snapshot_at)
        < unseen.next_observed_at
    group by unseen.account, unseen.pool_id, unseen.node_id, unseen.observed_at
),
-- Each setting by itself; the agent's version is absent while a node starts, which is no change.
configs as (
    select *
    from node_config_intervals
    where (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
),
settings as (
    select *, 'node agent' as setting, node_agent_version as value from configs
    union all
    select
        *,
        'image' as setting,
        concat_ws(
            ' ',
            image_publisher, image_offer, image_sku, image_exact_version,
            image_virtual_machine_image_id
        ) as value
    from configs
    union all
    select *, 'scheduling' as setting, scheduling_state as value from configs
    union all
    select *, 'start task definition' as setting, substr(start_task_definition_id, 1, 8) as value
    from configs
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
start_rows as (
    select
        *,
        row_number() over (
            partition by account, pool_id, node_id, allocation_time, start_time
            order by last_observed_at desc, date desc
        ) as place,
        first_value(start_task_definition_id) over (
            partition by account, pool_id, node_id, allocation_time, start_time
            order by first_observed_at, date
        ) as first_definition_id,
        first_value(is_definition_certain) over (
            partition by account, pool_id, node_id, allocation_time, start_time
            order by first_observed_at, date
        ) as is_first_certain
    from daily_start_task_runs
    where date in (select date from days)
        and (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
),
start_runs as (
    select
        *,
        lead(start_time) over (
            partition by account, pool_id, node_id, allocation_time order by start_time
        ) as next_start_time,
        lag(first_definition_id) over (
            partition by account, pool_id, node_id order by start_time
        ) as definition_before
    from start_rows
    where place = 1
),
task_rows as (
    select
        *,
        row_number() over (
            partition by account, pool_id, node_id, allocation_time,
                job_id, task_id, subtask_id, start_time
            order by last_observed_at desc, date desc
        ) as place,
        min(first_observed_at) over (
            partition by account, pool_id, node_id, allocation_time,
                job_id, task_id, subtask_id, start_time
            order by last_observed_at desc, date desc
            rows between unbounded preceding and unbounded following
        ) as begun_by,
        max(case when start_time is not null then last_observed_at end) over (
            partition by account, pool_id, node_id, allocation_time, job_id, task_id, subtask_id
            order by last_observed_at
            rows between unbounded preceding and unbounded following
        ) as begun_observed_at
    from daily_task_runs
    where date in (select date from days)
        and (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
),
-- as the view task_runs has them
tasks_run as (
    select *, start_time is null as is_provisional
    from task_rows
    where place = 1
        and (
            start_time is not null
            or begun_observed_at is null
            or begun_observed_at < last_observed_at
        )
),
-- What happened, by kind. Every fact is asked for this node only: a join would make them of all
-- nodes first. place orders what has one time; outcome and cause are those of tasks.
told as (
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
    -- what came before is not known where the node was not new when it was first listed
    select
        account, pool_id, node_id, allocation_time,
        1, 'gap', 'not watched yet', 'first listed at the end of this',
        null, allocation_time, first_observed_at, first_observed_at, null, 1
    from lives
    where epoch(first_observed_at) - epoch(allocation_time)
        > 60 * coalesce(cast($gap_minutes as double), 15)
    union all
    select
        account, pool_id, node_id, allocation_time,
        2, 'boot', 'booted', '', null, boot_time, null, null, null, 1
    from daily_node_boots
    where date in (select date from days)
        and (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
    group by account, pool_id, node_id, allocation_time, boot_time
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
                when definition_before = first_definition_id then null
                when definition_before is null then null
                when is_first_certain then 'its definition had changed'
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
    where (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
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
    where (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
    union all
    select
        tasks_run.account, tasks_run.pool_id, tasks_run.node_id, tasks_run.allocation_time,
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
            when tasks_run.last_observed_at >= lives.last_observed_at then 'running'
            else 'no end of it here: retried, requeued or not seen'
        end,
        case when start_time is null then begun_by end,
        coalesce(start_time, begun_by),
        coalesce(end_time, tasks_run.last_observed_at),
        coalesce(end_time, lives.ended_before),
        case
            when result = 'success' then 'succeeded'
            when result = 'failure' then coalesce(
                'exit code ' || cast(exit_code as varchar), failure_code, 'failed'
            )
            when is_provisional then 'had not begun'
            when end_time is not null then 'ended'
            when tasks_run.last_observed_at >= lives.last_observed_at then 'still running'
            else 'without an end'
        end,
        1
    from tasks_run
    join lives
        on lives.account = tasks_run.account
        and lives.pool_id = tasks_run.pool_id
        and lives.node_id = tasks_run.node_id
        and lives.allocation_time is not distinct from tasks_run.allocation_time
    union all
    select
        account, pool_id, node_id, allocation_time,
        8, 'task', cast(max(missed) as varchar) || ' more', 'ended between two listings, not seen',
        after, before, before, before, 'not seen', max(missed)
    from daily_task_gaps
    where date in (select date from days)
        and (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
    group by account, pool_id, node_id, allocation_time, after, before
    union all
    select
        lives.account, lives.pool_id, lives.node_id, lives.allocation_time,
        9,
        'gap',
        'not seen',
        case
            when runs is null then 'no snapshot was taken'
            else concat_ws(
                ', ',
                case when failed > 0 then cast(failed as varchar) || ' listings failed' end,
                case when partial > 0 then cast(partial as varchar) || ' broke off' end,
                case when complete > 0 then cast(complete as varchar) || ' did not have it' end,
                case
                    when runs > failed + partial + complete
                        then cast(runs - failed - partial - complete as varchar)
                            || ' snapshots without its pool'
                end,
                error_code
            )
        end,
        null, unseen.observed_at, next_observed_at, next_observed_at, null, 1
    from unseen
    join lives
        on lives.account = unseen.account
        and lives.pool_id = unseen.pool_id
        and lives.node_id = unseen.node_id
        and unseen.observed_at >= lives.first_observed_at
        and unseen.next_observed_at <= lives.last_observed_at
    left join listed_meanwhile
        on listed_meanwhile.account = unseen.account
        and listed_meanwhile.pool_id = unseen.pool_id
        and listed_meanwhile.node_id = unseen.node_id
        and listed_meanwhile.observed_at = unseen.observed_at
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
    from lives
),
events as (
    select
        told.*,
        lives.life,
        kind = 'task' or (kind = 'state' and what in ('idle', 'running')) as is_ordinary
    from told
    join lives
        on lives.account = told.account
        and lives.pool_id = told.pool_id
        and lives.node_id = told.node_id
        and lives.allocation_time is not distinct from told.allocation_time
    where (
            cast($from as timestamptz) is null
            or coalesce(told.ended_before, told.ended_after, told.began_at)
                >= cast($from as timestamptz)
        )
        and (cast($to as timestamptz) is null or told.began_at < cast($to as timestamptz))
),
-- A stretch of work is what lies between two events that are no task, idle or running.
stretches as (
    select
        *,
        sum(case when is_ordinary and not cast($tasks as boolean) then 0 else 1 end) over (
            partition by account, pool_id, node_id, life
            order by began_at, place, what
            rows between unbounded preceding and current row
        ) as stretch,
        is_ordinary and not cast($tasks as boolean) as is_joined
    from events
),
counts as (
    select
        account, pool_id, node_id, life, stretch, outcome,
        cast(sum(number) as bigint) as number
    from stretches
    where is_joined and outcome is not null
    group by account, pool_id, node_id, life, stretch, outcome
),
outcomes as (
    select
        *,
        row_number() over (
            partition by account, pool_id, node_id, life, stretch, outcome = 'succeeded'
            order by number desc, outcome
        ) as position
    from counts
),
tallies as (
    select
        account, pool_id, node_id, life, stretch,
        cast(
            sum(number) filter (
                where outcome not in ('not seen', 'still running', 'without an end', 'had not begun')
            ) as bigint
        ) as tasks,
        cast(coalesce(sum(number) filter (where outcome = 'succeeded'), 0) as bigint) as succeeded,
        concat_ws(
            ', ',
            max(outcome || ': ' || cast(number as varchar))
                filter (where outcome <> 'succeeded' and position = 1),
            max(outcome || ': ' || cast(number as varchar))
                filter (where outcome <> 'succeeded' and position = 2),
            max(outcome || ': ' || cast(number as varchar))
                filter (where outcome <> 'succeeded' and position = 3),
            'other outcomes: ' || cast(
                sum(number) filter (where outcome <> 'succeeded' and position > 3) as varchar
            )
        ) as others
    from outcomes
    group by account, pool_id, node_id, life, stretch
),
joined as (
    select
        account, pool_id, node_id, life, stretch,
        min(allocation_time) as allocation_time,
        count(*) as events,
        min(kind) as kind,
        min(what) as what,
        min(detail) as detail,
        min_by(place, began_at) as place,
        min(began_after) as began_after,
        min(began_at) as began_at,
        -- it ends with its last state; where it has none, with its last task
        coalesce(
            max_by(ended_after, began_at) filter (where kind = 'state'), max(ended_after)
        ) as ended_after,
        coalesce(
            max_by(coalesce(ended_before, ended_after), began_at) filter (where kind = 'state'),
            max(ended_before)
        ) as ended_before,
        coalesce(
            max_by(ended_before is null, began_at) filter (where kind = 'state'),
            max(case when ended_before is null then 1 else 0 end) = 1
        ) as is_open,
        sum(epoch(coalesce(ended_before, ended_after)) - epoch(began_at))
            filter (where kind = 'state' and what = 'idle') / 3600 as idle_hours,
        sum(epoch(coalesce(ended_before, ended_after)) - epoch(began_at))
            filter (where kind = 'state' and what = 'running') / 3600 as running_hours
    from stretches
    where is_joined
    group by account, pool_id, node_id, life, stretch
),
rows_told as (
    select
        account, pool_id, node_id, allocation_time, life, place, kind, what, detail,
        began_after, began_at, ended_after, ended_before
    from stretches
    where not is_joined
    union all
    select
        joined.account, joined.pool_id, joined.node_id, joined.allocation_time, joined.life,
        joined.place,
        case when events = 1 then kind else 'work' end,
        case
            when events = 1 then what
            when tasks = 1 then '1 task, ' || cast(succeeded as varchar) || ' succeeded'
            when tasks > 1
                then cast(tasks as varchar) || ' tasks, ' || cast(succeeded as varchar) || ' succeeded'
            when idle_hours is null then 'running'
            when running_hours is null then 'idle'
            else 'idle and running'
        end,
        case
            when events = 1 then detail
            else concat_ws(
                ', ',
                case when others <> '' then others end,
                -- of one state alone the length tells
                'running ' || cast(
                    case when idle_hours > 0 then round(running_hours, 2) end as varchar
                ) || ' h',
                'idle ' || cast(
                    case when running_hours > 0 then round(idle_hours, 2) end as varchar
                ) || ' h'
            )
        end,
        case when events = 1 then began_after end,
        began_at,
        ended_after,
        case when not is_open then ended_before end
    from joined
    left join tallies
        on tallies.account = joined.account
        and tallies.pool_id = joined.pool_id
        and tallies.node_id = joined.node_id
        and tallies.life = joined.life
        and tallies.stretch = joined.stretch
)
select
    account, pool_id, node_id, allocation_time, life, kind, what, detail,
    began_after, began_at, ended_after, ended_before
from rows_told
order by account, pool_id, node_id, life, began_at, place, what;
