-- makes:   with which agents and images the nodes of a pool were listed, as the listings of a day show
-- grain:   wanted day x account x pool x node_agent_version x image
-- columns: those of facts.POOL_SETUPS, and date
-- merge:   none: over days min of first_observed_at, max of last_observed_at
-- traps:   As node_config_intervals: malformed rows are left out, and the agent's version is absent
--          while a node starts.
select
    date,
    account,
    pool_id,
    node_agent_version,
    image_publisher,
    image_offer,
    image_sku,
    image_exact_version,
    image_virtual_machine_image_id,
    min(first_observed_at) as first_observed_at,
    max(last_observed_at) as last_observed_at
from made_node_config_intervals
group by
    date,
    account,
    pool_id,
    node_agent_version,
    image_publisher,
    image_offer,
    image_sku,
    image_exact_version,
    image_virtual_machine_image_id
