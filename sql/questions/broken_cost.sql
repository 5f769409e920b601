-- question: How many hours were paid for nodes that could not work, and what did they cost?
-- grain:    pool x vm_size x dedicated/spot x state (unusable, starttaskfailed, offline, unknown)
-- columns:  account, pool_id, vm_size, is_dedicated, state, broken_hours, certain_broken_hours,
--           share_of_paid_hours, broken_cost, currency
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only days (UTC) from this one on
-- param:    to timestamptz = null: only days before this one
-- caveats:  Whole days. The true hours are at least certain_broken_hours. offline is deliberate
--           (someone disabled scheduling); an unknown node may have gone on working. A node that
--           fails every task at once is not in a broken state: see black_hole_nodes. Nor is one
--           that waits for a start task that never ends: see stuck_nodes. Without a price file,
--           hours only.
with days as (
    select account, pool_id, vm_size, is_dedicated, state, hours, certain_hours
    from node_hours
    where state not in ('preempted', 'deallocated')
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or date >= cast(cast($from as timestamptz) as date))
        and (cast($to as timestamptz) is null or date < cast(cast($to as timestamptz) as date))
),
paid as (
    select account, pool_id, vm_size, is_dedicated, sum(hours) as paid_hours
    from days
    group by account, pool_id, vm_size, is_dedicated
),
broken as (
    select
        account,
        pool_id,
        vm_size,
        is_dedicated,
        state,
        sum(hours) as broken_hours,
        sum(certain_hours) as certain_broken_hours
    from days
    where state in ('unusable', 'starttaskfailed', 'offline', 'unknown')
    group by account, pool_id, vm_size, is_dedicated, state
)
select
    broken.account,
    broken.pool_id,
    broken.vm_size,
    broken.is_dedicated,
    broken.state,
    broken.broken_hours,
    broken.certain_broken_hours,
    broken.broken_hours / nullif(paid.paid_hours, 0) as share_of_paid_hours,
    broken.broken_hours * prices.price_per_hour as broken_cost,
    prices.currency
from broken
join paid
    on paid.account = broken.account
    and paid.pool_id = broken.pool_id
    and paid.vm_size is not distinct from broken.vm_size
    and paid.is_dedicated is not distinct from broken.is_dedicated
left join prices
    on prices.vm_size = lower(broken.vm_size)
    and prices.is_dedicated = broken.is_dedicated
order by broken_cost desc nulls last, broken_hours desc, account, pool_id, vm_size, is_dedicated, state;
