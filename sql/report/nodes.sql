-- answers: how many hours each node spent in each state
-- grain:   account x pool x node x vm_size x dedicated/spot x state
-- columns: account, pool_id, node_id, vm_size, is_dedicated, state, hours, certain_hours, stays,
--          first_at, last_at, last_observed_at
-- param:   from timestamptz: the first moment
-- param:   to timestamptz: the last
-- caveats: Reads report_pieces. Over whole days the hours equal those of node_hours. stays counts
--          how often the state began. first_at and last_at are within the range. last_observed_at
--          is the last listing that showed the state, by the end of the last day of the range.
with clipped as (
    select
        *,
        greatest(begins_at, cast($from as timestamptz)) as since_at,
        least(ends_at, cast($to as timestamptz)) as until_at
    from report_pieces
)
select
    account,
    pool_id,
    node_id,
    vm_size,
    is_dedicated,
    state,
    sum(date_diff('microsecond', since_at, until_at)) / 3600000000.0 as hours,
    coalesce(
        sum(date_diff('microsecond', since_at, until_at)) filter (where is_certain = 1), 0
    ) / 3600000000.0 as certain_hours,
    count(*) filter (where is_certain = 1) as stays,
    min(since_at) as first_at,
    max(until_at) as last_at,
    max(last_observed_at) filter (where is_certain = 1) as last_observed_at
from clipped
where until_at >= since_at
group by account, pool_id, node_id, vm_size, is_dedicated, state
order by account, pool_id, node_id, vm_size, is_dedicated, state;
