-- check:    Snapshots whose number of rows differs from their ledger row
-- severity: fail
-- grain:    table x account x snapshot
-- columns:  table_name, account, snapshot_id, ledger_rows, stored_rows
-- caveats:  A count that is missing because the ledger file is older than the column is not
--           compared. Snapshots whose rows have expired are gone from the ledger too, so they are
--           not compared either.
with expected as (
    select 'pools' as table_name, account, snapshot_id, pools_rows as ledger_rows from snapshots
    union all
    select 'nodes' as table_name, account, snapshot_id, nodes_rows from snapshots
    union all
    select 'start_tasks' as table_name, account, snapshot_id, start_tasks_rows from snapshots
    union all
    select 'recent_tasks' as table_name, account, snapshot_id, recent_tasks_rows from snapshots
    union all
    select 'node_errors' as table_name, account, snapshot_id, node_errors_rows from snapshots
    union all
    select 'pool_errors' as table_name, account, snapshot_id, pool_errors_rows from snapshots
    union all
    select 'start_task_output' as table_name, account, snapshot_id, start_task_output_rows from snapshots
    union all
    select 'supported_images' as table_name, account, snapshot_id, supported_images_rows from snapshots
    union all
    select 'pool_usage' as table_name, account, snapshot_id, pool_usage_rows from snapshots
),
stored as (
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
),
counted as (
    select table_name, account, snapshot_id, count(*) as stored_rows
    from stored
    group by table_name, account, snapshot_id
)
select
    expected.table_name,
    expected.account,
    expected.snapshot_id,
    expected.ledger_rows,
    coalesce(counted.stored_rows, 0) as stored_rows
from expected
left join counted
    on counted.table_name = expected.table_name
    and counted.account = expected.account
    and counted.snapshot_id = expected.snapshot_id
where expected.ledger_rows <> coalesce(counted.stored_rows, 0)
order by expected.snapshot_id, expected.table_name, expected.account;
