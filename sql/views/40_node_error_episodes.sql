-- answers: stretches of listings of a node that all showed an error of one code
-- grain:   incarnation x code x first_observed_at
-- columns: those of facts.NODE_ERROR_EPISODES
-- caveats: It began between started_after and first_observed_at, and ended between last_observed_at
--          and ended_before; a bound is null where no listing gives it. Stretches of several days
--          are merged unless a listing of the node between them shows no such error. An error
--          without a code is ''.
create or replace view node_error_episodes as
-- Of interrupted nodes the listings before and after an episode may lie beyond its day's own.
with beyond as (
    select
        daily.date,
        daily.account,
        daily.pool_id,
        daily.node_id,
        daily.allocation_time,
        daily.code,
        daily.first_observed_at,
        max(nodes.last_readable_at) filter (
            where nodes.last_readable_at < daily.first_observed_at
        ) as readable_before,
        min(nodes.first_readable_at) filter (
            where nodes.first_readable_at > daily.last_observed_at
        ) as readable_after
    from daily_node_error_episodes as daily
    join interrupted_node_incarnations as nodes
        on nodes.account = daily.account
        and nodes.pool_id = daily.pool_id
        and nodes.node_id = daily.node_id
        and nodes.allocation_time is not distinct from daily.allocation_time
    group by
        daily.date, daily.account, daily.pool_id, daily.node_id, daily.allocation_time,
        daily.code, daily.first_observed_at
),
bounded as (
    select
        daily.date,
        daily.account,
        daily.pool_id,
        daily.node_id,
        daily.allocation_time,
        daily.code,
        daily.first_observed_at,
        daily.last_observed_at,
        daily.message,
        coalesce(daily.started_after, beyond.readable_before) as started_after,
        coalesce(daily.ended_before, beyond.readable_after) as ended_before,
        daily.vm_size,
        daily.is_dedicated,
        -- most were shown on one day only: their stored rows are already whole
        count(*) over (
            partition by daily.allocation_time, daily.node_id, daily.code, daily.pool_id,
                daily.account
        ) as stretches
    from daily_node_error_episodes as daily
    left join beyond
        on beyond.date = daily.date
        and beyond.account = daily.account
        and beyond.pool_id = daily.pool_id
        and beyond.node_id = daily.node_id
        and beyond.allocation_time is not distinct from daily.allocation_time
        and beyond.code = daily.code
        and beyond.first_observed_at = daily.first_observed_at
),
looked as (
    select
        *,
        max(last_observed_at) over (
            partition by allocation_time, node_id, code, pool_id, account
            order by first_observed_at, last_observed_at, date
            rows between unbounded preceding and 1 preceding
        ) as shown_until,
        max(ended_before) over (
            partition by allocation_time, node_id, code, pool_id, account
            order by first_observed_at, last_observed_at, date
            rows between unbounded preceding and 1 preceding
        ) as not_shown_at
    from bounded
    where stretches > 1
),
numbered as (
    select
        *,
        sum(
            case
                when shown_until is null then 1
                when started_after > shown_until then 1
                when not_shown_at > shown_until and not_shown_at < first_observed_at then 1
                else 0
            end
        ) over (
            partition by allocation_time, node_id, code, pool_id, account
            order by first_observed_at, last_observed_at, date
            rows between unbounded preceding and current row
        ) as island
    from looked
),
limited as (
    select
        *,
        min(first_observed_at) over (
            partition by allocation_time, node_id, code, pool_id, account, island
        ) as begun_at,
        max(last_observed_at) over (
            partition by allocation_time, node_id, code, pool_id, account, island
        ) as shown_last_at
    from numbered
)
select
    account,
    pool_id,
    node_id,
    allocation_time,
    code,
    min(first_observed_at) as first_observed_at,
    max(last_observed_at) as last_observed_at,
    max_by(message, last_observed_at) filter (where message is not null) as message,
    -- a stretch that its day's first listing cuts off has no start: another day has it
    max(started_after) filter (where started_after < begun_at) as started_after,
    min(ended_before) filter (where ended_before > shown_last_at) as ended_before,
    max_by(vm_size, last_observed_at) filter (where vm_size is not null) as vm_size,
    max_by(is_dedicated, last_observed_at) filter (where is_dedicated is not null) as is_dedicated
from limited
group by account, pool_id, node_id, allocation_time, code, island
union all
select
    account,
    pool_id,
    node_id,
    allocation_time,
    code,
    first_observed_at,
    last_observed_at,
    message,
    case when started_after < first_observed_at then started_after end as started_after,
    ended_before,
    vm_size,
    is_dedicated
from bounded
where stretches = 1;
