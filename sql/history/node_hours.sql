-- makes:   hours of nodes in each state of a day
-- grain:   wanted day x account x pool x vm_size x is_dedicated x state
-- columns: those of facts.NODE_HOURS, and date
-- merge:   sum: every row is clipped to its day, so days add up
-- caveats: A state is taken to last until the next observed one began; certain_hours end with its
--          last observation. hour_pieces has the rules. A state that has not ended counts up to its
--          last observation.
with clipped as (
    select
        date,
        account,
        pool_id,
        vm_size,
        is_dedicated,
        state,
        is_certain,
        date_diff(
            'microsecond',
            greatest(begins_at, cast(date as timestamptz)),
            least(ends_at, cast(date as timestamptz) + interval 1 day)
        ) / 3600000000.0 as hours
    from made_hour_pieces
)
select
    date,
    account,
    pool_id,
    vm_size,
    is_dedicated,
    state,
    sum(hours) as hours,
    coalesce(sum(hours) filter (where is_certain = 1), 0.0) as certain_hours
from clipped
where hours > 0
group by date, account, pool_id, vm_size, is_dedicated, state
