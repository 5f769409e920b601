-- question: At which hours of the day are spot nodes preempted, and how soon are they back then?
-- grain:    pool x hour of the day (UTC), of pools with spot nodes
-- columns:  account, pool_id, hour_of_day, node_hours, preemptions, preemptions_per_node_hour,
--           p50_minutes_to_recover
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only preemptions at or after this moment
-- param:    to timestamptz = null: only preemptions before this moment
-- traps:    node_hours are those within that hour of any day during which a spot node was watched and
--           held a machine. A preemption counts in the hour it began, the exact time; one that was
--           over before the next listing was not seen. See preemptions for what recovery means. A
--           rate over few node-hours tells little.
with watched_nodes as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        min(first_observed_at) as first_observed_at,
        max(last_observed_at) as last_observed_at
    from daily_node_incarnations
    where not is_dedicated
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
    group by account, pool_id, node_id, allocation_time
),
spot as (
    select account, pool_id, node_id, allocation_time, first_observed_at, last_observed_at
    from watched_nodes
    where (cast($from as timestamptz) is null or last_observed_at >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or first_observed_at < cast($to as timestamptz))
),
absences as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        state,
        state_transition_time,
        last_observed_at,
        ended_after,
        ended_before,
        recovered_at,
        -- told once more where the node was absent and came back in the same state
        row_number() over (
            partition by account, pool_id, node_id, allocation_time, state, state_transition_time
            order by last_observed_at desc
        ) as place
    from spot_absences
    where state in ('preempted', 'deallocated')
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
),
-- what its day did not know of a node's recovery, a later one may
recoveries as (
    select
        absences.account,
        absences.pool_id,
        absences.node_id,
        absences.allocation_time,
        absences.state_transition_time,
        min(spot_absences.ended_before) as recovered_at
    from absences
    join spot_absences
        on spot_absences.account = absences.account
        and spot_absences.pool_id = absences.pool_id
        and spot_absences.node_id = absences.node_id
        and spot_absences.allocation_time is not distinct from absences.allocation_time
        and spot_absences.state_transition_time >= absences.state_transition_time
    where absences.recovered_at is null and spot_absences.next_state in ('idle', 'running')
    group by
        absences.account,
        absences.pool_id,
        absences.node_id,
        absences.allocation_time,
        absences.state_transition_time
),
followed as (
    select
        absences.account,
        absences.pool_id,
        absences.node_id,
        absences.allocation_time,
        absences.state,
        absences.state_transition_time,
        coalesce(absences.ended_before, absences.ended_after) as ended_at,
        coalesce(absences.recovered_at, recoveries.recovered_at) as recovered_at
    from absences
    left join recoveries
        on absences.recovered_at is null
        and recoveries.account = absences.account
        and recoveries.pool_id = absences.pool_id
        and recoveries.node_id = absences.node_id
        and recoveries.allocation_time is not distinct from absences.allocation_time
        and recoveries.state_transition_time = absences.state_transition_time
    where absences.place = 1
),
away as (
    select followed.*, spot.first_observed_at, spot.last_observed_at
    from followed
    join spot
        on spot.account = followed.account
        and spot.pool_id = followed.pool_id
        and spot.node_id = followed.node_id
        and spot.allocation_time is not distinct from followed.allocation_time
    where followed.state in ('preempted', 'deallocated')
),
pieces as (
    select account, pool_id, first_observed_at as begins_at, last_observed_at as ends_at, 1 as sign
    from spot
    union all
    select
        account,
        pool_id,
        greatest(state_transition_time, first_observed_at) as begins_at,
        least(ended_at, last_observed_at) as ends_at,
        -1 as sign
    from away
),
clipped as (
    select
        account,
        pool_id,
        sign,
        epoch(greatest(begins_at, coalesce(cast($from as timestamptz), begins_at))) as begins_at,
        epoch(least(ends_at, coalesce(cast($to as timestamptz), ends_at))) as ends_at
    from pieces
),
hours as (
    select cast(hour_of_day as integer) as hour_of_day
    from (
        values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14),
            (15), (16), (17), (18), (19), (20), (21), (22), (23)
    ) as all_hours (hour_of_day)
),
-- Watched until a moment less watched until another: the moments, added up by their hour of the day.
moments as (
    select account, pool_id, ends_at as moment, sign from clipped where ends_at > begins_at
    union all
    select account, pool_id, begins_at as moment, -sign from clipped where ends_at > begins_at
),
sums as (
    select
        account,
        pool_id,
        cast(floor(moment % 86400 / 3600) as integer) as last_hour,
        sum(sign) as moments,
        sum(sign * floor(moment / 86400)) as days,
        sum(sign * (moment % 3600)) as seconds
    from moments
    group by account, pool_id, cast(floor(moment % 86400 / 3600) as integer)
),
-- Of an hour of the day 3600 seconds have passed on every day before; on the day itself too where
-- the moment is in a later hour, and some where it is in this one.
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
        cast(extract(hour from state_transition_time) as integer) as hour_of_day,
        count(*) as preemptions,
        percentile_cont(0.5) within group (
            order by (epoch(recovered_at) - epoch(state_transition_time)) / 60
        ) as p50_minutes_to_recover
    from away
    where state = 'preempted'
        and state_transition_time >= first_observed_at
        and (
            cast($from as timestamptz) is null
            or state_transition_time >= cast($from as timestamptz)
        )
        and (cast($to as timestamptz) is null or state_transition_time < cast($to as timestamptz))
    group by account, pool_id, cast(extract(hour from state_transition_time) as integer)
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
