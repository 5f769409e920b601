-- answers: how many task runs of each job ended on each node between two moments
-- grain:   date x incarnation x job_id x outcome
-- columns: date, account, pool_id, incarnation_key, job_id, runs
-- caveats: From begins on, before ends; either may be null. Single runs are read only where begins
--          or ends lies between the first and the last run of a row of task_outcomes.
create or replace macro runs_ended_between(begins, ends) as table
with ranged as (
    select
        *,
        (begins is null or first_end_time >= begins) and (ends is null or last_end_time < ends)
            as is_whole
    from task_outcomes
    where (begins is null or last_end_time >= begins)
        and (ends is null or first_end_time < ends)
)
select date, account, pool_id, incarnation_key, job_id, runs
from ranged
where is_whole
union all
select cut.date, cut.account, cut.pool_id, cut.incarnation_key, cut.job_id, count(*) as runs
from ended_task_runs as run
join (select * from ranged where not is_whole) as cut
    on cut.date = run.date
    and cut.account = run.account
    and cut.pool_id = run.pool_id
    and cut.node_id = run.node_id
    and cut.allocation_time is not distinct from run.allocation_time
    and cut.job_id is not distinct from run.job_id
    and cut.is_failed = run.is_failed
    and (not run.is_failed or cut.failure_code = coalesce(run.failure_code, ''))
where (begins is null or run.end_time >= begins) and (ends is null or run.end_time < ends)
group by cut.date, cut.account, cut.pool_id, cut.incarnation_key, cut.job_id;
