-- answers: which states each node was in, bin by bin
-- grain:   account x pool x node x state x stretch of bins
-- columns: account, pool_id, node_id, state, first_bin, last_bin, begins, ends, seconds
-- param:   from timestamptz: the start of bin 0
-- param:   to timestamptz: the end of the last bin
-- param:   step double: seconds of a bin
-- caveats: Reads report_pieces. Stretches within one bin are merged: seconds is their sum. begins
--          and ends are seconds since the start of bin 0. All machines with one id are one node.
with clipped as (
    select
        account,
        pool_id,
        node_id,
        state,
        epoch(greatest(begins_at, cast($from as timestamptz)))
        - epoch(cast($from as timestamptz)) as begins,
        epoch(least(ends_at, cast($to as timestamptz)))
        - epoch(cast($from as timestamptz)) as ends
    from report_pieces
),
placed as (
    select
        *,
        cast(floor(begins / cast($step as double)) as integer) as first_bin,
        cast(ceil(ends / cast($step as double)) as integer) - 1 as last_bin
    from clipped
    where ends >= begins
)
select
    account,
    pool_id,
    node_id,
    state,
    first_bin,
    greatest(first_bin, last_bin) as last_bin,
    min(begins) as begins,
    max(ends) as ends,
    sum(ends - begins) as seconds
from placed
group by account, pool_id, node_id, state, first_bin, greatest(first_bin, last_bin)
order by account, pool_id, node_id, first_bin, last_bin, state;
