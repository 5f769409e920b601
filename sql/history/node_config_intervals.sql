-- makes:   the configuration of each node, as the listings of a day show it
-- grain:   wanted day x incarnation x stretch of listings with the same values
-- columns: those of facts.NODE_CONFIG_INTERVALS that are stored, and date
-- merge:   gaps and islands: stretches of the same values are merged, unless a listing of that node
--          between them shows others
-- caveats: The service reports no start of a configuration: it lies between two listings. The
--          agent's version is absent while a node starts, so a reboot shows as a stretch without
--          one.
with kept as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        snapshot_id,
        observed_at,
        node_agent_version,
        image_publisher,
        image_offer,
        image_sku,
        image_exact_version,
        image_virtual_machine_image_id,
        start_task_id,
        start_task_definition_id,
        scheduling_state,
        vm_size,
        is_dedicated
    from made_observations
    where not is_malformed
),
-- Most nodes keep their values all day or change each once: then all listings with the same values
-- are one stretch.
alike as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        node_agent_version,
        image_publisher,
        image_offer,
        image_sku,
        image_exact_version,
        image_virtual_machine_image_id,
        start_task_id,
        max(start_task_definition_id) as start_task_definition_id,
        scheduling_state,
        min(observed_at) as first_observed_at,
        max(observed_at) as last_observed_at,
        max_by(vm_size, observed_at) filter (where vm_size is not null) as vm_size,
        max_by(is_dedicated, observed_at) filter (where is_dedicated is not null) as is_dedicated
    from kept
    group by
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        node_agent_version,
        image_publisher,
        image_offer,
        image_sku,
        image_exact_version,
        image_virtual_machine_image_id,
        start_task_id,
        scheduling_state
),
compared as (
    select
        *,
        max(last_observed_at) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by first_observed_at, last_observed_at
            rows between unbounded preceding and 1 preceding
        ) as observed_before
    from alike
),
-- Nodes with values that returned are read listing by listing.
returned as (
    select distinct date, account, pool_id, node_id, allocation_time
    from compared
    where observed_before >= first_observed_at
),
valued as (
    select
        kept.*,
        concat(
            coalesce(node_agent_version, '~'), '|',
            coalesce(image_publisher, '~'), '|',
            coalesce(image_offer, '~'), '|',
            coalesce(image_sku, '~'), '|',
            coalesce(image_exact_version, '~'), '|',
            coalesce(image_virtual_machine_image_id, '~'), '|',
            coalesce(start_task_id, '~'), '|',
            coalesce(scheduling_state, '~')
        ) as config
    from kept
    join returned
        on returned.date = kept.date
        and returned.account = kept.account
        and returned.pool_id = kept.pool_id
        and returned.node_id = kept.node_id
        and returned.allocation_time is not distinct from kept.allocation_time
),
marked as (
    select
        *,
        case
            when config = lag(config) over (
                partition by date, account, pool_id, node_id, allocation_time
                order by observed_at, snapshot_id
            ) then 0
            else 1
        end as is_new
    from valued
),
numbered as (
    select
        *,
        sum(is_new) over (
            partition by date, account, pool_id, node_id, allocation_time
            order by observed_at, snapshot_id
            rows between unbounded preceding and current row
        ) as island
    from marked
)
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    max(node_agent_version) as node_agent_version,
    max(image_publisher) as image_publisher,
    max(image_offer) as image_offer,
    max(image_sku) as image_sku,
    max(image_exact_version) as image_exact_version,
    max(image_virtual_machine_image_id) as image_virtual_machine_image_id,
    max(start_task_id) as start_task_id,
    max(start_task_definition_id) as start_task_definition_id,
    max(scheduling_state) as scheduling_state,
    min(observed_at) as first_observed_at,
    max(observed_at) as last_observed_at,
    max_by(vm_size, observed_at) filter (where vm_size is not null) as vm_size,
    max_by(is_dedicated, observed_at) filter (where is_dedicated is not null) as is_dedicated
from numbered
group by date, account, pool_id, node_id, allocation_time, island
union all
select
    alike.date,
    alike.account,
    alike.pool_id,
    alike.node_id,
    alike.allocation_time,
    alike.node_agent_version,
    alike.image_publisher,
    alike.image_offer,
    alike.image_sku,
    alike.image_exact_version,
    alike.image_virtual_machine_image_id,
    alike.start_task_id,
    alike.start_task_definition_id,
    alike.scheduling_state,
    alike.first_observed_at,
    alike.last_observed_at,
    alike.vm_size,
    alike.is_dedicated
from alike
left join returned
    on returned.date = alike.date
    and returned.account = alike.account
    and returned.pool_id = alike.pool_id
    and returned.node_id = alike.node_id
    and returned.allocation_time is not distinct from alike.allocation_time
where returned.date is null
