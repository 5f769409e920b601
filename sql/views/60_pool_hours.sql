-- answers: a pool hour by hour: its nodes, its slots and its tasks
-- grain:   account x pool x hour
-- columns: date (of the hour), and those of facts.POOL_HOURS
-- caveats: Nearly every hour has rows of one day only; these are read as stored. A task counts in
--          the hour in which it ended, whichever day's listing first showed that.
create or replace view pool_hours as
with late as (
    select account, pool_id, date_trunc('hour', end_time) as hour, is_failed
    from uncounted_task_runs
),
parts as (
    select
        account,
        pool_id,
        hour,
        listings,
        nodes,
        nodes_idle,
        nodes_rebooting,
        nodes_reimaging,
        nodes_running,
        nodes_unusable,
        nodes_creating,
        nodes_starting,
        nodes_waitingforstarttask,
        nodes_starttaskfailed,
        nodes_unknown,
        nodes_leavingpool,
        nodes_offline,
        nodes_preempted,
        nodes_upgradingos,
        nodes_deallocated,
        nodes_deallocating,
        nodes_other,
        slots,
        running_slots,
        tasks_finished,
        tasks_failed
    from daily_pool_hours
    union all
    select
        account,
        pool_id,
        hour,
        0 as listings,
        cast(null as double) as nodes,
        cast(null as double) as nodes_idle,
        cast(null as double) as nodes_rebooting,
        cast(null as double) as nodes_reimaging,
        cast(null as double) as nodes_running,
        cast(null as double) as nodes_unusable,
        cast(null as double) as nodes_creating,
        cast(null as double) as nodes_starting,
        cast(null as double) as nodes_waitingforstarttask,
        cast(null as double) as nodes_starttaskfailed,
        cast(null as double) as nodes_unknown,
        cast(null as double) as nodes_leavingpool,
        cast(null as double) as nodes_offline,
        cast(null as double) as nodes_preempted,
        cast(null as double) as nodes_upgradingos,
        cast(null as double) as nodes_deallocated,
        cast(null as double) as nodes_deallocating,
        cast(null as double) as nodes_other,
        cast(null as double) as slots,
        cast(null as double) as running_slots,
        count(*) as tasks_finished,
        count(*) filter (where is_failed) as tasks_failed
    from late
    group by account, pool_id, hour
),
summed as (
    select
        account,
        pool_id,
        hour,
        cast(sum(listings) as bigint) as listings,
        max(nodes) as nodes,
        max(nodes_idle) as nodes_idle,
        max(nodes_rebooting) as nodes_rebooting,
        max(nodes_reimaging) as nodes_reimaging,
        max(nodes_running) as nodes_running,
        max(nodes_unusable) as nodes_unusable,
        max(nodes_creating) as nodes_creating,
        max(nodes_starting) as nodes_starting,
        max(nodes_waitingforstarttask) as nodes_waitingforstarttask,
        max(nodes_starttaskfailed) as nodes_starttaskfailed,
        max(nodes_unknown) as nodes_unknown,
        max(nodes_leavingpool) as nodes_leavingpool,
        max(nodes_offline) as nodes_offline,
        max(nodes_preempted) as nodes_preempted,
        max(nodes_upgradingos) as nodes_upgradingos,
        max(nodes_deallocated) as nodes_deallocated,
        max(nodes_deallocating) as nodes_deallocating,
        max(nodes_other) as nodes_other,
        max(slots) as slots,
        max(running_slots) as running_slots,
        cast(sum(tasks_finished) as bigint) as tasks_finished,
        cast(sum(tasks_failed) as bigint) as tasks_failed
    from parts
    group by account, pool_id, hour
)
select
    days.date,
    summed.*
from summed
-- tasks that ended before the record begins belong to no hour of the record
join known_days as days
    on days.account = summed.account and days.date = cast(summed.hour as date);
