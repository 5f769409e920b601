-- makes:   every node that was listed, as the listings of a day show it, and whether it has gone
-- grain:   wanted day x incarnation
-- columns: date, the key, the known properties of the node, absent_at, is_pool_absent, replaced_at
--          (when the next machine under its id was allocated), replacement_observed_at,
--          is_interrupted
-- caveats: Malformed rows count as present. A node has gone when two consecutive complete listings
--          lack it; absent_at is when the first of them finished. An account listing without the
--          pool proves it at once. A listing that began before the node was last seen proves
--          nothing. is_interrupted: this day or one near it may not see all that is known of the
--          node, because the node was absent and returned, or because some rows lack a value that
--          other rows have. Views merge what the days then store about it. counts_from: the node's
--          tasks that ended before it were listed as ended by an earlier day, or by none.
with seen as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        min(observed_at) as first_observed_at,
        max(observed_at) as last_observed_at,
        max_by(vm_size, observed_at) filter (where vm_size is not null) as vm_size,
        max_by(is_dedicated, observed_at) filter (where is_dedicated is not null) as is_dedicated,
        max_by(image_publisher, observed_at) filter (where image_publisher is not null)
            as image_publisher,
        max_by(image_offer, observed_at) filter (where image_offer is not null) as image_offer,
        max_by(image_sku, observed_at) filter (where image_sku is not null) as image_sku,
        max_by(image_exact_version, observed_at) filter (where image_exact_version is not null)
            as image_exact_version,
        max_by(image_virtual_machine_image_id, observed_at)
            filter (where image_virtual_machine_image_id is not null)
            as image_virtual_machine_image_id,
        max_by(state, observed_at) filter (where state is not null) as last_state,
        max_by(total_tasks_run, observed_at) filter (where total_tasks_run is not null)
            as total_tasks_run,
        max_by(total_tasks_succeeded, observed_at) filter (where total_tasks_succeeded is not null)
            as total_tasks_succeeded,
        min(observed_at) filter (where total_tasks_run is not null) as first_total_at,
        min_by(total_tasks_run, observed_at) filter (where total_tasks_run is not null)
            as first_total,
        max(observed_at) filter (where total_tasks_run is not null) as last_total_at,
        min(observed_at) filter (where not is_malformed) as first_readable_at,
        max(observed_at) filter (where not is_malformed) as last_readable_at,
        min(observed_at) filter (where is_state_known) as first_known_at,
        max(observed_at) filter (
            where not is_malformed and observed_at < cast(date as timestamptz)
        ) as readable_before,
        min(observed_at) filter (where observed_at >= cast(date as timestamptz)) as again_at,
        -- from the first on all values have been seen; after the last some are missing
        greatest(
            min(observed_at) filter (where is_state_known),
            min(observed_at) filter (where not is_malformed),
            min(observed_at) filter (where total_tasks_run is not null),
            min(observed_at) filter (where total_tasks_succeeded is not null),
            min(observed_at) filter (where vm_size is not null),
            min(observed_at) filter (where is_dedicated is not null),
            min(observed_at) filter (where has_image)
        ) as complete_from,
        least(
            max(observed_at) filter (where is_state_known),
            max(observed_at) filter (where not is_malformed),
            max(observed_at) filter (where total_tasks_run is not null),
            max(observed_at) filter (where total_tasks_succeeded is not null),
            max(observed_at) filter (where vm_size is not null),
            max(observed_at) filter (where is_dedicated is not null),
            max(observed_at) filter (where has_image)
        ) as complete_until
    from (
        select
            *,
            coalesce(
                image_publisher, image_offer, image_sku, image_exact_version,
                image_virtual_machine_image_id
            ) is not null as has_image
        from made_observations
    ) as observations
    group by date, account, pool_id, node_id, allocation_time
),
proofs as (
    select date, account, pool_id, started_at, finished_at, is_absence
    from made_listings
    where is_proof
),
last_proofs as (
    select date, account, pool_id, max(started_at) as started_at
    from proofs
    group by date, account, pool_id
),
-- most nodes are in the last proof: only the others need the steps below
missing as (
    select seen.date, seen.account, seen.pool_id, seen.node_id, seen.allocation_time,
        seen.last_observed_at
    from seen
    join last_proofs
        on last_proofs.date = seen.date
        and last_proofs.account = seen.account
        and last_proofs.pool_id = seen.pool_id
    where last_proofs.started_at > seen.last_observed_at
),
absences as (
    select
        missing.date,
        missing.account,
        missing.pool_id,
        missing.node_id,
        missing.allocation_time,
        count(*) as proofs,
        min(proofs.finished_at) as absent_at,
        min_by(proofs.is_absence, proofs.finished_at) as is_pool_absent
    from missing
    join proofs
        on proofs.date = missing.date
        and proofs.account = missing.account
        and proofs.pool_id = missing.pool_id
        and proofs.started_at > missing.last_observed_at
    group by
        missing.date,
        missing.account,
        missing.pool_id,
        missing.node_id,
        missing.allocation_time
),
gone as (
    select
        seen.*,
        absences.absent_at,
        absences.is_pool_absent,
        day_edges.before_at,
        day_edges.unseen_at,
        -- an id belongs to one node at a time: this node had gone when the next was allocated
        min(seen.allocation_time) over (
            partition by seen.date, seen.account, seen.pool_id, seen.node_id
            order by seen.first_observed_at, seen.last_observed_at
            rows between 1 following and unbounded following
        ) as next_allocation_time,
        lead(seen.first_observed_at) over (
            partition by seen.date, seen.account, seen.pool_id, seen.node_id
            order by seen.first_observed_at, seen.last_observed_at
        ) as replacement_observed_at
    from seen
    left join made_day_edges as day_edges
        on day_edges.date = seen.date
        and day_edges.account = seen.account
        and day_edges.pool_id = seen.pool_id
    left join absences
        on absences.date = seen.date
        and absences.account = seen.account
        and absences.pool_id = seen.pool_id
        and absences.node_id = seen.node_id
        and absences.allocation_time is not distinct from seen.allocation_time
        and (absences.proofs >= 2 or absences.is_pool_absent)
)
select
    *,
    case when next_allocation_time > first_observed_at then next_allocation_time end as replaced_at,
    coalesce(readable_before, before_at + interval 2 seconds) as counts_from,
    -- no row of it shows a state
    first_known_at is null
    or coalesce(complete_until < last_observed_at, false)
    or coalesce(
        case
            when first_observed_at < cast(date as timestamptz)
                -- a value is missing in the rows before the day, or the day before saw it go
                then complete_from >= cast(date as timestamptz) or again_at > unseen_at
            -- it existed before the day and was not listed, or was listed too late for that day
            else allocation_time is null and before_at is not null
                or allocation_time < before_at + interval 2 seconds
                or (
                    allocation_time < cast(date as timestamptz)
                    and greatest(complete_from, first_observed_at) > unseen_at
                )
        end,
        false
    ) as is_interrupted
from gone
