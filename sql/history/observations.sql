-- makes:   every node row of the listings of each wanted day, with its incarnation
-- grain:   wanted day x account x pool x snapshot x node
-- columns: those of nodes, allocation_time filled in; and date (the wanted day), started_at,
--          finished_at, is_complete and is_proof of the listing, is_state_known
-- caveats: A row without a valid id belongs to no node and is left out. is_state_known is false for
--          a malformed row, and for one without a state or its start: the node was present in an
--          unknown state.
select
    listings.date,
    nodes.account,
    nodes.pool_id,
    nodes.node_id,
    coalesce(nodes.allocation_time, allocations.allocation_time) as allocation_time,
    nodes.snapshot_id,
    nodes.observed_at,
    listings.started_at,
    listings.finished_at,
    listings.is_complete,
    listings.is_proof,
    coalesce(nodes.is_malformed, false) as is_malformed,
    not coalesce(nodes.is_malformed, false)
        and nodes.state is not null
        and nodes.state_transition_time is not null as is_state_known,
    nodes.state,
    nodes.state_transition_time,
    nodes.vm_size,
    nodes.is_dedicated,
    nodes.scheduling_state,
    nodes.last_boot_time,
    nodes.total_tasks_run,
    nodes.total_tasks_succeeded,
    nodes.running_task_slots_count,
    nodes.start_task_id,
    nodes.start_task_definition_id,
    nodes.start_task_state,
    nodes.start_task_start_time,
    nodes.start_task_end_time,
    nodes.start_task_exit_code,
    nodes.start_task_result,
    nodes.start_task_failure_category,
    nodes.start_task_failure_code,
    nodes.start_task_failure_message,
    nodes.start_task_container_state,
    nodes.start_task_container_error,
    nodes.start_task_retry_count,
    nodes.node_agent_version,
    nodes.image_publisher,
    nodes.image_offer,
    nodes.image_sku,
    nodes.image_exact_version,
    -- a custom image, or one of a shared or a community gallery: the id that is set
    coalesce(
        nodes.image_virtual_machine_image_id,
        nodes.image_shared_gallery_image_id,
        nodes.image_community_gallery_image_id
    ) as image_virtual_machine_image_id
from made_listings as listings
join nodes
    on nodes.account = listings.account
    and nodes.snapshot_id = listings.snapshot_id
    and nodes.pool_id = listings.pool_id
left join made_allocations as allocations
    on allocations.account = nodes.account
    and allocations.snapshot_id = nodes.snapshot_id
    and allocations.pool_id = nodes.pool_id
    and allocations.node_id = nodes.node_id
    and nodes.allocation_time is null
where not listings.is_absence and nodes.node_id is not null
