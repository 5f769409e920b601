-- question: In which pools do nodes run several images at a time, and which?
-- grain:    pool x image, of the pools that have several
-- columns:  account, pool_id, image, nodes, share, images, first_observed_at, first_allocation_time,
--           last_allocation_time, is_newest
-- param:    pool varchar = null: only this pool
-- param:    moment timestamptz = null: as of this moment; null for the end of the record
-- param:    images int = 2: only pools with at least this many images (1 lists every pool)
-- caveats:  An image is a publisher, offer, SKU and exact version, or the id of a custom or gallery
--           image, whose version is known only where it is part of the id. Nodes without an image
--           are left out. A node has gone once two complete listings lack it. first_observed_at is
--           when the image was first seen in the pool. is_newest marks the image that was first
--           seen last in the pool; of images first seen together, the one allocated last. A node
--           keeps its image until it is reimaged or replaced: some drift is usual where a pool asks
--           for the latest version.
with known as (
    select
        account,
        pool_id,
        coalesce(
            image_virtual_machine_image_id,
            nullif(concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version), '')
        ) as image,
        min(first_observed_at) as first_observed_at
    from daily_node_config_intervals
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (
            cast($moment as timestamptz) is null
            or first_observed_at <= cast($moment as timestamptz)
        )
    group by
        account, pool_id,
        coalesce(
            image_virtual_machine_image_id,
            nullif(concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version), '')
        )
),
placed as (
    select
        account,
        pool_id,
        allocation_time,
        coalesce(
            image_virtual_machine_image_id,
            nullif(concat_ws(' ', image_publisher, image_offer, image_sku, image_exact_version), '')
        ) as image
    from node_configs_at(cast($pool as varchar), cast($moment as timestamptz))
),
present as (
    select
        account,
        pool_id,
        image,
        count(*) as nodes,
        min(allocation_time) as first_allocation_time,
        max(allocation_time) as last_allocation_time
    from placed
    where image is not null
    group by account, pool_id, image
),
counted as (
    select
        present.*,
        known.first_observed_at,
        count(*) over (partition by present.account, present.pool_id) as images,
        sum(nodes) over (partition by present.account, present.pool_id) as all_nodes,
        row_number() over (
            partition by present.account, present.pool_id
            order by known.first_observed_at desc, last_allocation_time desc, present.image desc
        ) as place
    from present
    join known
        on known.account = present.account
        and known.pool_id = present.pool_id
        and known.image = present.image
)
select
    account,
    pool_id,
    image,
    nodes,
    round(cast(nodes as double) / all_nodes, 4) as share,
    images,
    first_observed_at,
    first_allocation_time,
    last_allocation_time,
    place = 1 as is_newest
from counted
where images >= cast($images as int)
order by account, pool_id, nodes desc, image;
