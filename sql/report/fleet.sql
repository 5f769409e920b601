-- answers: in which states the nodes were when they were last listed, by the end of the report
-- grain:   account x pool x state
-- columns: account, pool_id, state, nodes, listed_at
-- param:   to timestamptz: from listings that had finished by this moment
-- param:   pool varchar = null: only this pool
-- caveats: Each pool's last complete listing by then: listed_at tells how old. A day whose rows
--          were expired tells nothing.
select account, pool_id, state, count(*) as nodes, min(observed_at) as listed_at
from nodes_at(cast($to as timestamptz))
where cast($pool as varchar) is null or pool_id = cast($pool as varchar)
group by account, pool_id, state
order by account, pool_id, state;
