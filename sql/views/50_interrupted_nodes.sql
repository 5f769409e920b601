-- answers: nodes that some day could not follow across its bounds: absent from two complete
--          listings and listed again, or malformed around midnight
-- grain:   incarnation
-- columns: account, pool_id, node_id, allocation_time
-- caveats: Few; none in most lakes. The stored rows of these nodes are merged when they are read.
--          For all other nodes one day stores each fact in its final form, and it is read as
--          stored. Other nodes with the same id are among them: a node ends where the next one
--          under its id begins.
create or replace view interrupted_nodes as
with ids as (
    select distinct account, pool_id, node_id
    from daily_node_incarnations
    where is_interrupted
)
select distinct nodes.account, nodes.pool_id, nodes.node_id, nodes.allocation_time
from daily_node_incarnations as nodes
join ids
    on ids.account = nodes.account
    and ids.pool_id = nodes.pool_id
    and ids.node_id = nodes.node_id;
