-- question: Which error codes came up over time, how often, and which pools share them?
-- grain:    account x step of time (UTC) x source x code x pool
-- columns:  account, started_at, source, code, pools, pool_id, occurrences, nodes,
--           first_at, last_at, message
-- param:    pool varchar = null: only codes that this pool had, with the pools that share them
-- param:    from timestamptz = null: only what began at or after this moment
-- param:    to timestamptz = null: only what began before this moment
-- param:    step varchar = day: hour, day, week or month
-- param:    source varchar = null: only node, start_task or task
-- traps:    source tells what failed: node (an error a node showed, from its first listing so to the
--           last: one occurrence, in the step in which it was first seen), start_task and task (a
--           run that failed, at its end). pools is how many pools of the account had the code from
--           that source in that step: those stand beside each other. Errors that came and went
--           between two listings, and runs that did, were never seen: of tasks, task_gaps tells how
--           many. A retried attempt of a task shows no failure. An error without a code is ''. Of a node
--           that two complete listings after a day lacked, and that came back with the same
--           allocation, the failed tasks that it still shows count twice, but not in whole days.
with ended_elsewhere as (
    select distinct
        date,
        cast(end_time as date) as ended_on,
        account,
        pool_id,
        coalesce(failure_code, '') as code
    from task_failures
    where cast($step as varchar) = 'day'
        -- not on that day: a cast of every moment to its date would take longer than to read it
        and (
            end_time < cast(date as timestamptz)
            or end_time >= cast(date + interval 1 day as timestamptz)
        )
        and (
            cast($from as timestamptz) is null
            or end_time >= date_trunc(
                'day',
                cast($from as timestamptz) + interval 1 day - interval 1 microsecond
            )
        )
        and (
            cast($to as timestamptz) is null
            or end_time < date_trunc('day', cast($to as timestamptz))
        )
        and coalesce(cast($source as varchar), 'task') = 'task'
),
-- what ended before the record began, or on a day that no listing told of: on few days, of which
-- alone the rows are read whole
untold as (
    select ended_elsewhere.*
    from ended_elsewhere
    left join task_errors
        on task_errors.account = ended_elsewhere.account
        and task_errors.pool_id = ended_elsewhere.pool_id
        and task_errors.failure_code = ended_elsewhere.code
        and task_errors.date = ended_elsewhere.ended_on
    where task_errors.date is null
),
occurrences as (
    select
        account,
        pool_id,
        'node' as source,
        code,
        node_id,
        allocation_time,
        first_observed_at as happened_at,
        message
    from node_error_episodes
    where (cast($from as timestamptz) is null or first_observed_at >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or first_observed_at < cast($to as timestamptz))
        and coalesce(cast($source as varchar), 'node') = 'node'
    union all
    select
        account,
        pool_id,
        'start_task' as source,
        coalesce(failure_code, '') as code,
        node_id,
        allocation_time,
        coalesce(end_time, start_time) as happened_at,
        failure_message as message
    from start_task_ends
    where result = 'failure'
        and (
            cast($from as timestamptz) is null
            or coalesce(end_time, start_time) >= cast($from as timestamptz)
        )
        and (
            cast($to as timestamptz) is null
            or coalesce(end_time, start_time) < cast($to as timestamptz)
        )
        and coalesce(cast($source as varchar), 'start_task') = 'start_task'
    union all
    select
        account,
        pool_id,
        'task' as source,
        coalesce(failure_code, '') as code,
        node_id,
        allocation_time,
        end_time as happened_at,
        failure_message as message
    from task_failures
    where end_time is not null
        -- by days, whole ones are told by task_errors
        and (
            cast($step as varchar) <> 'day'
            or end_time < date_trunc(
                'day',
                cast($from as timestamptz) + interval 1 day - interval 1 microsecond
            )
            or end_time >= date_trunc('day', cast($to as timestamptz))
        )
        -- a run stands under the day that first listed it as over
        and (
            cast($from as timestamptz) is null
            or (
                end_time >= cast($from as timestamptz)
                and date >= cast(cast($from as timestamptz) - interval 1 day as date)
            )
        )
        and (cast($to as timestamptz) is null or end_time < cast($to as timestamptz))
        and coalesce(cast($source as varchar), 'task') = 'task'
    union all
    select
        task_failures.account,
        task_failures.pool_id,
        'task' as source,
        coalesce(task_failures.failure_code, '') as code,
        node_id,
        allocation_time,
        end_time as happened_at,
        task_failures.failure_message as message
    from task_failures
    join untold
        on untold.date = task_failures.date
        and untold.ended_on = cast(end_time as date)
        and untold.account = task_failures.account
        and untold.pool_id = task_failures.pool_id
        and untold.code = coalesce(task_failures.failure_code, '')
),
by_node as (
    select
        account,
        date_trunc(cast($step as varchar), happened_at) as started_at,
        source,
        code,
        pool_id,
        count(*) as occurrences,
        min(happened_at) as first_at,
        max(happened_at) as last_at,
        max_by(message, happened_at) filter (where message is not null) as message,
        max(happened_at) filter (where message is not null) as told_at
    from occurrences
    group by
        account, date_trunc(cast($step as varchar), happened_at), source, code, pool_id,
        node_id, allocation_time
),
counted as (
    select
        account,
        started_at,
        source,
        code,
        pool_id,
        cast(sum(occurrences) as bigint) as occurrences,
        count(*) as nodes,
        min(first_at) as first_at,
        max(last_at) as last_at,
        max_by(message, told_at) filter (where message is not null) as message
    from by_node
    group by account, started_at, source, code, pool_id
    union all
    select
        account,
        cast(date as timestamptz) as started_at,
        'task' as source,
        failure_code as code,
        pool_id,
        failed_runs as occurrences,
        failed_nodes as nodes,
        first_end_time as first_at,
        last_end_time as last_at,
        failure_message as message
    from task_errors
    where cast($step as varchar) = 'day'
        and (cast($from as timestamptz) is null or date >= cast($from as timestamptz))
        and (
            cast($to as timestamptz) is null
            or date < cast(date_trunc('day', cast($to as timestamptz)) as date)
        )
        and coalesce(cast($source as varchar), 'task') = 'task'
),
shared as (
    select
        *,
        count(*) over (partition by account, started_at, source, code) as pools,
        max(case when pool_id = cast($pool as varchar) then 1 else 0 end) over (
            partition by account, started_at, source, code
        ) as is_wanted
    from counted
)
select
    account,
    started_at,
    source,
    code,
    pools,
    pool_id,
    occurrences,
    nodes,
    first_at,
    last_at,
    message
from shared
where cast($pool as varchar) is null or is_wanted = 1
order by account, started_at, source, code, pool_id;
