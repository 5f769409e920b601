-- question: Which nodes fall into trouble and come out of it again and again?
-- grain:    incarnation (node_id, allocation_time)
-- columns:  account, pool_id, node_id, allocation_time, entries, exits, shortest_hours,
--           trouble_hours, first_entered_at, last_entered_at, last_trouble_state, is_in_trouble_now
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only changes of state at or after this moment
-- param:    to timestamptz = null: only changes of state before this moment
-- param:    entries int = 5: minimum number of times the node fell into trouble
-- param:    hours double = 24: all of these within this many hours
-- caveats:  A node is in trouble while it is unusable, unknown, starttaskfailed, rebooting or
--           reimaging. offline, deallocated and preempted do not count: they are deliberate. A
--           change from one of the trouble states to another is the same trouble; the same state
--           with a new start is a new entry, because the node left it between two listings. A
--           node's first listed state is no entry. Trouble that began and ended between two
--           listings was never seen: entries is a lower bound, and rarer polls see fewer.
--           shortest_hours is the shortest time that contained as many entries as asked for.
--           trouble_hours takes a state to last until the next observed one began, or until last
--           seen, and counts trouble states that began in the range.
-- most nodes have fewer entries: only the states of possible candidates are read
with falling as (
    select account, pool_id, node_id, allocation_time
    from state_intervals
    where is_abnormal
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and next_state in ('unusable', 'unknown', 'starttaskfailed', 'rebooting', 'reimaging')
        and (
            state not in ('unusable', 'unknown', 'starttaskfailed', 'rebooting', 'reimaging')
            or state = next_state
        )
        and (cast($from as timestamptz) is null or ended_before >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or ended_before < cast($to as timestamptz))
    group by account, pool_id, node_id, allocation_time
    having count(*) >= cast($entries as int)
),
intervals as (
    select
        state_intervals.account,
        state_intervals.pool_id,
        state_intervals.node_id,
        state_intervals.allocation_time,
        state,
        next_state,
        state_transition_time,
        ended_before,
        last_observed_at,
        state in ('unusable', 'unknown', 'starttaskfailed', 'rebooting', 'reimaging')
            as is_trouble,
        coalesce(
            next_state in ('unusable', 'unknown', 'starttaskfailed', 'rebooting', 'reimaging'),
            false
        ) as is_trouble_next
    from state_intervals
    join falling
        on falling.account = state_intervals.account
        and falling.pool_id = state_intervals.pool_id
        and falling.node_id = state_intervals.node_id
        and falling.allocation_time is not distinct from state_intervals.allocation_time
    where is_abnormal
        and (
            state in ('unusable', 'unknown', 'starttaskfailed', 'rebooting', 'reimaging')
            or next_state in ('unusable', 'unknown', 'starttaskfailed', 'rebooting', 'reimaging')
        )
),
changes as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        case when is_trouble_next then next_state end as trouble_state,
        case
            when is_trouble_next and (not is_trouble or state = next_state) then ended_before
        end as entered_at,
        case
            when is_trouble
                and next_state is not null
                and (not is_trouble_next or state = next_state)
                then ended_before
        end as left_at,
        case when is_trouble then state_transition_time end as trouble_began_at,
        case when is_trouble then coalesce(ended_before, last_observed_at) end as trouble_ended_at,
        is_trouble and ended_before is null as is_open
    from intervals
),
ranged as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        trouble_state,
        is_open,
        case
            when (cast($from as timestamptz) is null or entered_at >= cast($from as timestamptz))
                and (cast($to as timestamptz) is null or entered_at < cast($to as timestamptz))
                then entered_at
        end as entered_at,
        case
            when (cast($from as timestamptz) is null or left_at >= cast($from as timestamptz))
                and (cast($to as timestamptz) is null or left_at < cast($to as timestamptz))
                then left_at
        end as left_at,
        case
            when (
                    cast($from as timestamptz) is null
                    or trouble_began_at >= cast($from as timestamptz)
                )
                and (
                    cast($to as timestamptz) is null
                    or trouble_began_at < cast($to as timestamptz)
                )
                then (epoch(trouble_ended_at) - epoch(trouble_began_at)) / 3600
        end as trouble_hours
    from changes
),
placed as (
    select
        *,
        lag(entered_at, greatest(cast($entries as int), 1) - 1) over (
            partition by account, pool_id, node_id, allocation_time,
                case when entered_at is null then 0 else 1 end
            order by entered_at
        ) as so_many_before
    from ranged
)
select
    account,
    pool_id,
    node_id,
    allocation_time,
    count(entered_at) as entries,
    count(left_at) as exits,
    round(min(epoch(entered_at) - epoch(so_many_before)) / 3600, 2) as shortest_hours,
    round(coalesce(sum(trouble_hours), 0), 2) as trouble_hours,
    min(entered_at) as first_entered_at,
    max(entered_at) as last_entered_at,
    max_by(trouble_state, entered_at) as last_trouble_state,
    coalesce(bool_or(is_open), false) as is_in_trouble_now
from placed
group by account, pool_id, node_id, allocation_time
having count(entered_at) >= cast($entries as int)
    and min(epoch(entered_at) - epoch(so_many_before)) <= 3600 * cast($hours as double)
order by entries desc, account, pool_id, node_id, allocation_time;
