-- answers: stretches of listings of a node that all showed an error of one code
-- grain:   incarnation x code x first_observed_at
-- columns: those of facts.NODE_ERROR_EPISODES
-- caveats: It began between started_after and first_observed_at, and ended between last_observed_at
--          and ended_before; a bound is null where no listing gives it. Stretches of several days
--          are merged unless a listing of the node between them shows no such error. An error
--          without a code is ''.
create or replace view node_error_episodes as
with looked as (
    select
        *,
        -- most were shown on one day only: their stored rows are already whole
        count(*) over (
            partition by allocation_time, node_id, code, pool_id, account
        ) as stretches,
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
    from daily_node_error_episodes
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
    where stretches > 1
),
whole as (
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
        max(case when started_after < first_observed_at then started_after end) as started_after,
        min(ended_before) as ended_before,
        max_by(vm_size, last_observed_at) filter (where vm_size is not null) as vm_size,
        max_by(is_dedicated, last_observed_at) filter (where is_dedicated is not null) as is_dedicated
    from numbered
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
    from looked
    where stretches = 1
),
-- Of interrupted nodes the listings before and after an episode may lie beyond its day's own.
edges as (
    select
        whole.account,
        whole.pool_id,
        whole.node_id,
        whole.allocation_time,
        whole.code,
        whole.first_observed_at,
        max(nodes.last_readable_at) filter (
            where nodes.last_readable_at < whole.first_observed_at
        ) as readable_before,
        min(nodes.first_readable_at) filter (
            where nodes.first_readable_at > whole.last_observed_at
        ) as readable_after
    from whole
    join interrupted_node_incarnations as nodes
        on nodes.account = whole.account
        and nodes.pool_id = whole.pool_id
        and nodes.node_id = whole.node_id
        and nodes.allocation_time is not distinct from whole.allocation_time
    where whole.started_after is null or whole.ended_before is null
    group by
        whole.account, whole.pool_id, whole.node_id, whole.allocation_time, whole.code,
        whole.first_observed_at
)
select
    whole.account,
    whole.pool_id,
    whole.node_id,
    whole.allocation_time,
    whole.code,
    whole.first_observed_at,
    whole.last_observed_at,
    whole.message,
    coalesce(whole.started_after, edges.readable_before) as started_after,
    coalesce(whole.ended_before, edges.readable_after) as ended_before,
    whole.vm_size,
    whole.is_dedicated
from whole
left join edges
    on edges.account = whole.account
    and edges.pool_id = whole.pool_id
    and edges.node_id = whole.node_id
    and edges.allocation_time is not distinct from whole.allocation_time
    and edges.code = whole.code
    and edges.first_observed_at = whole.first_observed_at;
