-- makes:   every run of a start task that a node showed, as the listings of a day show it
-- grain:   wanted day x incarnation x start_time
-- columns: those of facts.START_TASK_RUNS that are stored, and date
-- merge:   min of first_observed_at, max of last_observed_at; start_task_id,
--          start_task_definition_id and is_definition_certain from the earliest first_observed_at,
--          the rest from the latest last_observed_at
-- caveats: startTaskInfo has the most recent run only, so a run that began and ended between two
--          listings was never seen; retry_count counts such runs. A node carries the definition it
--          will run next, so a run has the definition of its first observation. Where the listing
--          just before had another definition, the run may be of that one.
with kept as (
    select * from made_observations where not is_malformed
),
-- Few nodes change their definition: only those are read listing by listing.
changed as (
    select date, account, pool_id, node_id, allocation_time
    from kept
    group by date, account, pool_id, node_id, allocation_time
    having min(start_task_definition_id) <> max(start_task_definition_id)
        or count(start_task_definition_id) between 1 and count(*) - 1
),
compared as (
    select
        kept.*,
        lag(start_task_definition_id) over (
            partition by kept.date, kept.account, kept.pool_id, kept.node_id, kept.allocation_time
            order by observed_at, snapshot_id
        ) as definition_before
    from kept
    join changed
        on changed.date = kept.date
        and changed.account = kept.account
        and changed.pool_id = kept.pool_id
        and changed.node_id = kept.node_id
        and changed.allocation_time is not distinct from kept.allocation_time
    union all
    select kept.*, start_task_definition_id as definition_before
    from kept
    left join changed
        on changed.date = kept.date
        and changed.account = kept.account
        and changed.pool_id = kept.pool_id
        and changed.node_id = kept.node_id
        and changed.allocation_time is not distinct from kept.allocation_time
    where changed.date is null
),
runs as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        start_task_start_time as start_time,
        min(observed_at) as first_observed_at,
        max(observed_at) as last_observed_at,
        min_by(
            struct_pack(
                start_task_id := start_task_id,
                start_task_definition_id := start_task_definition_id,
                is_definition_certain := definition_before is null
                    or definition_before is not distinct from start_task_definition_id
            ),
            observed_at
        ) as first_row,
        -- one row wins, including its nulls
        max_by(
            struct_pack(
                state := start_task_state,
                end_time := start_task_end_time,
                exit_code := start_task_exit_code,
                result := start_task_result,
                failure_category := start_task_failure_category,
                failure_code := start_task_failure_code,
                failure_message := start_task_failure_message,
                container_state := start_task_container_state,
                container_error := start_task_container_error,
                retry_count := start_task_retry_count,
                vm_size := vm_size,
                is_dedicated := is_dedicated,
                image_publisher := image_publisher,
                image_offer := image_offer,
                image_sku := image_sku,
                image_exact_version := image_exact_version,
                image_virtual_machine_image_id := image_virtual_machine_image_id
            ),
            observed_at
        ) as last_row
    from compared
    where start_task_start_time is not null
    group by date, account, pool_id, node_id, allocation_time, start_task_start_time
)
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    start_time,
    first_observed_at,
    last_observed_at,
    first_row.start_task_id,
    first_row.start_task_definition_id,
    first_row.is_definition_certain,
    last_row.state,
    last_row.end_time,
    last_row.exit_code,
    last_row.result,
    last_row.failure_category,
    last_row.failure_code,
    last_row.failure_message,
    last_row.container_state,
    last_row.container_error,
    last_row.retry_count,
    last_row.vm_size,
    last_row.is_dedicated,
    last_row.image_publisher,
    last_row.image_offer,
    last_row.image_sku,
    last_row.image_exact_version,
    last_row.image_virtual_machine_image_id,
    lead(start_time) over (
        partition by
            date, account, pool_id, node_id, allocation_time,
            coalesce(
                last_row.image_virtual_machine_image_id,
                concat_ws(
                    ' ', last_row.image_publisher, last_row.image_offer, last_row.image_sku,
                    last_row.image_exact_version
                )
            )
        order by start_time
    ) as next_start_time,
    cast(last_observed_at as date) = date as is_last,
    cast(first_observed_at as date) = date as is_first
from runs
