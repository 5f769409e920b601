-- question: In which states are the nodes of each pool now?
-- grain:    pool x vm_size x dedicated/spot x state
-- columns:  account, pool_id, vm_size, is_dedicated, state, nodes, running_tasks, since, age_seconds
-- param:    pool varchar = null: only this pool
-- caveats:  since is when the node that has been in the state longest entered it. age_seconds is
--           the age of the listing. Malformed nodes are left out.
select
    account,
    pool_id,
    vm_size,
    is_dedicated,
    state,
    count(*) as nodes,
    sum(running_tasks_count) as running_tasks,
    min(state_transition_time) as since,
    max(age_seconds) as age_seconds
from nodes_latest
where not is_malformed and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
group by account, pool_id, vm_size, is_dedicated, state
order by account, pool_id, vm_size, is_dedicated, nodes desc, state;
