-- check:    Rows of a snapshot that is missing from the ledger
-- severity: fail
-- grain:    table x account x snapshot
-- columns:  table_name, account, snapshot_id, stored_rows
-- caveats:  A snapshot without a ledger row does not exist: its rows must not be read. For
--           pool_usage every fetched row is checked, not only the latest.
with stored as (
    select 'pools' as table_name, account, snapshot_id from pools
    union all
    select 'nodes' as table_name, account, snapshot_id from nodes
    union all
    select 'start_tasks' as table_name, account, snapshot_id from start_tasks
    union all
    select 'recent_tasks' as table_name, account, snapshot_id from recent_tasks
    union all
    select 'node_errors' as table_name, account, snapshot_id from node_errors
    union all
    select 'pool_errors' as table_name, account, snapshot_id from pool_errors
    union all
    select 'start_task_output' as table_name, account, snapshot_id from start_task_output
    union all
    select 'supported_images' as table_name, account, snapshot_id from supported_images
    union all
    select 'pool_usage' as table_name, account, snapshot_id from pool_usage_snapshots
)
select stored.table_name, stored.account, stored.snapshot_id, count(*) as stored_rows
from stored
left join snapshots
    on snapshots.account = stored.account and snapshots.snapshot_id = stored.snapshot_id
where snapshots.snapshot_id is null
group by stored.table_name, stored.account, stored.snapshot_id
order by stored.snapshot_id, stored.table_name, stored.account;
