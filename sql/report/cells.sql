-- answers: which states the most eventful nodes were in, bin by bin
-- grain:   account x pool x node x state x stretch of bins, of so many nodes
-- columns: account, pool_id, node_id, rank, of_nodes, state, first_bin, last_bin, begins, ends,
--          seconds
-- param:   from timestamptz: the start of bin 0
-- param:   to timestamptz: the end of the last bin
-- param:   step double: seconds of a bin
-- param:   bins bigint: how many bins there are
-- param:   nodes bigint: how many nodes to tell of
-- param:   pools bigint: of at most so many pools
-- param:   pool varchar = null: only this pool
-- traps:   The most eventful are those with the most bins' worth of trouble and the most changes
--          (between idle and running they count little); pools take turns, so that one bad pool
--          does not hide the others. A state is drawn to its end, or to its last observation
--          where a gap of more than 15 minutes (or of more than a bin) leaves open when it ended.
--          Stretches within one bin are one: seconds is their sum; begins and ends are seconds
--          from bin 0 on. An id that was used again is one row.
with pieces as (
    select
        account,
        pool_id,
        node_id,
        state,
        greatest(state_transition_time, cast($from as timestamptz)) as begins_at,
        least(
            case
                when ended_before is null then last_observed_at
                when epoch(ended_before) - epoch(ended_after)
                    <= greatest(900, cast($step as double))
                    then ended_before
                else ended_after
            end,
            cast($to as timestamptz)
        ) as ends_at
    from node_stays
    where date >= cast(cast($from as timestamptz) as date)
        and state_transition_time < cast($to as timestamptz)
        and last_observed_at >= cast($from as timestamptz)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
),
scored as (
    select
        account,
        pool_id,
        node_id,
        3 * coalesce(
            sum(epoch(ends_at) - epoch(begins_at))
                filter (where state in ('unusable', 'starttaskfailed', 'unknown', 'offline')),
            0
        ) / cast($step as double)
        + 2 * least(
            count(*) filter (where state not in ('idle', 'running')), cast($bins as bigint)
        )
        + 0.1 * least(count(*), cast($bins as bigint)) as score
    from pieces
    where ends_at >= begins_at
    group by account, pool_id, node_id
),
placed as (
    select
        *,
        row_number() over (
            partition by account, pool_id order by score desc, node_id
        ) as place,
        count(*) over (partition by account, pool_id) as of_nodes,
        max(score) over (partition by account, pool_id) as pool_score
    from scored
),
pooled as (
    select *, dense_rank() over (order by pool_score desc, account, pool_id) as pool_place
    from placed
),
chosen as (
    select
        *,
        row_number() over (order by place, score desc, account, pool_id, node_id) as rank
    from pooled
    where pool_place <= cast($pools as bigint)
),
seen as (
    select
        chosen.account,
        chosen.pool_id,
        chosen.node_id,
        chosen.rank,
        chosen.of_nodes,
        pieces.state,
        epoch(begins_at) - epoch(cast($from as timestamptz)) as begins,
        epoch(ends_at) - epoch(cast($from as timestamptz)) as ends,
        cast(
            floor((epoch(begins_at) - epoch(cast($from as timestamptz))) / cast($step as double))
            as integer
        ) as first_bin,
        cast(
            ceil((epoch(ends_at) - epoch(cast($from as timestamptz))) / cast($step as double))
            as integer
        ) - 1 as last_bin
    from chosen
    join pieces
        on pieces.account = chosen.account
        and pieces.pool_id = chosen.pool_id
        and pieces.node_id = chosen.node_id
    where chosen.rank <= cast($nodes as bigint) and pieces.ends_at >= pieces.begins_at
)
select
    account,
    pool_id,
    node_id,
    rank,
    of_nodes,
    state,
    first_bin,
    greatest(first_bin, last_bin) as last_bin,
    min(begins) as begins,
    max(ends) as ends,
    sum(ends - begins) as seconds
from seen
group by account, pool_id, node_id, rank, of_nodes, state, first_bin, last_bin
order by rank, first_bin, last_bin, state;
