-- answers: which nodes some day could not follow over its ends: absent from two complete listings and
--          listed again, or malformed around midnight
-- grain:   incarnation
-- columns: account, pool_id, node_id, allocation_time
-- caveats: Few, in most lakes none. What days store of these is put together when it is read; of all
--          other nodes each thing is stored by one day for good, and read as it lies.
create or replace view interrupted_nodes as
select distinct account, pool_id, node_id, allocation_time
from daily_node_incarnations
where is_interrupted;
