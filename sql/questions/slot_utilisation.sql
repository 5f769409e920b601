-- question: How well are the task slots of each pool used over time, and how many tasks get done?
-- grain:    pool x step of time (UTC)
-- columns:  account, pool_id, started_at, listed_hours, nodes, slots, running_slots, utilisation,
--           ready_utilisation, tasks_finished, tasks_failed, tasks_missed, tasks_per_node_hour
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only hours that begin at or after this moment
-- param:    to timestamptz = null: only hours that begin before this moment
-- param:    step varchar = hour: hour, day, week or month
-- caveats:  Whole hours only: a from within an hour leaves that hour out, a to within an hour
--           includes it. The first and the last hour of a record were not watched whole, so their
--           rows have too few tasks. nodes, slots and running_slots are means over the hours with a
--           complete listing, each hour being the mean over its listings; they are null where there
--           was none, and listed_hours is the number of such hours. utilisation is the share of
--           running_slots in the slots of all nodes, whatever their state; ready_utilisation the
--           share in those of idle and running nodes only. tasks_missed began and ended between two
--           listings and count in the hour of the later one: they completed, but whether they
--           failed is unknown. tasks_per_node_hour includes them, over the hours with a listing. A
--           task that was not seen to end and is in no gap (before a node's first listing) is left
--           out.
with missed as (
    select
        account,
        pool_id,
        date_trunc('hour', before) as hour,
        sum(missed) as tasks
    from task_gaps
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (
            cast($from as timestamptz) is null
            or date_trunc('hour', before) >= cast($from as timestamptz)
        )
        and (
            cast($to as timestamptz) is null
            or date_trunc('hour', before) < cast($to as timestamptz)
        )
    group by account, pool_id, date_trunc('hour', before)
),
listed as (
    select
        account,
        pool_id,
        hour,
        listings > 0 as is_listed,
        nodes,
        slots,
        running_slots,
        slots * (nodes_idle + nodes_running) / nullif(nodes, 0) as ready_slots,
        tasks_finished,
        tasks_failed
    from pool_hours
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or hour >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or hour < cast($to as timestamptz))
),
hours as (
    select
        coalesce(listed.account, missed.account) as account,
        coalesce(listed.pool_id, missed.pool_id) as pool_id,
        date_trunc(cast($step as varchar), coalesce(listed.hour, missed.hour)) as started_at,
        coalesce(is_listed, false) as is_listed,
        nodes,
        slots,
        running_slots,
        ready_slots,
        coalesce(tasks_finished, 0) as tasks_finished,
        coalesce(tasks_failed, 0) as tasks_failed,
        coalesce(missed.tasks, 0) as tasks_missed
    from listed
    full join missed
        on missed.account = listed.account
        and missed.pool_id = listed.pool_id
        and missed.hour = listed.hour
)
select
    account,
    pool_id,
    started_at,
    count(*) filter (where is_listed) as listed_hours,
    round(avg(nodes), 2) as nodes,
    round(avg(slots), 2) as slots,
    round(avg(running_slots), 2) as running_slots,
    round(sum(running_slots) / nullif(sum(slots), 0), 4) as utilisation,
    round(sum(running_slots) / nullif(sum(ready_slots), 0), 4) as ready_utilisation,
    cast(sum(tasks_finished) as bigint) as tasks_finished,
    cast(sum(tasks_failed) as bigint) as tasks_failed,
    cast(sum(tasks_missed) as bigint) as tasks_missed,
    round(
        sum(tasks_finished + tasks_missed) filter (where is_listed) / nullif(sum(nodes), 0), 3
    ) as tasks_per_node_hour
from hours
group by account, pool_id, started_at
order by account, pool_id, started_at;
