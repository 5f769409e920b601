-- makes:   every observed boot of a node, as the listings of a day show it
-- grain:   wanted day x incarnation x boot_time
-- columns: those of facts.NODE_BOOTS, and date
-- merge:   min of first_observed_at, max of last_observed_at, the rest from the latest
--          last_observed_at
-- caveats: A boot that was followed by another between two listings was never seen. lastBootTime is
--          absent while a node is creating or starting: a preempted node no longer shows its old
--          one.
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    last_boot_time as boot_time,
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
        as image_virtual_machine_image_id
from made_observations
where not is_malformed and last_boot_time is not null
group by date, account, pool_id, node_id, allocation_time, last_boot_time
