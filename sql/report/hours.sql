-- answers: how many nodes were in each state, how busy their slots were, and which hours were not
--          watched
-- grain:   account x pool x bin
-- columns: account, pool_id, bin, watched_hours, span_hours, listed_hours, running, idle,
--          leavingpool, rebooting, reimaging, upgradingos, creating, starting,
--          waitingforstarttask, unusable, starttaskfailed, unknown, offline, preempted,
--          deallocating, deallocated, other, slot_hours, busy_slot_hours, tasks_finished,
--          tasks_failed
-- param:   from timestamptz: the start of bin 0, a whole hour
-- param:   to timestamptz: only hours before this moment
-- param:   step double: seconds of a bin, whole hours
-- param:   pool varchar = null: only this pool
-- caveats: pool_id is null in rows that show when the account was watched. watched_hours: hours in
--          which a complete listing of any pool of the account ended. span_hours: those of them
--          between the pool's first and last. listed_hours: those in which the pool itself was
--          listed. Node-hours by state, one column each, and slot-hours cover listed_hours only.
with hourly as (
    select
        *,
        cast(
            floor((epoch(hour) - epoch(cast($from as timestamptz))) / cast($step as double))
            as integer
        ) as bin
    from pool_hours
    where hour >= cast($from as timestamptz)
        and hour < cast($to as timestamptz)
        and date >= cast(cast($from as timestamptz) as date)
        and date <= cast(cast($to as timestamptz) as date)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
),
emptied as (
    -- an account without a pool is watched too
    select distinct account, date_trunc('hour', pool_listing_finished_at) as hour
    from snapshots
    where scope = 'account'
        and pool_listing = 'complete'
        and pools_listed = 0
        and cast($pool as varchar) is null
        and pool_listing_finished_at >= cast($from as timestamptz)
        and pool_listing_finished_at < cast($to as timestamptz)
),
watched as (
    select account, hour, bin from hourly where listings > 0
    union
    select
        account,
        hour,
        cast(
            floor((epoch(hour) - epoch(cast($from as timestamptz))) / cast($step as double))
            as integer
        ) as bin
    from emptied
),
watched_bins as (
    select account, bin, count(*) as watched_hours from watched group by account, bin
),
spans as (
    select
        account,
        pool_id,
        min(hour) filter (where listings > 0) as first_hour,
        max(hour) filter (where listings > 0) as last_hour
    from hourly
    group by account, pool_id
),
span_bins as (
    select spans.account, spans.pool_id, watched.bin, count(*) as span_hours
    from spans
    join watched
        on watched.account = spans.account
        and watched.hour >= spans.first_hour
        and watched.hour <= spans.last_hour
    group by spans.account, spans.pool_id, watched.bin
),
binned as (
    select
        account,
        pool_id,
        bin,
        count(*) filter (where listings > 0) as listed_hours,
        sum(nodes_running) as running,
        sum(nodes_idle) as idle,
        sum(nodes_leavingpool) as leavingpool,
        sum(nodes_rebooting) as rebooting,
        sum(nodes_reimaging) as reimaging,
        sum(nodes_upgradingos) as upgradingos,
        sum(nodes_creating) as creating,
        sum(nodes_starting) as starting,
        sum(nodes_waitingforstarttask) as waitingforstarttask,
        sum(nodes_unusable) as unusable,
        sum(nodes_starttaskfailed) as starttaskfailed,
        sum(nodes_unknown) as unknown,
        sum(nodes_offline) as offline,
        sum(nodes_preempted) as preempted,
        sum(nodes_deallocating) as deallocating,
        sum(nodes_deallocated) as deallocated,
        sum(nodes_other) as other,
        sum(slots) as slot_hours,
        sum(running_slots) as busy_slot_hours,
        sum(tasks_finished) as tasks_finished,
        sum(tasks_failed) as tasks_failed
    from hourly
    group by account, pool_id, bin
),
keys as (
    select account, pool_id, bin from binned
    union
    select account, pool_id, bin from span_bins
    union
    select account, cast(null as varchar) as pool_id, bin from watched_bins
)
select
    keys.account,
    keys.pool_id,
    keys.bin,
    coalesce(watched_bins.watched_hours, 0) as watched_hours,
    coalesce(span_bins.span_hours, 0) as span_hours,
    coalesce(binned.listed_hours, 0) as listed_hours,
    binned.running,
    binned.idle,
    binned.leavingpool,
    binned.rebooting,
    binned.reimaging,
    binned.upgradingos,
    binned.creating,
    binned.starting,
    binned.waitingforstarttask,
    binned.unusable,
    binned.starttaskfailed,
    binned.unknown,
    binned.offline,
    binned.preempted,
    binned.deallocating,
    binned.deallocated,
    binned.other,
    binned.slot_hours,
    binned.busy_slot_hours,
    coalesce(binned.tasks_finished, 0) as tasks_finished,
    coalesce(binned.tasks_failed, 0) as tasks_failed
from keys
left join watched_bins
    on watched_bins.account = keys.account and watched_bins.bin = keys.bin
left join span_bins
    on span_bins.account = keys.account
    and span_bins.pool_id = keys.pool_id
    and span_bins.bin = keys.bin
left join binned
    on binned.account = keys.account
    and binned.pool_id = keys.pool_id
    and binned.bin = keys.bin
order by keys.account, keys.pool_id, keys.bin;
