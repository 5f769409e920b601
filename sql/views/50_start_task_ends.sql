-- answers: every run of a start task and how it ended, told once: on the day that listed it last
-- grain:   incarnation x start_time
-- columns: date, and those of facts.START_TASK_ENDS
-- traps:   A run that two complete listings lacked and a later one shows again is told by two days:
--          the earlier row is left out here. daily_start_task_ends has every day's rows.
create or replace view start_task_ends as
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
    told.start_time,
    told.last_observed_at,
    told.end_time,
    told.result,
    told.exit_code,
    told.failure_code,
    told.failure_message,
    told.next_start_time,
    told.image_publisher,
    told.image_offer,
    told.image_sku,
    told.image_exact_version,
    told.image_virtual_machine_image_id,
    told.run_key
from daily_start_task_ends as told
left join told_again on told_again.told_key = told.run_key and told_again.date > told.date
where told_again.told_key is null;
