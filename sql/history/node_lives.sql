-- makes:   every node whose last listing was in a day: what it was, and how it ended
-- grain:   wanted day x incarnation
-- columns: those of facts.NODE_LIVES, and date
-- merge:   none: a node is told by the day that listed it last. Those that a later day lists again
--          are not told by this one, so no days have to be joined
-- traps:   A day sees two complete listings after it, so an end that they prove is told. A node that
--          was absent from those and is listed again later is told once more: listed_again
--          tells so, and the view leaves out the earlier row.
with followed as (
    select
        *,
        -- an id is one node's at a time: when the next one was allocated this one had gone
        min(allocation_time) over (
            partition by date, account, pool_id, node_id
            order by first_observed_at, last_observed_at
            rows between 1 following and unbounded following
        ) as next_allocation_time
    from made_node_incarnations
),
ended as (
    select
        *,
        case when next_allocation_time > first_observed_at then next_allocation_time end
            as replaced_at
    from followed
)
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
    end as ended_by,
    cast(
        md5_number_lower(
            concat_ws(
                '/', account, pool_id, node_id, cast(epoch_us(allocation_time) as varchar)
            )
        ) // 2
        as bigint
    ) as incarnation_key
from ended
where cast(last_observed_at as date) = date
