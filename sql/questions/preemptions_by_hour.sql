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
with begun as (
    select incarnation_key, first_observed_at, is_dedicated
    from node_startups
    where is_dedicated is distinct from true
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
),
spot as (
    select
        node_lifetimes.account,
        node_lifetimes.pool_id,
        node_lifetimes.node_id,
        node_lifetimes.allocation_time,
        node_lifetimes.incarnation_key,
        begun.first_observed_at,
        node_lifetimes.last_observed_at
    from node_lifetimes
    join begun on begun.incarnation_key = node_lifetimes.incarnation_key
    where not coalesce(node_lifetimes.is_dedicated, begun.is_dedicated)
        and (cast($pool as varchar) is null or node_lifetimes.pool_id = cast($pool as varchar))
        and (
            cast($from as timestamptz) is null
            or node_lifetimes.last_observed_at >= cast($from as timestamptz)
        )
        and (
            cast($to as timestamptz) is null
            or begun.first_observed_at < cast($to as timestamptz)
        )
),
-- states of spot nodes other than idle and running, and when the node returned to those
troubled as (
    select
        spot.incarnation_key,
        intervals.allocation_time,
        intervals.state,
        intervals.state_transition_time,
        intervals.last_observed_at,
        coalesce(intervals.ended_before, intervals.ended_after) as ended_at,
        intervals.ended_before,
        min(case when intervals.next_state in ('idle', 'running') then intervals.ended_before end)
            over (
                partition by spot.incarnation_key
                order by intervals.state_transition_time, intervals.last_observed_at
                rows between current row and unbounded following
            ) as recovered_at
    from state_intervals as intervals
    join spot
        on spot.account = intervals.account
        and spot.pool_id = intervals.pool_id
        and spot.node_id = intervals.node_id
        and spot.allocation_time is not distinct from intervals.allocation_time
    where intervals.is_abnormal and intervals.state not in ('idle', 'running')
),
away as (
    select
        *,
        row_number() over (
            partition by incarnation_key order by state_transition_time, last_observed_at
        ) as number
    from troubled
    where state in ('preempted', 'deallocated')
),
-- each node with each of its absences, or one row without an absence
followed as (
    select
        spot.account,
        spot.pool_id,
        coalesce(away.number, 1) = 1 as is_first_row,
        epoch(
            greatest(
                spot.first_observed_at,
                coalesce(cast($from as timestamptz), spot.first_observed_at)
            )
        ) as begins_at,
        epoch(
            least(spot.last_observed_at, coalesce(cast($to as timestamptz), spot.last_observed_at))
        ) as ends_at,
        epoch(away.state_transition_time) as away_at,
        epoch(away.ended_at) as back_at,
        cast(extract(hour from away.state_transition_time) as integer) as hour_of_day,
        coalesce(
            away.state = 'preempted'
            and away.state_transition_time >= spot.first_observed_at
            and (
                cast($from as timestamptz) is null
                or away.state_transition_time >= cast($from as timestamptz)
            )
            and (
                cast($to as timestamptz) is null
                or away.state_transition_time < cast($to as timestamptz)
            ),
            false
        ) as is_preemption,
        (epoch(away.recovered_at) - epoch(away.state_transition_time)) / 60 as minutes_to_recover
    from spot
    left join away on away.incarnation_key = spot.incarnation_key
),
pieces as (
    select account, pool_id, 1 as sign, begins_at, ends_at
    from followed
    where is_first_row and ends_at > begins_at
    union all
    select account, pool_id, -1, greatest(away_at, begins_at), least(back_at, ends_at)
    from followed
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
    from followed
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
