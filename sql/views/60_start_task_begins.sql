-- answers: every run of a start task and its definition: a faster start_task_runs
-- grain:   incarnation x start_time
-- columns: date (whose file it is read from), the key, first_observed_at, start_task_definition_id,
--          is_definition_certain; end_time and result (null where the run ended after the day)
-- caveats: As start_task_runs. The file of the day that first listed a run has all of this.
create or replace view start_task_begins as
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    start_time,
    first_observed_at,
    start_task_definition_id,
    is_definition_certain,
    end_time,
    result
from daily_start_task_runs as daily
where is_first
    and not exists (
        select 1
        from interrupted_nodes
        where interrupted_nodes.account = daily.account
            and interrupted_nodes.pool_id = daily.pool_id
            and interrupted_nodes.node_id = daily.node_id
            and interrupted_nodes.allocation_time is not distinct from daily.allocation_time
    )
union all
select
    cast(first_observed_at as date) as date,
    account,
    pool_id,
    node_id,
    allocation_time,
    start_time,
    first_observed_at,
    start_task_definition_id,
    is_definition_certain,
    end_time,
    result
from whole_start_task_runs;
