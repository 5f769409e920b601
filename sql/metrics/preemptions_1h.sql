-- metric:   Spot nodes that were preempted within the last hour.
-- grain:    account x pool
-- labels:   account, pool
-- caveats:  A node that was preempted and gone before the next snapshot is not counted.
with taken as (
    select account, pool_id
    from node_states
    where state = 'preempted'
        and state_transition_time > now() - interval 1 hour
        and state_transition_time <= now()
)
select pools.account, pools.pool_id as pool, count(taken.pool_id) as value
from (select distinct account, pool_id from nodes_latest) as pools
left join taken on taken.account = pools.account and taken.pool_id = pools.pool_id
group by pools.account, pools.pool_id;
