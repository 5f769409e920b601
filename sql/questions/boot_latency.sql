-- question: How long does a new node take from its allocation to boot, start task and first idle?
-- grain:    vm_size x dedicated/spot x image x step
-- columns:  account, vm_size, is_dedicated, image, step, nodes, p50_seconds, p95_seconds, max_seconds
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only nodes allocated at or after this moment
-- param:    to timestamptz = null: only nodes allocated before this moment
-- param:    minutes double = 30: only nodes first listed within so many minutes of their allocation
-- traps:    Steps in order: 1 allocation to boot, 2 boot to start task, 3 start task (from its first
--           start to its first success, failures, retries and reboots between included), 4 start task
--           to idle, 5 allocation to idle. The times are the service's own and exact. But a boot or
--           run that was followed by another before the next listing was not seen, and first idle is
--           the first idle or running state that a listing showed: where a node went from idle to
--           work and back between two listings, steps 4 and 5 are too long, by less than the time
--           between listings. Nodes that never came up count in the steps they reached, so look at
--           nodes too. Only a node's first boot counts: not that after a preemption or reboot. Where
--           a pool does not wait for its start task, step 4 is left out. image is that of the first
--           boot; null where no boot was seen.
with new_nodes as (
    select account, pool_id, node_id, allocation_time, vm_size, is_dedicated
    from node_incarnations
    where epoch(first_observed_at) - epoch(allocation_time) <= 60 * cast($minutes as double)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or allocation_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or allocation_time < cast($to as timestamptz))
),
boots as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        min(boot_time) as boot_time,
        min_by(
            coalesce(
                image_virtual_machine_image_id,
                nullif(
                    concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version), ''
                )
            ),
            boot_time
        ) as image
    from node_boots
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or allocation_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or allocation_time < cast($to as timestamptz))
    group by account, pool_id, node_id, allocation_time
),
runs as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        min(start_time) as started_at,
        min(end_time) filter (where result = 'success') as ended_at
    from start_task_runs
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or allocation_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or allocation_time < cast($to as timestamptz))
    group by account, pool_id, node_id, allocation_time
),
ready as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        min(state_transition_time) as idle_at
    from node_states
    where state in ('idle', 'running')
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or allocation_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or allocation_time < cast($to as timestamptz))
    group by account, pool_id, node_id, allocation_time
),
lives as (
    select
        new_nodes.account,
        new_nodes.vm_size,
        new_nodes.is_dedicated,
        boots.image,
        epoch(new_nodes.allocation_time) as allocated_at,
        epoch(boots.boot_time) as booted_at,
        epoch(runs.started_at) as started_at,
        epoch(runs.ended_at) as ended_at,
        epoch(ready.idle_at) as idle_at
    from new_nodes
    left join boots
        on boots.account = new_nodes.account
        and boots.pool_id = new_nodes.pool_id
        and boots.node_id = new_nodes.node_id
        and boots.allocation_time = new_nodes.allocation_time
    left join runs
        on runs.account = new_nodes.account
        and runs.pool_id = new_nodes.pool_id
        and runs.node_id = new_nodes.node_id
        and runs.allocation_time = new_nodes.allocation_time
    left join ready
        on ready.account = new_nodes.account
        and ready.pool_id = new_nodes.pool_id
        and ready.node_id = new_nodes.node_id
        and ready.allocation_time = new_nodes.allocation_time
),
steps as (
    select account, vm_size, is_dedicated, image, '1 allocation to boot' as step,
        booted_at - allocated_at as seconds
    from lives
    union all
    select account, vm_size, is_dedicated, image, '2 boot to start task', started_at - booted_at
    from lives
    union all
    select account, vm_size, is_dedicated, image, '3 start task', ended_at - started_at
    from lives
    union all
    select account, vm_size, is_dedicated, image, '4 start task to idle', idle_at - ended_at
    from lives
    where idle_at >= ended_at
    union all
    select account, vm_size, is_dedicated, image, '5 allocation to idle', idle_at - allocated_at
    from lives
)
select
    account,
    vm_size,
    is_dedicated,
    image,
    step,
    count(*) as nodes,
    percentile_cont(0.5) within group (order by seconds) as p50_seconds,
    percentile_cont(0.95) within group (order by seconds) as p95_seconds,
    max(seconds) as max_seconds
from steps
where seconds is not null
group by account, vm_size, is_dedicated, image, step
order by account, vm_size, is_dedicated, image, step;
