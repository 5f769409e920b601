-- makes:   every run of a start task whose first listing was in a day, and of which definition it is
-- grain:   wanted day x incarnation x start_time
-- columns: those of facts.START_TASK_BEGINS, and date
-- merge:   none: a run is told by the day that listed it first; start_task_ends tells how it ended
-- traps:   As start_task_runs: a node carries the definition that it will run next, so a run's is that
--          of its first listing. end_time and result are as the day's listings show them: null of a
--          run that ended later. A run that was away from two complete listings is told once more.
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
from made_start_task_runs
where cast(first_observed_at as date) = date
