-- answers: every node that was listed, told once: on the day that listed it last
-- grain:   incarnation
-- columns: date, and those of facts.NODE_LIVES
-- traps:   A node that two complete listings lacked and a later one shows again is told by two days:
--          the earlier row is left out here. daily_node_lives has every day's rows.
create or replace view node_lives as
with told_again as (
    select told_key, max(listed_again.date) as date
    from listed_again
    group by told_key
)
select
    told.date,
    told.account,
    told.pool_id,
    told.node_id,
    told.allocation_time,
    told.last_observed_at,
    told.vm_size,
    told.is_dedicated,
    told.image_publisher,
    told.image_offer,
    told.image_sku,
    told.image_exact_version,
    told.image_virtual_machine_image_id,
    told.last_state,
    told.total_tasks_run,
    told.total_tasks_succeeded,
    told.ended_after,
    told.ended_before,
    told.ended_by,
    told.incarnation_key
from daily_node_lives as told
left join told_again on told_again.told_key = told.incarnation_key and told_again.date > told.date
where told_again.told_key is null;
