-- question: Do the core-hours computed here agree with those that the service counted?
-- grain:    pool x vm_size x day (UTC) with node-hours or usage
-- columns:  account, day, pool_id, vm_size, vcpus, vcpus_from, node_hours, core_hours,
--           least_core_hours, most_core_hours, service_core_hours, difference_core_hours, verdict
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only days from this one on
-- param:    to timestamptz = null: only days before this one
-- caveats:  Usage exists for the days that `nodelake usage` fetched and that the service reports.
--           Cores come from the price file's column vcpus. Without it they come from the size's
--           name: its number, the second one of a constrained size (standard_e32-16s_v5 has 16),
--           and a table for the old sizes whose number is only an order (A, D, DS, G). A size with
--           neither has verdict `vcpus unknown` and no core-hours. Every state that has a machine
--           counts, that is all but preempted and deallocated; the service's billing rules may
--           differ. least_core_hours and most_core_hours are the bounds that polling can prove:
--           `agrees` is a difference within them, or of less than 1 percent. Days watched in part,
--           nodes that came and went between two listings, and pools gone before the first listing
--           differ.
with ours as (
    select
        account,
        date as day,
        pool_id,
        lower(vm_size) as vm_size,
        sum(hours) filter (where state not in ('preempted', 'deallocated')) as node_hours,
        sum(certain_hours) filter (where state not in ('preempted', 'deallocated')) as least_hours,
        coalesce(
            sum(certain_hours) filter (where state not in ('preempted', 'deallocated')), 0
        ) + sum(hours - certain_hours) as most_hours
    from node_hours
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or date >= cast(cast($from as timestamptz) as date))
        and (cast($to as timestamptz) is null or date < cast(cast($to as timestamptz) as date))
    group by account, date, pool_id, lower(vm_size)
),
theirs as (
    select
        account,
        cast(start_time as date) as day,
        pool_id,
        lower(vm_size) as vm_size,
        sum(total_core_hours) as service_core_hours
    from pool_usage
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (
            cast($from as timestamptz) is null
            or start_time >= cast(cast(cast($from as timestamptz) as date) as timestamptz)
        )
        and (
            cast($to as timestamptz) is null
            or start_time < cast(cast(cast($to as timestamptz) as date) as timestamptz)
        )
    group by account, cast(start_time as date), pool_id, lower(vm_size)
),
both_sides as (
    select
        coalesce(ours.account, theirs.account) as account,
        coalesce(ours.day, theirs.day) as day,
        coalesce(ours.pool_id, theirs.pool_id) as pool_id,
        coalesce(ours.vm_size, theirs.vm_size) as vm_size,
        ours.node_hours,
        ours.least_hours,
        ours.most_hours,
        theirs.service_core_hours
    from ours
    full join theirs
        on theirs.account = ours.account
        and theirs.day = ours.day
        and theirs.pool_id = ours.pool_id
        and theirs.vm_size is not distinct from ours.vm_size
),
priced as (
    select vm_size, max(vcpus) as vcpus from prices group by vm_size
),
-- sizes of the first generations: the number is an order, not a number of cores
old_sizes as (
    select family, number, vcpus
    from (
        values
        ('a', '0', 1), ('a', '1', 1), ('a', '2', 2), ('a', '3', 4), ('a', '4', 8), ('a', '5', 2),
        ('a', '6', 4), ('a', '7', 8), ('a', '8', 8), ('a', '9', 16), ('a', '10', 8),
        ('a', '11', 16),
        ('d', '1', 1), ('d', '2', 2), ('d', '3', 4), ('d', '4', 8), ('d', '5', 16), ('d', '11', 2),
        ('d', '12', 4), ('d', '13', 8), ('d', '14', 16), ('d', '15', 20),
        ('g', '1', 2), ('g', '2', 4), ('g', '3', 8), ('g', '4', 16), ('g', '5', 32)
    ) as listed (family, number, vcpus)
),
named as (
    select
        vm_size,
        -- the usable cores of a constrained size follow the hyphen
        nullif(regexp_extract(vm_size, '^standard_[a-z]+[0-9]+-([0-9]+)[a-z]*(_|$)', 1), '')
            as constrained,
        -- A without a version; D, DS without one or of version 2; G, GS
        nullif(regexp_extract(
            vm_size,
            '^(?:basic|standard)_(?:(?:a[0-9]+)|(?:g|d)s?[0-9]+i?(?:_v2)?)(?:_promo)?$',
            0
        ), '') as old_size,
        nullif(regexp_extract(vm_size, '^(?:basic|standard)_([a-z])', 1), '') as family,
        nullif(regexp_extract(vm_size, '^(?:basic|standard)_[a-z]+([0-9]+)', 1), '') as number
    from (select distinct vm_size from both_sides) as sizes
),
sizes as (
    select
        named.vm_size,
        coalesce(
            priced.vcpus,
            cast(named.constrained as integer),
            case
                when named.old_size is not null then old_sizes.vcpus
                else cast(named.number as integer)
            end
        ) as vcpus,
        priced.vcpus is not null as is_priced
    from named
    left join priced on priced.vm_size = named.vm_size
    left join old_sizes
        on old_sizes.family = named.family and old_sizes.number = named.number
),
cores as (
    select
        both_sides.account,
        both_sides.day,
        both_sides.pool_id,
        both_sides.vm_size,
        nullif(sizes.vcpus, 0) as vcpus,
        case
            when sizes.is_priced then 'price file'
            when sizes.vcpus > 0 then 'name'
        end as vcpus_from,
        coalesce(both_sides.node_hours, 0) as node_hours,
        coalesce(both_sides.node_hours, 0) * nullif(sizes.vcpus, 0) as core_hours,
        coalesce(both_sides.least_hours, 0) * nullif(sizes.vcpus, 0) as least_core_hours,
        coalesce(both_sides.most_hours, 0) * nullif(sizes.vcpus, 0) as most_core_hours,
        both_sides.service_core_hours
    from both_sides
    left join sizes on sizes.vm_size = both_sides.vm_size
)
select
    account,
    day,
    pool_id,
    vm_size,
    vcpus,
    vcpus_from,
    node_hours,
    core_hours,
    least_core_hours,
    most_core_hours,
    service_core_hours,
    core_hours - service_core_hours as difference_core_hours,
    case
        when service_core_hours is null then 'no usage fetched'
        when vcpus is null then 'vcpus unknown'
        when service_core_hours between least_core_hours and most_core_hours then 'agrees'
        when abs(core_hours - service_core_hours) <= 0.01 * service_core_hours then 'agrees'
        else 'differs'
    end as verdict
from cores
order by account, day, pool_id, vm_size;
