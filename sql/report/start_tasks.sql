-- answers: how often start tasks failed over time, and from which causes
-- grain:   bin x cause (the most frequent causes, then all others together)
-- columns: bin, cause, is_other, runs, nodes
-- param:   from timestamptz: the start of bin 0
-- param:   to timestamptz: only runs that began before this moment
-- param:   step double: seconds of a bin
-- param:   causes bigint = 5: number of causes that are shown one by one
-- param:   pool varchar = null: only this pool
-- caveats: cause is null for runs that did not fail, and for the other causes. A run counts in the
--          bin in which it began; a retry is a run. A cause is the failure code, with the exit code
--          where there is one. Runs that began and ended between two listings were never seen.
with runs as (
    select
        account,
        pool_id,
        node_id,
        cast(
            floor((epoch(start_time) - epoch(cast($from as timestamptz))) / cast($step as double))
            as integer
        ) as bin,
        case
            when result = 'failure'
                then concat(
                    coalesce(failure_code, 'no code'),
                    case when exit_code is not null then concat(' (exit ', exit_code, ')') else '' end
                )
        end as cause
    from start_task_runs
    where start_time >= cast($from as timestamptz)
        and start_time < cast($to as timestamptz)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
),
ranked as (
    select cause, row_number() over (order by count(*) desc, cause) as place
    from runs
    where cause is not null
    group by cause
)
select
    runs.bin,
    case when ranked.place <= cast($causes as bigint) then runs.cause end as cause,
    runs.cause is not null and ranked.place > cast($causes as bigint) as is_other,
    count(*) as runs,
    count(distinct concat(runs.account, '/', runs.pool_id, '/', runs.node_id)) as nodes
from runs
left join ranked on ranked.cause = runs.cause
group by 1, 2, 3
order by 1, 2, 3;
