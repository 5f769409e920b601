-- question: Why do start tasks fail, how often, and on how many nodes?
-- grain:    pool x cause (failure code, exit code)
-- columns:  account, pool_id, failure_code, exit_code, runs, nodes, first_start_time,
--           last_start_time, message, stderr, stdout
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only runs that began at or after this moment
-- param:    to timestamptz = null: only runs that began before this moment
-- param:    output boolean = false: include the output of the last captured run of each cause
-- caveats:  A run is (node, allocation, start time): one that was seen in many snapshots counts
--           once, and a retry is a separate run. A run that began and ended between two snapshots
--           was never seen. nodes counts ids: another machine under the same id does not add one.
--           start_task_failure_rate has the number of all runs. stderr and stdout are the last 4
--           KiB of those files, redacted. They are null without output=true, and where no run of
--           the cause was captured (snapshot --capture-start-task-output). A retry may have written
--           them since.
with outputs as (
    select
        account,
        pool_id,
        node_id,
        start_time,
        max_by(text, snapshot_id) filter (where file = 'stderr') as stderr,
        max_by(text, snapshot_id) filter (where file = 'stdout') as stdout
    from start_task_output
    where text is not null and cast($output as boolean)
    group by account, pool_id, node_id, start_time
)
select
    runs.account,
    runs.pool_id,
    runs.failure_code,
    runs.exit_code,
    count(*) as runs,
    count(distinct runs.node_id) as nodes,
    min(runs.start_time) as first_start_time,
    max(runs.start_time) as last_start_time,
    max_by(runs.failure_message, runs.start_time) as message,
    max_by(outputs.stderr, runs.start_time) filter (where outputs.stderr is not null) as stderr,
    max_by(outputs.stdout, runs.start_time) filter (where outputs.stdout is not null) as stdout
from start_task_ends as runs
left join outputs
    on outputs.account = runs.account
    and outputs.pool_id = runs.pool_id
    and outputs.node_id = runs.node_id
    and outputs.start_time = runs.start_time
where runs.result = 'failure'
    and (cast($pool as varchar) is null or runs.pool_id = cast($pool as varchar))
    and (cast($from as timestamptz) is null or runs.start_time >= cast($from as timestamptz))
    and (cast($to as timestamptz) is null or runs.start_time < cast($to as timestamptz))
group by runs.account, runs.pool_id, runs.failure_code, runs.exit_code
order by runs desc, account, pool_id, failure_code, exit_code;
