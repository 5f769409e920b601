-- answers: the errors of a node's pool (a failed resize, a failed autoscale formula) within its life
-- grain:   incarnation x episode of a pool's error; no rows where of_node is null
-- columns: those of node_events
-- caveats: of_account and of_pool may be null. An error is shown whole, where a listing showed it
--          between the node's allocation and its last observation. A resize error begins exactly at
--          began_at; an autoscale error between began_after and began_at.
create or replace macro pool_errors_of_node(of_account, of_pool, of_node) as table
select
    nodes.account, nodes.pool_id, nodes.node_id, nodes.allocation_time,
    9 as place,
    'pool error' as kind,
    concat_ws(' ', errors.kind, nullif(errors.code, '')) as what,
    concat_ws(
        ', ',
        nullif(errors.message, ''),
        cast(nullif(errors.dedicated_short, 0) as varchar) || ' dedicated nodes missing',
        cast(nullif(errors.spot_short, 0) as varchar) || ' spot nodes missing'
    ) as detail,
    case when errors.resized_at is null then errors.started_after end as began_after,
    coalesce(errors.resized_at, errors.evaluated_at, errors.first_observed_at) as began_at,
    errors.last_observed_at as ended_after,
    errors.ended_before,
    cast(null as varchar) as outcome,
    1 as number
from node_incarnations as nodes
join pool_error_episodes as errors
    on errors.account = nodes.account
    and errors.pool_id = nodes.pool_id
    and errors.last_observed_at >= coalesce(nodes.allocation_time, nodes.first_observed_at)
    and coalesce(errors.resized_at, errors.evaluated_at, errors.first_observed_at)
        <= nodes.last_observed_at
where nodes.node_id = of_node
    and (of_pool is null or nodes.pool_id = of_pool)
    and (of_account is null or nodes.account = of_account);
