-- makes:   the nodes, slots and tasks of each pool by hour
-- grain:   wanted day x hour x account x pool
-- columns: those of facts.POOL_HOURS, and date
-- merge:   sum of the tasks, the rest from one row: the day whose listing first showed that a task
--          had ended counts it, under the hour in which it ended, even if that hour is on an
--          earlier day
-- caveats: Nodes and slots are means over the complete listings that ended in the hour, and null
--          where there was none. A task counts in the hour in which it ended, if a listing showed
--          that it had ended.
with counted as (
    select
        date,
        account,
        pool_id,
        snapshot_id,
        count(*) as nodes,
        count(*) filter (where state = 'idle') as nodes_idle,
        count(*) filter (where state = 'rebooting') as nodes_rebooting,
        count(*) filter (where state = 'reimaging') as nodes_reimaging,
        count(*) filter (where state = 'running') as nodes_running,
        count(*) filter (where state = 'unusable') as nodes_unusable,
        count(*) filter (where state = 'creating') as nodes_creating,
        count(*) filter (where state = 'starting') as nodes_starting,
        count(*) filter (where state = 'waitingforstarttask') as nodes_waitingforstarttask,
        count(*) filter (where state = 'starttaskfailed') as nodes_starttaskfailed,
        count(*) filter (where state = 'unknown') as nodes_unknown,
        count(*) filter (where state = 'leavingpool') as nodes_leavingpool,
        count(*) filter (where state = 'offline') as nodes_offline,
        count(*) filter (where state = 'preempted') as nodes_preempted,
        count(*) filter (where state = 'upgradingos') as nodes_upgradingos,
        count(*) filter (where state = 'deallocated') as nodes_deallocated,
        count(*) filter (where state = 'deallocating') as nodes_deallocating,
        count(*) filter (
            where state is null or state not in (
                'idle', 'rebooting', 'reimaging', 'running', 'unusable',
                'creating', 'starting', 'waitingforstarttask',
                'starttaskfailed', 'unknown', 'leavingpool', 'offline',
                'preempted', 'upgradingos', 'deallocated', 'deallocating'
            )
        ) as nodes_other,
        coalesce(sum(running_task_slots_count), 0) as running_slots
    from made_observations
    group by date, account, pool_id, snapshot_id
),
means as (
    select
        listings.date,
        listings.account,
        listings.pool_id,
        date_trunc('hour', listings.finished_at) as hour,
        count(*) as listings,
        avg(coalesce(counted.nodes, 0)) as nodes,
        avg(coalesce(nodes_idle, 0)) as nodes_idle,
        avg(coalesce(nodes_rebooting, 0)) as nodes_rebooting,
        avg(coalesce(nodes_reimaging, 0)) as nodes_reimaging,
        avg(coalesce(nodes_running, 0)) as nodes_running,
        avg(coalesce(nodes_unusable, 0)) as nodes_unusable,
        avg(coalesce(nodes_creating, 0)) as nodes_creating,
        avg(coalesce(nodes_starting, 0)) as nodes_starting,
        avg(coalesce(nodes_waitingforstarttask, 0)) as nodes_waitingforstarttask,
        avg(coalesce(nodes_starttaskfailed, 0)) as nodes_starttaskfailed,
        avg(coalesce(nodes_unknown, 0)) as nodes_unknown,
        avg(coalesce(nodes_leavingpool, 0)) as nodes_leavingpool,
        avg(coalesce(nodes_offline, 0)) as nodes_offline,
        avg(coalesce(nodes_preempted, 0)) as nodes_preempted,
        avg(coalesce(nodes_upgradingos, 0)) as nodes_upgradingos,
        avg(coalesce(nodes_deallocated, 0)) as nodes_deallocated,
        avg(coalesce(nodes_deallocating, 0)) as nodes_deallocating,
        avg(coalesce(nodes_other, 0)) as nodes_other,
        avg(coalesce(counted.nodes, 0) * pools.task_slots_per_node) as slots,
        avg(coalesce(counted.running_slots, 0)) as running_slots
    from made_listings as listings
    left join counted
        on counted.date = listings.date
        and counted.account = listings.account
        and counted.pool_id = listings.pool_id
        and counted.snapshot_id = listings.snapshot_id
    left join pools
        on pools.account = listings.account
        and pools.snapshot_id = listings.snapshot_id
        and pools.pool_id = listings.pool_id
    where listings.is_complete
        and not listings.is_absence
        and cast(listings.finished_at as date) = listings.date
    group by
        listings.date, listings.account, listings.pool_id, date_trunc('hour', listings.finished_at)
),
tasks as (
    select
        date,
        account,
        pool_id,
        date_trunc('hour', end_time) as hour,
        count(*) as tasks_finished,
        count(*) filter (where is_failure) as tasks_failed
    from made_task_runs
    where is_counted
    group by date, account, pool_id, date_trunc('hour', end_time)
),
hours as (
    select date, account, pool_id, hour from means
    union
    select date, account, pool_id, hour from tasks
)
select
    hours.date,
    hours.account,
    hours.pool_id,
    hours.hour,
    coalesce(means.listings, 0) as listings,
    means.nodes,
    means.nodes_idle,
    means.nodes_rebooting,
    means.nodes_reimaging,
    means.nodes_running,
    means.nodes_unusable,
    means.nodes_creating,
    means.nodes_starting,
    means.nodes_waitingforstarttask,
    means.nodes_starttaskfailed,
    means.nodes_unknown,
    means.nodes_leavingpool,
    means.nodes_offline,
    means.nodes_preempted,
    means.nodes_upgradingos,
    means.nodes_deallocated,
    means.nodes_deallocating,
    means.nodes_other,
    means.slots,
    means.running_slots,
    coalesce(tasks.tasks_finished, 0) as tasks_finished,
    coalesce(tasks.tasks_failed, 0) as tasks_failed
from hours
left join means
    on means.date = hours.date
    and means.account = hours.account
    and means.pool_id = hours.pool_id
    and means.hour = hours.hour
left join tasks
    on tasks.date = hours.date
    and tasks.account = hours.account
    and tasks.pool_id = hours.pool_id
    and tasks.hour = hours.hour
