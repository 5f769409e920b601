-- question: Which nodes were stuck in a state that should pass, how long, and which still are?
-- grain:    incarnation (node_id, allocation_time) x state
-- columns:  account, pool_id, node_id, allocation_time, vm_size, is_dedicated, state,
--           state_transition_time, certain_minutes, at_most_minutes, is_stuck_now,
--           last_observed_at, next_state
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only states that were seen to last at or after this moment
-- param:    to timestamptz = null: only states that began before this moment
-- param:    minutes double = 30: certainly longer than this many minutes
-- param:    state varchar = null: only creating, starting, waitingforstarttask, rebooting,
--           reimaging, leavingpool, deallocating or upgradingos
-- caveats:  A state is shown whole, even where it reaches outside from and to. It lasted at least
--           certain_minutes, to the last listing that showed it, and at most at_most_minutes (null:
--           not known to have ended). is_stuck_now is as of the node's last listing, not of now.
--           Between two listings a node may leave a state and enter it again, with a new start:
--           these are two rows. A node that cycles through several such states is not listed here:
--           see flapping_nodes. How long is too long differs: a large image or a long start task
--           takes time, and a start task that never ends keeps its node in waitingforstarttask.
with stuck as (
    select *
    from state_intervals
    where is_abnormal
        and state in (
            'creating', 'starting', 'waitingforstarttask', 'rebooting', 'reimaging',
            'leavingpool', 'deallocating', 'upgradingos'
        )
        and (cast($state as varchar) is null or state = cast($state as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($to as timestamptz) is null or state_transition_time < cast($to as timestamptz))
        and (
            cast($from as timestamptz) is null
            or (
                last_observed_at >= cast($from as timestamptz)
                and date >= cast(cast($from as timestamptz) as date)
            )
        )
        and epoch(ended_after) - epoch(state_transition_time) > 60 * cast($minutes as double)
)
select
    account,
    pool_id,
    node_id,
    allocation_time,
    vm_size,
    is_dedicated,
    state,
    state_transition_time,
    round((epoch(ended_after) - epoch(state_transition_time)) / 60, 1) as certain_minutes,
    round((epoch(ended_before) - epoch(state_transition_time)) / 60, 1) as at_most_minutes,
    ended_before is null as is_stuck_now,
    last_observed_at,
    next_state
from stuck
order by is_stuck_now desc, certain_minutes desc, account, pool_id, node_id, allocation_time;
