-- answers: every run of a start task and how it ended: a faster start_task_runs
-- grain:   incarnation x start_time
-- columns: date (whose file it is read from), the key, last_observed_at, end_time, result,
--          exit_code, failure_code, failure_message, image_*; next_start_time (of the node's next
--          run on the same image: always given for a run of the same day, never for one of a later
--          day)
-- caveats: As start_task_runs. The file of the day that last listed a run has all of this.
create or replace view start_task_ends as
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    start_time,
    last_observed_at,
    end_time,
    result,
    exit_code,
    failure_code,
    failure_message,
    image_publisher,
    image_offer,
    image_sku,
    image_exact_version,
    image_virtual_machine_image_id,
    next_start_time
from daily_start_task_runs as daily
where is_last
    and not exists (
        select 1
        from interrupted_nodes
        where interrupted_nodes.account = daily.account
            and interrupted_nodes.pool_id = daily.pool_id
            and interrupted_nodes.node_id = daily.node_id
            and interrupted_nodes.allocation_time is not distinct from daily.allocation_time
    )
union all
select
    cast(last_observed_at as date) as date,
    account,
    pool_id,
    node_id,
    allocation_time,
    start_time,
    last_observed_at,
    end_time,
    result,
    exit_code,
    failure_code,
    failure_message,
    image_publisher,
    image_offer,
    image_sku,
    image_exact_version,
    image_virtual_machine_image_id,
    lead(start_time) over (
        partition by
            account, pool_id, node_id, allocation_time,
            coalesce(
                image_virtual_machine_image_id,
                concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version)
            )
        order by start_time
    ) as next_start_time
from whole_start_task_runs;
