-- question: How many hours did nodes idle, which share of the hours paid for, and what did it cost?
-- grain:    pool x vm_size x dedicated/spot
-- columns:  account, pool_id, vm_size, is_dedicated, idle_hours, certain_idle_hours, paid_hours,
--           idle_share, idle_cost, currency
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only days (UTC) from this one on
-- param:    to timestamptz = null: only days before this one
-- caveats:  Whole days. The true idle hours are at least certain_idle_hours: the time between the
--           last listing that showed a node idle and its next state counts as idle here. paid_hours
--           are all hours in which nodes had a machine: every state but preempted and deallocated.
--           A node that uses one of several slots is not idle. Without a price file, hours only.
with hours as (
    select
        account,
        pool_id,
        vm_size,
        is_dedicated,
        sum(hours) filter (where state = 'idle') as idle_hours,
        sum(certain_hours) filter (where state = 'idle') as certain_idle_hours,
        sum(hours) filter (where state not in ('preempted', 'deallocated')) as paid_hours
    from node_hours
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or date >= cast(cast($from as timestamptz) as date))
        and (cast($to as timestamptz) is null or date < cast(cast($to as timestamptz) as date))
    group by account, pool_id, vm_size, is_dedicated
)
select
    hours.account,
    hours.pool_id,
    hours.vm_size,
    hours.is_dedicated,
    coalesce(hours.idle_hours, 0) as idle_hours,
    coalesce(hours.certain_idle_hours, 0) as certain_idle_hours,
    coalesce(hours.paid_hours, 0) as paid_hours,
    coalesce(hours.idle_hours, 0) / nullif(hours.paid_hours, 0) as idle_share,
    coalesce(hours.idle_hours, 0) * prices.price_per_hour as idle_cost,
    prices.currency
from hours
left join prices
    on prices.vm_size = lower(hours.vm_size)
    and prices.is_dedicated = hours.is_dedicated
order by idle_cost desc nulls last, idle_hours desc, account, pool_id, vm_size, is_dedicated;
