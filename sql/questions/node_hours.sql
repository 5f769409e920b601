-- question: How many node-hours did each pool spend in each state, day by day, and what did they cost?
-- grain:    pool x vm_size x dedicated/spot x day (UTC) x state
-- columns:  account, day, pool_id, vm_size, is_dedicated, state, hours, certain_hours, cost, currency
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only days from this one on
-- param:    to timestamptz = null: only days before this one
-- caveats:  hours takes a state to last until the next observed one began; certain_hours counts
--           only from its start to its last observation. The state unobserved is time in which
--           something changed between listings more than 15 minutes apart, and time from a node's
--           allocation to its first listing. A day without rows was not watched. cost is hours
--           times the price file's price. It is zero for preempted and deallocated nodes, which
--           have no machine, and null without a price. Do not add costs of two currencies.
select
    node_hours.account,
    node_hours.date as day,
    node_hours.pool_id,
    node_hours.vm_size,
    node_hours.is_dedicated,
    node_hours.state,
    node_hours.hours,
    node_hours.certain_hours,
    prices.price_per_hour
        * case when node_hours.state in ('preempted', 'deallocated') then 0 else node_hours.hours end
        as cost,
    prices.currency
from node_hours
left join prices
    on prices.vm_size = lower(node_hours.vm_size)
    and prices.is_dedicated = node_hours.is_dedicated
where (cast($pool as varchar) is null or node_hours.pool_id = cast($pool as varchar))
    and (
        cast($from as timestamptz) is null
        or node_hours.date >= cast(cast($from as timestamptz) as date)
    )
    and (
        cast($to as timestamptz) is null
        or node_hours.date < cast(cast($to as timestamptz) as date)
    )
order by account, day, pool_id, vm_size, is_dedicated, hours desc, state;
