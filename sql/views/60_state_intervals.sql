-- answers: every state a node was listed in, from when to when: a faster node_states
-- grain:   incarnation x state x state_transition_time
-- columns: those of node_states but first_observed_at; is_abnormal (a state other than idle and
--          running, one that ended in such a state, or one that lasted for 12 hours); date (whose
--          file it is read from)
-- caveats: As node_states. A query for is_abnormal does not read the other nine tenths.
create or replace view state_intervals as
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    state,
    state_transition_time,
    last_observed_at,
    vm_size,
    is_dedicated,
    ended_after,
    ended_before,
    next_state,
    is_abnormal
from daily_node_states as daily
where is_last
    and not exists (
        select 1
        from interrupted_nodes
        where interrupted_nodes.account = daily.account
            and interrupted_nodes.pool_id = daily.pool_id
            and interrupted_nodes.node_id = daily.node_id
            and interrupted_nodes.allocation_time is not distinct from daily.allocation_time
    )
union all
select
    cast(last_observed_at as date) as date,
    account,
    pool_id,
    node_id,
    allocation_time,
    state,
    state_transition_time,
    last_observed_at,
    vm_size,
    is_dedicated,
    ended_after,
    ended_before,
    next_state,
    state not in ('idle', 'running')
        or coalesce(next_state not in ('idle', 'running'), false)
        or ended_after - state_transition_time >= interval 12 hours as is_abnormal
from whole_node_states;
