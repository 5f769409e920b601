-- question: Which pools run images that lose support, when, and what could replace them?
-- grain:    account x pool x image of its nodes
-- columns:  account, pool_id, publisher, offer, sku, nodes, end_of_life_at, days_left,
--           successor_offer, successor_sku, successor_end_of_life_at, listed_at
-- param:    pool varchar = null: only this pool
-- param:    days double = 180: images that lose support within this many days of the list
-- caveats:  nodes are those of each pool's last complete listing, as in nodes_latest. The list of
--           supported images is the account's last (listed_at), read once a day, and days_left
--           counts from it. After end_of_life_at no pool can be created with the image; existing
--           nodes go on for a while. Where several node agents support an image the latest end
--           counts, and an unknown end counts as no end. The successor is a verified image of the
--           same publisher and operating system with later support, beyond days: first one of the
--           same offer, then the one with the longest support, then the highest name; null where
--           there is none. Custom, shared-gallery and community images are on no list, nor are
--           images that the service has already removed from it.
with last_lists as (
    select account, max(snapshot_id) as snapshot_id from supported_images group by account
),
images as (
    select
        supported_images.account,
        lower(supported_images.publisher) as publisher,
        lower(supported_images.offer) as offer,
        lower(supported_images.sku) as sku,
        max(supported_images.os_type) as os_type,
        max(supported_images.snapshot_at) as listed_at,
        max(case when supported_images.verification_type = 'verified' then 1 else 0 end)
            as is_verified,
        -- one agent without a known end means that the image has no end
        case
            when count(*) = count(supported_images.batch_support_end_of_life)
                then max(supported_images.batch_support_end_of_life)
        end as end_of_life_at
    from supported_images
    join last_lists
        on last_lists.account = supported_images.account
        and last_lists.snapshot_id = supported_images.snapshot_id
    group by
        supported_images.account,
        lower(supported_images.publisher),
        lower(supported_images.offer),
        lower(supported_images.sku)
),
used as (
    select
        account,
        pool_id,
        lower(image_publisher) as publisher,
        lower(image_offer) as offer,
        lower(image_sku) as sku,
        count(*) as nodes
    from nodes_latest
    where image_publisher is not null
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
    group by account, pool_id, lower(image_publisher), lower(image_offer), lower(image_sku)
),
ending as (
    select
        used.account,
        used.pool_id,
        used.publisher,
        used.offer,
        used.sku,
        used.nodes,
        images.os_type,
        images.end_of_life_at,
        images.listed_at
    from used
    join images
        on images.account = used.account
        and images.publisher = used.publisher
        and images.offer = used.offer
        and images.sku = used.sku
    where epoch(images.end_of_life_at) - epoch(images.listed_at)
        <= cast($days as double) * 86400
),
successors as (
    select
        ending.account,
        ending.pool_id,
        ending.publisher,
        ending.offer,
        ending.sku,
        images.offer as successor_offer,
        images.sku as successor_sku,
        images.end_of_life_at as successor_end_of_life_at,
        row_number() over (
            partition by
                ending.account, ending.pool_id, ending.publisher, ending.offer, ending.sku
            order by
                case when images.offer = ending.offer then 0 else 1 end,
                case when images.end_of_life_at is null then 0 else 1 end,
                images.end_of_life_at desc,
                images.offer desc,
                images.sku desc
        ) as place
    from ending
    join images
        on images.account = ending.account
        and images.publisher = ending.publisher
        and images.os_type = ending.os_type
        and images.is_verified = 1
        and (
            images.end_of_life_at is null
            or (
                images.end_of_life_at > ending.end_of_life_at
                and epoch(images.end_of_life_at) - epoch(images.listed_at)
                    > cast($days as double) * 86400
            )
        )
)
select
    ending.account,
    ending.pool_id,
    ending.publisher,
    ending.offer,
    ending.sku,
    ending.nodes,
    ending.end_of_life_at,
    (epoch(ending.end_of_life_at) - epoch(ending.listed_at)) / 86400 as days_left,
    successors.successor_offer,
    successors.successor_sku,
    successors.successor_end_of_life_at,
    ending.listed_at
from ending
left join successors
    on successors.account = ending.account
    and successors.pool_id = ending.pool_id
    and successors.publisher = ending.publisher
    and successors.offer = ending.offer
    and successors.sku = ending.sku
    and successors.place = 1
order by ending.end_of_life_at, ending.nodes desc, ending.account, ending.pool_id;
