-- answers: how long nodes took from their allocation until they could run tasks
-- grain:   account x pool x vm_size
-- columns: account, pool_id, vm_size, nodes, boot_p50, boot_p95, p5, p25, p50, p75, p95
-- param:   from timestamptz: only nodes that were allocated at or after this moment
-- param:   to timestamptz: only nodes that were allocated before this moment
-- param:   pool varchar = null: only this pool
-- caveats: Minutes; reads report_pieces. Ready is the start of the first idle or running state that
--          a listing showed; a state that began and ended between two listings is not known. Nodes
--          that were never listed as ready are not counted.
with ready as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        max(vm_size) as vm_size,
        min(state_transition_time) as ready_at
    from report_pieces
    where state in ('idle', 'running')
        and is_certain = 1
        and allocation_time >= cast($from as timestamptz)
        and allocation_time < cast($to as timestamptz)
    group by account, pool_id, node_id, allocation_time
),
boots as (
    select account, pool_id, node_id, allocation_time, min(boot_time) as booted_at
    from node_boots
    where allocation_time >= cast($from as timestamptz)
        and allocation_time < cast($to as timestamptz)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
    group by account, pool_id, node_id, allocation_time
),
taken as (
    select
        ready.account,
        ready.pool_id,
        ready.vm_size,
        (epoch(ready.ready_at) - epoch(ready.allocation_time)) / 60 as ready_minutes,
        (epoch(boots.booted_at) - epoch(ready.allocation_time)) / 60 as boot_minutes
    from ready
    left join boots
        on boots.account = ready.account
        and boots.pool_id = ready.pool_id
        and boots.node_id = ready.node_id
        and boots.allocation_time = ready.allocation_time
)
select
    account,
    pool_id,
    vm_size,
    count(*) as nodes,
    percentile_cont(0.5) within group (order by boot_minutes) as boot_p50,
    percentile_cont(0.95) within group (order by boot_minutes) as boot_p95,
    percentile_cont(0.05) within group (order by ready_minutes) as p5,
    percentile_cont(0.25) within group (order by ready_minutes) as p25,
    percentile_cont(0.5) within group (order by ready_minutes) as p50,
    percentile_cont(0.75) within group (order by ready_minutes) as p75,
    percentile_cont(0.95) within group (order by ready_minutes) as p95
from taken
group by account, pool_id, vm_size
order by nodes desc, account, pool_id, vm_size;
