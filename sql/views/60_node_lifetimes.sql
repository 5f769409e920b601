-- answers: every node that was ever listed, its properties and how it ended: a faster
--          node_incarnations
-- grain:   incarnation
-- columns: those of node_incarnations but first_observed_at, absent_at and is_pool_absent,
--          incarnation_key; date (whose file it is read from)
-- caveats: As node_incarnations. The file of the day that last listed a node has all of this.
create or replace view node_lifetimes as
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    last_observed_at,
    vm_size,
    is_dedicated,
    image_publisher,
    image_offer,
    image_sku,
    image_exact_version,
    image_virtual_machine_image_id,
    last_state,
    total_tasks_run,
    total_tasks_succeeded,
    ended_after,
    ended_before,
    ended_by,
    incarnation_key
from daily_node_incarnations as daily
where is_last
    and not exists (
        select 1
        from interrupted_nodes
        where interrupted_nodes.account = daily.account
            and interrupted_nodes.pool_id = daily.pool_id
            and interrupted_nodes.node_id = daily.node_id
            and interrupted_nodes.allocation_time is not distinct from daily.allocation_time
    )
union all
select
    cast(last_observed_at as date) as date,
    account,
    pool_id,
    node_id,
    allocation_time,
    last_observed_at,
    vm_size,
    is_dedicated,
    image_publisher,
    image_offer,
    image_sku,
    image_exact_version,
    image_virtual_machine_image_id,
    last_state,
    total_tasks_run,
    total_tasks_succeeded,
    ended_after,
    ended_before,
    ended_by,
    cast(
        md5_number_lower(
            concat_ws(
                '/', account, pool_id, node_id, cast(epoch_us(allocation_time) as varchar)
            )
        ) // 2
        as bigint
    ) as incarnation_key
from whole_node_incarnations;
