-- answers: the last configuration of each node that was present at a moment
-- grain:   incarnation
-- columns: those of facts.NODE_CONFIG_INTERVALS by day, place (always 1)
-- caveats: moment is null: at the end of the record. Without a moment a node's last day has its
--          configuration, unless the node was interrupted. of_pool is null: of every pool.
create or replace macro node_configs_at(of_pool, moment) as table
with alive as (
    select
        lives.account,
        lives.pool_id,
        lives.node_id,
        lives.allocation_time,
        lives.date,
        nodes.node_id is not null as is_interrupted
    from node_lifetimes as lives
    left join interrupted_nodes as nodes
        on nodes.account = lives.account
        and nodes.pool_id = lives.pool_id
        and nodes.node_id = lives.node_id
        and nodes.allocation_time is not distinct from lives.allocation_time
    where (lives.ended_before is null or lives.ended_before > moment)
        and (of_pool is null or lives.pool_id = of_pool)
),
placed as (
    select
        intervals.*,
        row_number() over (
            partition by
                intervals.account, intervals.pool_id, intervals.node_id, intervals.allocation_time
            order by intervals.first_observed_at desc, intervals.last_observed_at desc
        ) as place
    from daily_node_config_intervals as intervals
    join alive
        on alive.account = intervals.account
        and alive.pool_id = intervals.pool_id
        and alive.node_id = intervals.node_id
        and alive.allocation_time is not distinct from intervals.allocation_time
        and (moment is not null or alive.date = intervals.date or alive.is_interrupted)
    where moment is null or intervals.first_observed_at <= moment
)
select *
from placed
where place = 1;
