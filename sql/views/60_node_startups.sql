-- answers: how every node started: its first boot, start task, and idle or running state
-- grain:   incarnation
-- columns: account, pool_id, node_id, allocation_time, incarnation_key, vm_size, is_dedicated,
--          first_observed_at, boot_time, boot_image, start_task_began_at, start_task_succeeded_at,
--          up_at
-- caveats: Each value is the earliest that listings showed, and null where none did.
create or replace view node_startups as
with starting as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        incarnation_key,
        vm_size,
        is_dedicated,
        first_observed_at,
        last_observed_at,
        boot_time,
        boot_image,
        start_task_began_at,
        start_task_succeeded_at,
        up_at
    from daily_node_incarnations
    where is_starting
),
-- a node whose start took more than a day has a row of each of its days
repeated as (
    select incarnation_key
    from starting
    group by incarnation_key
    having count(*) > 1
)
select
    starting.account,
    starting.pool_id,
    starting.node_id,
    starting.allocation_time,
    starting.incarnation_key,
    starting.vm_size,
    starting.is_dedicated,
    starting.first_observed_at,
    starting.boot_time,
    starting.boot_image,
    starting.start_task_began_at,
    starting.start_task_succeeded_at,
    starting.up_at
from starting
left join repeated on repeated.incarnation_key = starting.incarnation_key
where repeated.incarnation_key is null
union all
select
    max(starting.account) as account,
    max(starting.pool_id) as pool_id,
    max(starting.node_id) as node_id,
    max(starting.allocation_time) as allocation_time,
    starting.incarnation_key,
    max_by(starting.vm_size, starting.last_observed_at)
        filter (where starting.vm_size is not null) as vm_size,
    max_by(starting.is_dedicated, starting.last_observed_at)
        filter (where starting.is_dedicated is not null) as is_dedicated,
    min(starting.first_observed_at) as first_observed_at,
    min(starting.boot_time) as boot_time,
    min_by(starting.boot_image, starting.boot_time)
        filter (where starting.boot_image is not null) as boot_image,
    min(starting.start_task_began_at) as start_task_began_at,
    min(starting.start_task_succeeded_at) as start_task_succeeded_at,
    min(starting.up_at) as up_at
from starting
join repeated on repeated.incarnation_key = starting.incarnation_key
group by starting.incarnation_key;
