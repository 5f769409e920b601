-- question: At which hours of the day are spot nodes preempted, and how soon are they back then?
-- grain:    pool x hour of the day (UTC), of pools with spot nodes
-- columns:  account, pool_id, hour_of_day, node_hours, preemptions, preemptions_per_node_hour,
--           p50_minutes_to_recover
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only preemptions at or after this moment
-- param:    to timestamptz = null: only preemptions before this moment
-- caveats:  node_hours are those within that hour of any day in which a spot node was watched and
--           had a machine. A preemption counts in the hour in which it began, by its exact time;
--           one that ended before the next listing was not seen. See preemptions for the definition
--           of recovery. A rate over few node-hours means little.
with absences as (
    select
        account,
        pool_id,
        is_first_row,
        epoch(watched_from) as begins_at,
        epoch(watched_until) as ends_at,
        epoch(away_at) as away_at,
        epoch(back_at) as back_at,
        cast(extract(hour from away_at) as integer) as hour_of_day,
        is_preemption,
        (epoch(recovered_at) - epoch(away_at)) / 60 as minutes_to_recover
    from spot_absences_between(
        cast($pool as varchar), cast($from as timestamptz), cast($to as timestamptz)
    )
),
pieces as (
    select account, pool_id, 1 as sign, begins_at, ends_at
    from absences
    where is_first_row and ends_at > begins_at
    union all
    select account, pool_id, -1, greatest(away_at, begins_at), least(back_at, ends_at)
    from absences
    where least(back_at, ends_at) > greatest(away_at, begins_at) and back_at is not null
),
hours as (
    select cast(hour_of_day as integer) as hour_of_day
    from (
        values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14),
            (15), (16), (17), (18), (19), (20), (21), (22), (23)
    ) as all_hours (hour_of_day)
),
-- Watched time is the time up to one moment less the time up to another: moments by hour of the day.
spans as (
    select
        account,
        pool_id,
        cast(floor(begins_at % 86400 / 3600) as integer) as first_hour,
        cast(floor(ends_at % 86400 / 3600) as integer) as last_hour,
        sum(sign) as spans,
        sum(sign * floor(begins_at / 86400)) as first_days,
        sum(sign * (begins_at % 3600)) as first_seconds,
        sum(sign * floor(ends_at / 86400)) as last_days,
        sum(sign * (ends_at % 3600)) as last_seconds
    from pieces
    group by
        account,
        pool_id,
        cast(floor(begins_at % 86400 / 3600) as integer),
        cast(floor(ends_at % 86400 / 3600) as integer)
),
sums as (
    select account, pool_id, last_hour, spans as moments, last_days as days,
        last_seconds as seconds
    from spans
    union all
    select account, pool_id, first_hour, -spans, -first_days, -first_seconds
    from spans
),
-- Up to a moment, an hour of the day has passed for 3600 seconds on every earlier day. On the moment's
-- own day it has passed whole where the moment is in a later hour, and in part where it is in this one.
watched as (
    select
        account,
        pool_id,
        hour_of_day,
        sum(
            3600 * days
            + case
                when last_hour > hour_of_day then 3600 * moments
                when last_hour = hour_of_day then seconds
                else 0
            end
        ) / 3600 as node_hours
    from sums
    cross join hours
    group by account, pool_id, hour_of_day
),
preempted as (
    select
        account,
        pool_id,
        hour_of_day,
        count(*) as preemptions,
        percentile_cont(0.5) within group (order by minutes_to_recover) as p50_minutes_to_recover
    from absences
    where is_preemption
    group by account, pool_id, hour_of_day
)
select
    watched.account,
    watched.pool_id,
    watched.hour_of_day,
    watched.node_hours,
    coalesce(preempted.preemptions, 0) as preemptions,
    case
        when watched.node_hours > 0 then coalesce(preempted.preemptions, 0) / watched.node_hours
    end as preemptions_per_node_hour,
    preempted.p50_minutes_to_recover
from watched
left join preempted
    on preempted.account = watched.account
    and preempted.pool_id = watched.pool_id
    and preempted.hour_of_day = watched.hour_of_day
order by account, pool_id, hour_of_day;
