-- makes:   every node that was listed, as the listings of a day show it, and whether it has gone
-- grain:   wanted day x incarnation
-- columns: those of facts.NODE_INCARNATIONS that are stored, and date; is_again, see listed_again
-- merge:   min of first_observed_at, max of last_observed_at, the rest last by last_observed_at
-- traps:   Malformed rows count as present. Gone is absent from two consecutive complete listings,
--          absent_at is the first one's finish; an account listing without the pool proves it at
--          once. A listing that began before the node was last seen proves nothing.
with seen as (
    select
        date,
        account,
        pool_id,
        node_id,
        allocation_time,
        min(observed_at) as first_observed_at,
        max(observed_at) as last_observed_at,
        min(observed_at) filter (where cast(observed_at as date) = date) as day_observed_at,
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
            as total_tasks_succeeded
    from made_observations
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
-- most nodes are in the last proof: only the others are looked at more closely
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
)
select
    seen.date,
    seen.account,
    seen.pool_id,
    seen.node_id,
    seen.allocation_time,
    seen.first_observed_at,
    seen.last_observed_at,
    seen.vm_size,
    seen.is_dedicated,
    seen.image_publisher,
    seen.image_offer,
    seen.image_sku,
    seen.image_exact_version,
    seen.image_virtual_machine_image_id,
    seen.last_state,
    seen.total_tasks_run,
    seen.total_tasks_succeeded,
    absences.absent_at,
    absences.is_pool_absent,
    coalesce(
        case
            when seen.day_observed_at is null then false
            when seen.first_observed_at < cast(seen.date as timestamptz)
                then seen.day_observed_at > day_edges.unseen_at
            else day_edges.before_at is not null
                and (
                    seen.allocation_time is null
                    or seen.allocation_time < day_edges.before_at + interval 2 seconds
                )
        end,
        false
    ) as is_again
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
