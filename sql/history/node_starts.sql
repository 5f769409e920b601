-- makes:   how the nodes came up that were new on a day, or not up yet when the day first listed them
-- grain:   wanted day x incarnation
-- columns: those of facts.NODE_STARTS, and date
-- merge:   the least of every time; a node whose start took more than a day has a row of each
-- traps:   A node that was idle or running, its start task a success, in the day's first listing of
--          it is left out, unless that listing is of the day itself: other days tell of its start.
with states as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        min(first_observed_at) as up_observed_at,
        min(state_transition_time) as idle_at
    from made_node_states
    where state in ('idle', 'running')
    group by date, account, pool_id, node_id, allocation_time
),
runs as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        min(start_time) as started_at,
        min(end_time) filter (where result = 'success') as succeeded_at
    from made_start_task_runs
    group by date, account, pool_id, node_id, allocation_time
),
boots as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        min(boot_time) as boot_time,
        min_by(
            struct_pack(
                image_publisher := image_publisher,
                image_offer := image_offer,
                image_sku := image_sku,
                image_exact_version := image_exact_version,
                image_virtual_machine_image_id := image_virtual_machine_image_id
            ),
            boot_time
        ) as image
    from made_node_boots
    group by date, account, pool_id, node_id, allocation_time
)
select
    seen.date,
    seen.account,
    seen.pool_id,
    seen.node_id,
    seen.allocation_time,
    seen.first_observed_at,
    seen.last_observed_at,
    seen.vm_size,
    seen.is_dedicated,
    boots.boot_time,
    boots.image.image_publisher,
    boots.image.image_offer,
    boots.image.image_sku,
    boots.image.image_exact_version,
    boots.image.image_virtual_machine_image_id,
    runs.started_at,
    runs.succeeded_at,
    states.idle_at,
    cast(
        md5_number_lower(
            concat_ws(
                '/',
                seen.account,
                seen.pool_id,
                seen.node_id,
                cast(epoch_us(seen.allocation_time) as varchar)
            )
        ) // 2
        as bigint
    ) as incarnation_key
from made_node_incarnations as seen
left join states
    on states.date = seen.date
    and states.account = seen.account
    and states.pool_id = seen.pool_id
    and states.node_id = seen.node_id
    and states.allocation_time is not distinct from seen.allocation_time
left join runs
    on runs.date = seen.date
    and runs.account = seen.account
    and runs.pool_id = seen.pool_id
    and runs.node_id = seen.node_id
    and runs.allocation_time is not distinct from seen.allocation_time
left join boots
    on boots.date = seen.date
    and boots.account = seen.account
    and boots.pool_id = seen.pool_id
    and boots.node_id = seen.node_id
    and boots.allocation_time is not distinct from seen.allocation_time
where cast(seen.first_observed_at as date) = seen.date
    or states.up_observed_at is null
    or states.up_observed_at > seen.first_observed_at
    or runs.succeeded_at is null
    or runs.succeeded_at > seen.first_observed_at
