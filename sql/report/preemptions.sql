-- answers: how many nodes were preempted, over time
-- grain:   account x pool x bin
-- columns: account, pool_id, bin, preemptions, nodes
-- param:   from timestamptz: the start of bin 0
-- param:   to timestamptz: only preemptions before this moment
-- param:   step double: seconds of a bin
-- caveats: Reads report_pieces. A preemption is the exact start of the state preempted. A
--          preemption that ended before the next listing was not seen.
select
    account,
    pool_id,
    cast(
        floor(
            (epoch(state_transition_time) - epoch(cast($from as timestamptz)))
            / cast($step as double)
        ) as integer
    ) as bin,
    count(*) as preemptions,
    count(distinct node_id) as nodes
from report_pieces
where state = 'preempted'
    and is_certain = 1
    and state_transition_time >= cast($from as timestamptz)
    and state_transition_time < cast($to as timestamptz)
group by 1, 2, 3
order by 1, 2, 3;
