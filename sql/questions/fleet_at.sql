-- question: What was the fleet at a moment: which nodes, of what kind, in which states?
-- grain:    node
-- columns:  account, pool_id, node_id, allocation_time, vm_size, is_dedicated, state,
--           state_transition_time, running_tasks_count, total_tasks_run, node_agent_version,
--           observed_at, age_seconds
-- param:    moment timestamptz = null: as of this moment; now without it
-- param:    pool varchar = null: only this pool
-- caveats:  Each pool's last complete listing that had finished by then; age_seconds is its age. A
--           node that came after it is missing, one that left after it is included. The state is
--           that of the listing. The fleet of days whose rows have expired is not available.
select
    account,
    pool_id,
    node_id,
    allocation_time,
    vm_size,
    is_dedicated,
    state,
    state_transition_time,
    running_tasks_count,
    total_tasks_run,
    node_agent_version,
    observed_at,
    age_seconds
from nodes_at(coalesce(cast($moment as timestamptz), now()))
where cast($pool as varchar) is null or pool_id = cast($pool as varchar)
order by account, pool_id, node_id;
