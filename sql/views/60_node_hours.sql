-- answers: hours of nodes in each state, by day
-- grain:   date x account x pool x vm_size x is_dedicated x state
-- columns: date, and those of facts.NODE_HOURS
-- caveats: See node_hours in sql/history. For interrupted nodes (see interrupted_nodes) the hours
--          that the days counted are subtracted, and the hours that all days together show are
--          added.
create or replace view node_hours as
with pieces as (
    select days.date, whole.account, pool_id, vm_size, is_dedicated, state, begins_at, ends_at,
        is_certain, 1 as sign
    from whole_hour_pieces as whole
    join known_days as days
        on days.account = whole.account
        and days.date between cast(whole.begins_at as date) and cast(whole.ends_at as date)
    union all
    select date, account, pool_id, vm_size, is_dedicated, state, begins_at, ends_at, is_certain, -1
    from interrupted_hour_pieces
),
clipped as (
    select
        date,
        account,
        pool_id,
        vm_size,
        is_dedicated,
        state,
        is_certain,
        sign,
        date_diff(
            'microsecond',
            greatest(begins_at, cast(date as timestamptz)),
            least(ends_at, cast(date as timestamptz) + interval 1 day)
        ) / 3600000000.0 as hours
    from pieces
),
corrected as (
    select date, account, pool_id, vm_size, is_dedicated, state, hours, certain_hours
    from daily_node_hours
    union all
    select
        date,
        account,
        pool_id,
        vm_size,
        is_dedicated,
        state,
        sign * hours as hours,
        case when is_certain = 1 then sign * hours else 0.0 end as certain_hours
    from clipped
    where hours > 0
),
summed as (
    select
        date,
        account,
        pool_id,
        vm_size,
        is_dedicated,
        state,
        sum(hours) as hours,
        sum(certain_hours) as certain_hours
    from corrected
    group by date, account, pool_id, vm_size, is_dedicated, state
)
select
    date,
    account,
    pool_id,
    vm_size,
    is_dedicated,
    state,
    hours,
    -- sums of the same hours may differ in their last digits
    least(greatest(certain_hours, 0.0), hours) as certain_hours
from summed
where hours > 1e-9;
