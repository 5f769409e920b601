-- answers: what the failed start tasks of each node wrote, as captured
-- grain:   account x pool x node x start_time x file
-- columns: account, pool_id, node_id, start_time, exit_code, file, text, is_truncated, error_code
-- param:   from timestamptz: only runs that began at or after this moment
-- param:   to timestamptz: only runs that began before this moment
-- param:   pool varchar = null: only this pool
-- caveats: Only where snapshots were taken with --capture-start-task-output. The last capture of a
--          file counts; a capture that succeeded is preferred to one that failed.
with numbered as (
    select
        *,
        row_number() over (
            partition by account, pool_id, node_id, start_time, file
            order by (text is not null) desc, snapshot_at desc, snapshot_id desc
        ) as place
    from start_task_output
    where start_time >= cast($from as timestamptz)
        and start_time < cast($to as timestamptz)
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
)
select
    account,
    pool_id,
    node_id,
    start_time,
    exit_code,
    file,
    text,
    is_truncated,
    error_code
from numbered
where place = 1
order by account, pool_id, node_id, start_time, file;
