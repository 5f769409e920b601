-- metric:   Resize errors that a pool showed within the last hour.
-- grain:    account x pool
-- labels:   account, pool
-- caveats:  A pool shows an error until its next resize: the error counts as long as a listing
--           shows it.
with shown as (
    select account, pool_id
    from pool_error_episodes
    where kind = 'resize'
        and last_observed_at > now() - interval 1 hour
        and first_observed_at <= now()
)
select pools.account, pools.pool_id as pool, count(shown.pool_id) as value
from (select distinct account, pool_id from nodes_latest) as pools
left join shown on shown.account = pools.account and shown.pool_id = pools.pool_id
group by pools.account, pools.pool_id;
