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
with starts as (
    -- a start that took more than a day is told by each of its days
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        max_by(vm_size, last_observed_at) as vm_size,
        max_by(is_dedicated, last_observed_at) as is_dedicated,
        min(first_observed_at) as first_observed_at,
        min(boot_time) as boot_time,
        min_by(
            coalesce(
                image_virtual_machine_image_id,
                nullif(
                    concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version), ''
                )
            ),
            boot_time
        ) as image,
        min(started_at) as started_at,
        min(succeeded_at) as succeeded_at,
        min(idle_at) as idle_at
    from node_starts
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or allocation_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or allocation_time < cast($to as timestamptz))
    group by account, pool_id, node_id, allocation_time
),
lives as (
    select
        account,
        vm_size,
        is_dedicated,
        image,
        epoch(allocation_time) as allocated_at,
        epoch(boot_time) as booted_at,
        epoch(started_at) as started_at,
        epoch(succeeded_at) as ended_at,
        epoch(idle_at) as idle_at
    from starts
    where epoch(first_observed_at) - epoch(allocation_time) <= 60 * cast($minutes as double)
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
