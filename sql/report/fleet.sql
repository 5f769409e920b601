-- answers: in which states the nodes were when last listed before the end of the report
-- grain:   account x pool x state
-- columns: account, pool_id, state, nodes, listed_at
-- param:   to timestamptz: from listings that had finished by this moment
-- param:   pool varchar = null: only this pool
-- caveats: The last complete listing of each pool by then; listed_at is its time. A day whose rows
--          have expired contributes nothing.
select account, pool_id, state, count(*) as nodes, min(observed_at) as listed_at
from nodes_at(cast($to as timestamptz))
where cast($pool as varchar) is null or pool_id = cast($pool as varchar)
group by account, pool_id, state
order by account, pool_id, state;
