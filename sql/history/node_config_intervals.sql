-- makes:   what each node was set up with, as the listings of a day show it
-- grain:   wanted day x incarnation x stretch of listings with the same values
-- columns: those of facts.NODE_CONFIG_INTERVALS that are stored, and date
-- merge:   gaps and islands: stretches of the same values are one, unless a listing of that node
--          between them shows others
-- traps:   The service tells no start of these: it lies between two listings. The agent's version
--          is absent while a node starts, so a reboot shows as a stretch without one.
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
    from made_observations
    where not is_malformed
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
