-- answers: every node that was ever listed: when it was seen, its properties, and how it ended
-- grain:   incarnation (account, pool_id, node_id, allocation_time)
-- columns: those of facts.NODE_INCARNATIONS
-- caveats: It ended between ended_after and ended_before; both are null while it is not known to
--          have gone. A node that was absent and is listed again had not gone.
create or replace view node_incarnations as
with followed as (
    select
        *,
        -- an id belongs to one node at a time: this node had gone when the next was allocated
        min(allocation_time) over (
            partition by account, pool_id, node_id
            order by first_observed_at, last_observed_at
            rows between 1 following and unbounded following
        ) as next_allocation_time
    from merged_node_incarnations
),
ended as (
    select
        *,
        case when next_allocation_time > first_observed_at then next_allocation_time end
            as replaced_at
    from followed
)
select
    account,
    pool_id,
    node_id,
    allocation_time,
    first_observed_at,
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
    absent_at,
    is_pool_absent,
    case
        when absent_at is not null or replaced_at is not null
            then least(last_observed_at, absent_at, replaced_at)
    end as ended_after,
    least(absent_at, replaced_at) as ended_before,
    case
        when replaced_at is not null and (absent_at is null or replaced_at < absent_at)
            then 'id_reused'
        when is_pool_absent then 'pool_absent'
        when absent_at is not null then 'absent'
    end as ended_by
from ended;
