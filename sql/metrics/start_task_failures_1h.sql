-- metric:   Start-task runs that failed within the last hour.
-- grain:    account x pool
-- labels:   account, pool
-- caveats:  A run counts in the hour in which it ended. A run that began and ended between two
--           snapshots was never seen. A pool without a failure has the value 0.
with failed as (
    select account, pool_id
    from start_task_runs
    where result = 'failure'
        and end_time > now() - interval 1 hour
        and end_time <= now()
)
select pools.account, pools.pool_id as pool, count(failed.pool_id) as value
from (select distinct account, pool_id from nodes_latest) as pools
left join failed on failed.account = pools.account and failed.pool_id = pools.pool_id
group by pools.account, pools.pool_id;
