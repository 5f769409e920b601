-- question: Which nodes have been idle longest and still cost money?
-- grain:    node
-- columns:  account, pool_id, node_id, vm_size, is_dedicated, idle_hours, total_tasks_run,
--           age_seconds
-- param:    pool varchar = null: only this pool
-- param:    hours double = 1: idle for at least this many hours when last listed
-- caveats:  Counts from when the node became idle to when it was last listed, not to now.
select
    account,
    pool_id,
    node_id,
    vm_size,
    is_dedicated,
    round((epoch(observed_at) - epoch(state_transition_time)) / 3600, 2) as idle_hours,
    total_tasks_run,
    age_seconds
from nodes_latest
where state = 'idle'
    and epoch(observed_at) - epoch(state_transition_time) >= 3600 * cast($hours as double)
    and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
order by idle_hours desc, account, pool_id, node_id;
