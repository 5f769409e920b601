-- answers: how many task runs of each job ended on each node between two moments
-- grain:   date x incarnation x job_id x outcome
-- columns: date, account, pool_id, incarnation_key, job_id, runs
-- caveats: From begins on, before ends; either may be null. Single runs are read only where begins
--          or ends lies between the first and the last run of a row of task_outcomes.
create or replace macro runs_ended_between(begins, ends) as table
select date, account, pool_id, incarnation_key, job_id, runs
from task_outcomes
where coalesce(first_end_time >= begins, true) and coalesce(last_end_time < ends, true)
union all
select cut.date, cut.account, cut.pool_id, cut.incarnation_key, cut.job_id, count(*) as runs
from task_outcomes as cut
join ended_task_runs as run
    on run.date = cut.date
    and run.account = cut.account
    and run.pool_id = cut.pool_id
    and run.node_id = cut.node_id
    and run.allocation_time is not distinct from cut.allocation_time
    and run.job_id is not distinct from cut.job_id
    and run.is_failed = cut.is_failed
    and (not run.is_failed or coalesce(run.failure_code, '') = cut.failure_code)
where (cut.first_end_time < begins or cut.last_end_time >= ends)
    and coalesce(cut.last_end_time >= begins, true)
    and coalesce(cut.first_end_time < ends, true)
    and coalesce(run.end_time >= begins, true)
    and coalesce(run.end_time < ends, true)
group by cut.date, cut.account, cut.pool_id, cut.incarnation_key, cut.job_id;
