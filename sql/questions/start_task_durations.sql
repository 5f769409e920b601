-- question: How long do start tasks run, and did that change with their definition?
-- grain:    pool x definition of its start task
-- columns:  account, pool_id, start_task_definition_id, first_start_time, last_start_time, runs,
--           succeeded, failed, p50_seconds, p95_seconds, p50_change_seconds, uncertain_runs
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only runs that began at or after this moment
-- param:    to timestamptz = null: only runs that began before this moment
-- caveats:  p50_seconds and p95_seconds are of the runs that succeeded; starts and ends are exact.
--           p50_change_seconds compares with the previous definition, by when its runs began. A run
--           is uncertain where the listing just before showed another definition: it may be of that
--           one, so it counts in uncertain_runs and nowhere else. Runs that began before the first
--           listing are assigned to the definition that listing showed. A renewed signature or
--           another value in the environment does not make another definition. Each retry is a run.
--           A run that began and ended between two listings was never seen. A run that a retry
--           followed before a listing showed its end counts in runs only, though most likely it
--           failed.
with firsts as (
    select *
    from start_task_begins
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or start_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or start_time < cast($to as timestamptz))
),
-- most runs end on the day that saw them first; for the others, the day that saw them last has the end
runs as (
    select
        firsts.account,
        firsts.pool_id,
        firsts.start_task_definition_id,
        firsts.start_time,
        firsts.result,
        firsts.is_definition_certain,
        firsts.end_time
    from firsts
    where firsts.end_time is not null
    union all
    select
        firsts.account,
        firsts.pool_id,
        firsts.start_task_definition_id,
        firsts.start_time,
        ends.result,
        firsts.is_definition_certain,
        ends.end_time
    from firsts
    left join start_task_ends as ends
        on ends.account = firsts.account
        and ends.pool_id = firsts.pool_id
        and ends.node_id = firsts.node_id
        and ends.allocation_time is not distinct from firsts.allocation_time
        and ends.start_time = firsts.start_time
    where firsts.end_time is null
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
