-- question: How many node-hours did each pool spend in each state, day by day?
-- grain:    pool x vm_size x dedicated/spot x day (UTC) x state
-- columns:  account, day, pool_id, vm_size, is_dedicated, state, hours, certain_hours
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only days from this one on
-- param:    to timestamptz = null: only days before this one
-- traps:    hours takes a state to last until the next observed one began; certain_hours counts only
--           from its start to its last observation. The state unobserved is time between listings
--           more than 15 minutes apart over which something changed. A day without node_hours was
--           not watched.
select
    account,
    date as day,
    pool_id,
    vm_size,
    is_dedicated,
    state,
    sum(hours) as hours,
    sum(certain_hours) as certain_hours
from node_hours
where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
    and (cast($from as timestamptz) is null or date >= cast(cast($from as timestamptz) as date))
    and (cast($to as timestamptz) is null or date < cast(cast($to as timestamptz) as date))
group by account, date, pool_id, vm_size, is_dedicated, state
order by account, day, pool_id, vm_size, is_dedicated, hours desc, state;
