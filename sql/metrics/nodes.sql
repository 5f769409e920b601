-- metric:   Nodes of each pool's last complete listing, by state and kind.
-- grain:    account x pool x state x kind
-- labels:   account, pool, state, kind
-- caveats:  The values are as old as that listing: see last_complete_snapshot_age_seconds.
select
    account,
    pool_id as pool,
    coalesce(state, 'unknown') as state,
    case when is_dedicated then 'dedicated' when is_dedicated is null then 'unknown' else 'spot' end
        as kind,
    count(*) as value
from nodes_latest
group by account, pool_id, coalesce(state, 'unknown'), is_dedicated;
