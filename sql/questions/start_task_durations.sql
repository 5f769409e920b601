-- question: How long do start tasks run, and did that change with their definition?
-- grain:    pool x definition of its start task
-- columns:  account, pool_id, start_task_definition_id, first_start_time, last_start_time, runs,
--           succeeded, failed, p50_seconds, p95_seconds, p50_change_seconds, uncertain_runs
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only runs that began at or after this moment
-- param:    to timestamptz = null: only runs that began before this moment
-- traps:    p50_seconds and p95_seconds are of the runs that succeeded; starts and ends are exact.
--           p50_change_seconds compares with the definition whose runs began before. A run is
--           uncertain where the listing just before showed another definition: it may be of that
--           one, so it is counted in uncertain_runs and nowhere else. Runs that began before the
--           first listing are taken to be of the definition it showed. A renewed signature or
--           another value in the environment is no other definition. Each retry is a run; one that
--           came and went between two listings was never seen, and one that a retry followed before
--           a listing showed its end counts in runs only, though most likely it failed.
with firsts as (
    select *
    from start_task_begins
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or start_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or start_time < cast($to as timestamptz))
),
-- Most runs begin and end within the day that saw them first; of the others the day that saw them
-- last tells the end. One that came back after it was thought gone is told twice.
spread as (
    select distinct account, pool_id, node_id, allocation_time, start_time
    from firsts
    where end_time is null
        or start_time < cast(date as timestamptz)
        or start_time >= cast(date + interval 1 day as timestamptz)
),
-- A moment is told apart faster than a node: what begins when no such run did is no such run.
moments as (
    select distinct start_time from spread
),
whole as (
    select firsts.*
    from firsts
    left join moments on moments.start_time = firsts.start_time
    where moments.start_time is null
),
doubtful as (
    select firsts.*
    from firsts
    join moments on moments.start_time = firsts.start_time
),
ends_then as (
    select start_task_ends.*
    from start_task_ends
    join moments on moments.start_time = start_task_ends.start_time
),
begun as (
    select
        doubtful.account,
        doubtful.pool_id,
        doubtful.node_id,
        doubtful.allocation_time,
        doubtful.start_time,
        min_by(doubtful.start_task_definition_id, first_observed_at) as start_task_definition_id,
        min_by(doubtful.is_definition_certain, first_observed_at) as is_definition_certain
    from doubtful
    join spread
        on spread.account = doubtful.account
        and spread.pool_id = doubtful.pool_id
        and spread.node_id = doubtful.node_id
        and spread.allocation_time is not distinct from doubtful.allocation_time
        and spread.start_time = doubtful.start_time
    group by
        doubtful.account, doubtful.pool_id, doubtful.node_id, doubtful.allocation_time,
        doubtful.start_time
),
ended as (
    select
        told.account,
        told.pool_id,
        told.node_id,
        told.allocation_time,
        told.start_time,
        max_by(told.result, told.last_observed_at) as result,
        max_by(told.end_time, told.last_observed_at) as end_time
    from ends_then as told
    join spread
        on spread.account = told.account
        and spread.pool_id = told.pool_id
        and spread.node_id = told.node_id
        and spread.allocation_time is not distinct from told.allocation_time
        and spread.start_time = told.start_time
    group by told.account, told.pool_id, told.node_id, told.allocation_time, told.start_time
),
runs as (
    select
        account,
        pool_id,
        start_task_definition_id,
        start_time,
        result,
        is_definition_certain,
        end_time
    from whole
    union all
    select
        doubtful.account,
        doubtful.pool_id,
        doubtful.start_task_definition_id,
        doubtful.start_time,
        doubtful.result,
        doubtful.is_definition_certain,
        doubtful.end_time
    from doubtful
    left join spread
        on spread.account = doubtful.account
        and spread.pool_id = doubtful.pool_id
        and spread.node_id = doubtful.node_id
        and spread.allocation_time is not distinct from doubtful.allocation_time
        and spread.start_time = doubtful.start_time
    where spread.start_time is null
    union all
    select
        begun.account,
        begun.pool_id,
        begun.start_task_definition_id,
        begun.start_time,
        ended.result,
        begun.is_definition_certain,
        ended.end_time
    from begun
    left join ended
        on ended.account = begun.account
        and ended.pool_id = begun.pool_id
        and ended.node_id = begun.node_id
        and ended.allocation_time is not distinct from begun.allocation_time
        and ended.start_time = begun.start_time
),
timed as (
    select
        account,
        pool_id,
        start_task_definition_id,
        start_time,
        result,
        is_definition_certain,
        epoch(end_time) - epoch(start_time) as seconds
    from runs
),
summed as (
    select
        account,
        pool_id,
        start_task_definition_id,
        min(start_time) filter (where is_definition_certain) as first_start_time,
        max(start_time) filter (where is_definition_certain) as last_start_time,
        count(*) filter (where is_definition_certain) as runs,
        count(*) filter (where is_definition_certain and result = 'success') as succeeded,
        count(*) filter (where is_definition_certain and result = 'failure') as failed,
        percentile_cont(0.5) within group (order by seconds)
            filter (where is_definition_certain and result = 'success') as p50_seconds,
        percentile_cont(0.95) within group (order by seconds)
            filter (where is_definition_certain and result = 'success') as p95_seconds,
        count(*) filter (where not is_definition_certain) as uncertain_runs
    from timed
    group by account, pool_id, start_task_definition_id
)
select
    account,
    pool_id,
    start_task_definition_id,
    first_start_time,
    last_start_time,
    runs,
    succeeded,
    failed,
    p50_seconds,
    p95_seconds,
    p50_seconds - lag(p50_seconds) over (
        partition by account, pool_id order by first_start_time, start_task_definition_id
    ) as p50_change_seconds,
    uncertain_runs
from summed
order by account, pool_id, first_start_time, start_task_definition_id;
