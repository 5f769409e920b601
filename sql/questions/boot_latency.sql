-- question: How long does a new node take from its allocation to boot, start task and first idle?
-- grain:    vm_size x dedicated/spot x image x step
-- columns:  account, vm_size, is_dedicated, image, step, nodes, p50_seconds, p95_seconds, max_seconds
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only nodes allocated at or after this moment
-- param:    to timestamptz = null: only nodes allocated before this moment
-- param:    minutes double = 30: only nodes first listed within this many minutes of their
--           allocation
-- caveats:  Steps in order: 1 allocation to boot, 2 boot to start task, 3 start task (from its
--           first start to its first success, including failures, retries and reboots between), 4
--           start task to idle, 5 allocation to idle. The times are the service's own and exact.
--           But a boot or run that was followed by another before the next listing was not seen.
--           First idle is the first idle or running state that a listing showed: where a node went
--           from idle to running and back between two listings, steps 4 and 5 are too long, by less
--           than the time between listings. Nodes that never became idle count in the steps they
--           reached, so read the nodes column too. Only a node's first boot counts, not one after a
--           preemption or reboot. Where a pool does not wait for its start task, step 4 is left
--           out. image is that of the first boot; it is null where no boot was seen.
with startups as (
    select
        account,
        vm_size,
        is_dedicated,
        boot_image as image,
        epoch(boot_time) - epoch(allocation_time) as boot_seconds,
        epoch(start_task_began_at) - epoch(boot_time) as wait_seconds,
        epoch(start_task_succeeded_at) - epoch(start_task_began_at) as task_seconds,
        case
            when epoch(up_at) >= epoch(start_task_succeeded_at)
                then epoch(up_at) - epoch(start_task_succeeded_at)
        end as idle_seconds,
        epoch(up_at) - epoch(allocation_time) as whole_seconds
    from node_startups
    where epoch(first_observed_at) - epoch(allocation_time) <= 60 * cast($minutes as double)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or allocation_time >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or allocation_time < cast($to as timestamptz))
),
summed as (
    select
        account,
        vm_size,
        is_dedicated,
        image,
        count(boot_seconds) as boot_nodes,
        percentile_cont(0.5) within group (order by boot_seconds) as boot_p50,
        percentile_cont(0.95) within group (order by boot_seconds) as boot_p95,
        max(boot_seconds) as boot_max,
        count(wait_seconds) as wait_nodes,
        percentile_cont(0.5) within group (order by wait_seconds) as wait_p50,
        percentile_cont(0.95) within group (order by wait_seconds) as wait_p95,
        max(wait_seconds) as wait_max,
        count(task_seconds) as task_nodes,
        percentile_cont(0.5) within group (order by task_seconds) as task_p50,
        percentile_cont(0.95) within group (order by task_seconds) as task_p95,
        max(task_seconds) as task_max,
        count(idle_seconds) as idle_nodes,
        percentile_cont(0.5) within group (order by idle_seconds) as idle_p50,
        percentile_cont(0.95) within group (order by idle_seconds) as idle_p95,
        max(idle_seconds) as idle_max,
        count(whole_seconds) as whole_nodes,
        percentile_cont(0.5) within group (order by whole_seconds) as whole_p50,
        percentile_cont(0.95) within group (order by whole_seconds) as whole_p95,
        max(whole_seconds) as whole_max
    from startups
    group by account, vm_size, is_dedicated, image
),
steps as (
    select account, vm_size, is_dedicated, image, '1 allocation to boot' as step, boot_nodes as nodes,
        boot_p50 as p50_seconds, boot_p95 as p95_seconds, boot_max as max_seconds
    from summed
    union all
    select account, vm_size, is_dedicated, image, '2 boot to start task', wait_nodes,
        wait_p50, wait_p95, wait_max
    from summed
    union all
    select account, vm_size, is_dedicated, image, '3 start task', task_nodes,
        task_p50, task_p95, task_max
    from summed
    union all
    select account, vm_size, is_dedicated, image, '4 start task to idle', idle_nodes,
        idle_p50, idle_p95, idle_max
    from summed
    union all
    select account, vm_size, is_dedicated, image, '5 allocation to idle', whole_nodes,
        whole_p50, whole_p95, whole_max
    from summed
)
select
    account,
    vm_size,
    is_dedicated,
    image,
    step,
    nodes,
    p50_seconds,
    p95_seconds,
    max_seconds
from steps
where nodes > 0
order by account, vm_size, is_dedicated, image, step;
