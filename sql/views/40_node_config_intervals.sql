-- answers: the configuration of each node, and from when to when it was observed
-- grain:   incarnation x configuration x first_observed_at
-- columns: those of facts.NODE_CONFIG_INTERVALS
-- caveats: The service reports no start of a configuration. The start lies between started_after
--          and first_observed_at, the end between last_observed_at and ended_before. Stretches of
--          several days are merged unless a listing of the node between them shows other values.
create or replace view node_config_intervals as
with valued as (
    select
        *,
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
    from daily_node_config_intervals
),
marked as (
    select
        *,
        case
            when config = lag(config) over (
                partition by account, pool_id, node_id, allocation_time
                order by first_observed_at, last_observed_at, date
            ) then 0
            else 1
        end as is_new
    from valued
),
numbered as (
    select
        *,
        sum(is_new) over (
            partition by account, pool_id, node_id, allocation_time
            order by first_observed_at, last_observed_at, date
            rows between unbounded preceding and current row
        ) as island
    from marked
),
joined as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        island,
        max(node_agent_version) as node_agent_version,
        max(image_publisher) as image_publisher,
        max(image_offer) as image_offer,
        max(image_sku) as image_sku,
        max(image_exact_version) as image_exact_version,
        max(image_virtual_machine_image_id) as image_virtual_machine_image_id,
        max(start_task_id) as start_task_id,
        max(start_task_definition_id) as start_task_definition_id,
        max(scheduling_state) as scheduling_state,
        min(first_observed_at) as first_observed_at,
        max(last_observed_at) as last_observed_at,
        max_by(vm_size, last_observed_at) filter (where vm_size is not null) as vm_size,
        max_by(is_dedicated, last_observed_at) filter (where is_dedicated is not null)
            as is_dedicated
    from numbered
    group by account, pool_id, node_id, allocation_time, island
)
select
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
    start_task_definition_id,
    scheduling_state,
    first_observed_at,
    last_observed_at,
    vm_size,
    is_dedicated,
    lag(last_observed_at) over (
        partition by account, pool_id, node_id, allocation_time order by island
    ) as started_after,
    lead(first_observed_at) over (
        partition by account, pool_id, node_id, allocation_time order by island
    ) as ended_before
from joined;
