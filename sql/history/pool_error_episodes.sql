-- makes:   stretches of listings of a pool that all showed an error of one kind and code, as a
--          day's do
-- grain:   wanted day x account x pool x kind x code x failed resize x stretch of listings
-- columns: those of facts.POOL_ERROR_EPISODES, and date
-- merge:   gaps and islands: stretches are merged, unless a listing of that pool between them shows
--          no such error (known from started_after of the later and ended_before of the earlier
--          stretch)
-- caveats: A pool's errors are observed when the account's pools are listed, before the pool's
--          nodes are. A pool that is absent shows none. Two errors of one code at one time are one;
--          two resizes that fail with the same code are two. A pool whose nodes could not be listed
--          is skipped.
with errors as (
    select
        listings.date,
        listings.account,
        listings.pool_id,
        listings.snapshot_id,
        pool_errors.kind,
        coalesce(pool_errors.code, '') as code,
        case
            when pool_errors.kind = 'resize' then pools.allocation_state_transition_time
        end as resized_at,
        max(pool_errors.message) as message
    from pool_errors
    join made_listings as listings
        on listings.account = pool_errors.account
        and listings.snapshot_id = pool_errors.snapshot_id
        and listings.pool_id = pool_errors.pool_id
        and not listings.is_absence
    join pools
        on pools.account = pool_errors.account
        and pools.snapshot_id = pool_errors.snapshot_id
        and pools.pool_id = pool_errors.pool_id
    group by
        listings.date,
        listings.account,
        listings.pool_id,
        listings.snapshot_id,
        pool_errors.kind,
        coalesce(pool_errors.code, ''),
        case when pool_errors.kind = 'resize' then pools.allocation_state_transition_time end
),
codes as (
    select distinct date, account, pool_id, kind, code, resized_at from errors
),
looked as (
    select
        codes.date,
        codes.account,
        codes.pool_id,
        codes.kind,
        codes.code,
        codes.resized_at,
        listings.snapshot_id,
        coalesce(snapshots.pool_listing_finished_at, listings.started_at) as observed_at,
        case when codes.kind = 'autoscale' then pools.auto_scale_run_time end as evaluated_at,
        greatest(pools.target_dedicated_nodes - pools.current_dedicated_nodes, 0)
            as dedicated_short,
        greatest(pools.target_low_priority_nodes - pools.current_low_priority_nodes, 0)
            as spot_short,
        pools.vm_size,
        errors.message,
        case when errors.code is null then 0 else 1 end as is_shown
    from codes
    join made_listings as listings
        on listings.date = codes.date
        and listings.account = codes.account
        and listings.pool_id = codes.pool_id
    join snapshots
        on snapshots.account = listings.account
        and snapshots.snapshot_id = listings.snapshot_id
    left join pools
        on pools.account = listings.account
        and pools.snapshot_id = listings.snapshot_id
        and pools.pool_id = listings.pool_id
    left join errors
        on errors.date = codes.date
        and errors.account = codes.account
        and errors.pool_id = codes.pool_id
        and errors.snapshot_id = listings.snapshot_id
        and errors.kind = codes.kind
        and errors.code = codes.code
        and errors.resized_at is not distinct from codes.resized_at
    -- an import of nodes without their pool shows nothing about the pool
    where snapshots.source <> 'import' or snapshots.scope = 'account'
),
marked as (
    select
        *,
        lag(is_shown) over (
            partition by date, account, pool_id, kind, code, resized_at
            order by observed_at, snapshot_id
        ) as shown_before,
        lag(observed_at) over (
            partition by date, account, pool_id, kind, code, resized_at
            order by observed_at, snapshot_id
        ) as observed_before,
        lead(is_shown) over (
            partition by date, account, pool_id, kind, code, resized_at
            order by observed_at, snapshot_id
        ) as shown_after,
        lead(observed_at) over (
            partition by date, account, pool_id, kind, code, resized_at
            order by observed_at, snapshot_id
        ) as observed_after
    from looked
),
numbered as (
    select
        *,
        sum(case when shown_before = is_shown then 0 else 1 end) over (
            partition by date, account, pool_id, kind, code, resized_at
            order by observed_at, snapshot_id
            rows between unbounded preceding and current row
        ) as island
    from marked
)
select
    date,
    account,
    pool_id,
    kind,
    code,
    resized_at,
    min(observed_at) as first_observed_at,
    max(observed_at) as last_observed_at,
    max_by(message, observed_at) filter (where message is not null) as message,
    min(evaluated_at) as evaluated_at,
    max(case when shown_before = 0 then observed_before end) as started_after,
    max(case when shown_after = 0 then observed_after end) as ended_before,
    max_by(dedicated_short, observed_at) as dedicated_short,
    max_by(spot_short, observed_at) as spot_short,
    max_by(vm_size, observed_at) filter (where vm_size is not null) as vm_size
from numbered
where is_shown = 1
group by date, account, pool_id, kind, code, resized_at, island
