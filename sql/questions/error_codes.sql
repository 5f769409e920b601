-- question: Which error codes came up over time, how often, and which pools share them?
-- grain:    account x step of time (UTC) x source x code x pool
-- columns:  account, started_at, source, code, pools, pool_id, occurrences, nodes,
--           first_at, last_at, message
-- param:    pool varchar = null: only codes that this pool had, with the pools that share them
-- param:    from timestamptz = null: only what began at or after this moment
-- param:    to timestamptz = null: only what began before this moment
-- param:    step varchar = day: hour, day, week or month
-- param:    source varchar = null: only node, start_task or task
-- caveats:  source is what failed: node (an error that a node showed: one occurrence from its first
--           listing to its last, in the step in which it was first seen), start_task or task (a run
--           that failed, at its end). pools is the number of pools of the account that had the code
--           from that source in that step; their rows are next to each other. Errors and runs that
--           began and ended between two listings were never seen; task_gaps has the number of such
--           tasks. A retried attempt at a task shows no failure. An error without a code is ''.
with occurrences as (
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
    from ended_task_runs
    where is_failed
        -- the row's date is the day whose listing first showed the run as ended
        and (
            cast($from as timestamptz) is null
            or (
                end_time >= cast($from as timestamptz)
                and date >= cast(cast($from as timestamptz) - interval 1 day as date)
            )
        )
        and (cast($to as timestamptz) is null or end_time < cast($to as timestamptz))
        and coalesce(cast($source as varchar), 'task') = 'task'
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
        max(happened_at) filter (where message is not null) as message_at
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
        max_by(message, message_at) filter (where message is not null) as message
    from by_node
    group by account, started_at, source, code, pool_id
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
