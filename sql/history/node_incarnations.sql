-- makes:   every node that was listed, how it started and how it ended, as a day's listings show it
-- grain:   wanted day x incarnation
-- columns: those of facts.NODE_INCARNATIONS that are stored, and date
-- merge:   min of first_observed_at, max of last_observed_at; absent_at and is_pool_absent from the
--          latest last_observed_at; the rest from the last known value; the view computes
--          ended_after, ended_before and ended_by again
-- caveats: How a node started is stored only by the days of its start, each as far as its window
--          reaches: the earliest of every time counts.
with up as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        min(first_observed_at) as up_observed_at,
        min(state_transition_time) as up_at
    from made_seen_states
    where state in ('idle', 'running')
    group by date, account, pool_id, node_id, allocation_time
),
runs as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        min(start_time) as began_at,
        min(end_time) filter (where result = 'success') as succeeded_at
    from made_start_task_runs
    group by date, account, pool_id, node_id, allocation_time
),
boots as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        min(boot_time) as boot_time,
        min_by(
            coalesce(
                image_virtual_machine_image_id,
                nullif(
                    concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version),
                    ''
                ),
                ''
            ),
            boot_time
        ) as boot_image
    from made_node_boots
    group by date, account, pool_id, node_id, allocation_time
),
started as (
    select
        seen.*,
        boots.boot_time,
        nullif(boots.boot_image, '') as boot_image,
        runs.began_at,
        runs.succeeded_at,
        up.up_at,
        cast(seen.first_observed_at as date) = seen.date
            or up.up_observed_at is null
            or up.up_observed_at > seen.first_observed_at
            or runs.succeeded_at is null
            or runs.succeeded_at > seen.first_observed_at as is_starting,
        late.date is not null as is_late
    from made_seen_incarnations as seen
    left join made_late_nodes as late
        on late.date = seen.date
        and late.account = seen.account
        and late.pool_id = seen.pool_id
        and late.node_id = seen.node_id
        and late.allocation_time is not distinct from seen.allocation_time
    left join up
        on up.date = seen.date
        and up.account = seen.account
        and up.pool_id = seen.pool_id
        and up.node_id = seen.node_id
        and up.allocation_time is not distinct from seen.allocation_time
    left join runs
        on runs.date = seen.date
        and runs.account = seen.account
        and runs.pool_id = seen.pool_id
        and runs.node_id = seen.node_id
        and runs.allocation_time is not distinct from seen.allocation_time
    left join boots
        on boots.date = seen.date
        and boots.account = seen.account
        and boots.pool_id = seen.pool_id
        and boots.node_id = seen.node_id
        and boots.allocation_time is not distinct from seen.allocation_time
)
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    first_observed_at,
    last_observed_at,
    vm_size,
    is_dedicated,
    image_publisher,
    image_offer,
    image_sku,
    image_exact_version,
    image_virtual_machine_image_id,
    last_state,
    total_tasks_run,
    total_tasks_succeeded,
    absent_at,
    is_pool_absent,
    case
        when absent_at is not null or replaced_at is not null
            then least(last_observed_at, absent_at, replaced_at)
    end as ended_after,
    least(absent_at, replaced_at) as ended_before,
    case
        when replaced_at is not null and (absent_at is null or replaced_at < absent_at)
            then 'id_reused'
        when is_pool_absent then 'pool_absent'
        when absent_at is not null then 'absent'
    end as ended_by,
    cast(last_observed_at as date) = date as is_last,
    cast(first_observed_at as date) = date as is_first,
    is_interrupted or is_late as is_interrupted,
    first_total_at,
    first_total,
    last_total_at,
    first_readable_at,
    last_readable_at,
    is_starting,
    case when is_starting then boot_time end as boot_time,
    case when is_starting then boot_image end as boot_image,
    case when is_starting then began_at end as start_task_began_at,
    case when is_starting then succeeded_at end as start_task_succeeded_at,
    case when is_starting then up_at end as up_at,
    cast(
        md5_number_lower(
            concat_ws(
                '/', account, pool_id, node_id, cast(epoch_us(allocation_time) as varchar)
            )
        ) // 2
        as bigint
    ) as incarnation_key
from started
