-- answers: how many node-hours each pool spent in each state, over whole days
-- grain:   account x pool x vm_size x dedicated/spot x state
-- columns: account, pool_id, vm_size, is_dedicated, state, hours, certain_hours
-- param:   from timestamptz: from the day that begins at this moment on
-- param:   to timestamptz: only days before this one
-- param:   pool varchar = null: only this pool
-- caveats: As in the question node_hours: unobserved is time in which something changed between two
--          listings more than 15 minutes apart, and days that were not watched have no hours.
select
    account,
    pool_id,
    vm_size,
    is_dedicated,
    state,
    sum(hours) as hours,
    sum(certain_hours) as certain_hours
from node_hours
where date >= cast(cast($from as timestamptz) as date)
    and date < cast(cast($to as timestamptz) as date)
    and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
group by account, pool_id, vm_size, is_dedicated, state
order by account, pool_id, vm_size, is_dedicated, state;
