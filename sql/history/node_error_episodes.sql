-- makes:   stretches of listings of a node that all showed an error of one code, as a day's
--          listings do
-- grain:   wanted day x incarnation x code x stretch of listings
-- columns: those of facts.NODE_ERROR_EPISODES, and date
-- merge:   gaps and islands: stretches are merged, unless a listing of that node between them shows
--          no such error (known from started_after of the later and ended_before of the earlier
--          stretch)
-- caveats: The service reports no start of an error: it lies between started_after and
--          first_observed_at. A malformed row shows nothing and ends nothing. Two errors of one
--          code at one time are one.
with errors as (
    select
        observations.date,
        observations.account,
        observations.pool_id,
        observations.node_id,
        observations.allocation_time,
        observations.snapshot_id,
        coalesce(node_errors.code, '') as code,
        max(node_errors.message) as message
    from node_errors
    join made_observations as observations
        on observations.account = node_errors.account
        and observations.snapshot_id = node_errors.snapshot_id
        and observations.pool_id = node_errors.pool_id
        and observations.node_id = node_errors.node_id
    group by
        observations.date,
        observations.account,
        observations.pool_id,
        observations.node_id,
        observations.allocation_time,
        observations.snapshot_id,
        coalesce(node_errors.code, '')
),
codes as (
    select distinct date, account, pool_id, node_id, allocation_time, code from errors
),
looked as (
    select
        codes.date,
        codes.account,
        codes.pool_id,
        codes.node_id,
        codes.allocation_time,
        codes.code,
        observations.snapshot_id,
        observations.observed_at,
        observations.vm_size,
        observations.is_dedicated,
        errors.message,
        case when errors.code is null then 0 else 1 end as is_shown
    from codes
    join made_observations as observations
        on observations.date = codes.date
        and observations.account = codes.account
        and observations.pool_id = codes.pool_id
        and observations.node_id = codes.node_id
        and observations.allocation_time is not distinct from codes.allocation_time
        and not observations.is_malformed
    left join errors
        on errors.date = codes.date
        and errors.account = codes.account
        and errors.pool_id = codes.pool_id
        and errors.node_id = codes.node_id
        and errors.snapshot_id = observations.snapshot_id
        and errors.code = codes.code
),
marked as (
    select
        *,
        lag(is_shown) over (
            partition by date, account, pool_id, node_id, allocation_time, code
            order by observed_at, snapshot_id
        ) as shown_before,
        lag(observed_at) over (
            partition by date, account, pool_id, node_id, allocation_time, code
            order by observed_at, snapshot_id
        ) as observed_before,
        lead(is_shown) over (
            partition by date, account, pool_id, node_id, allocation_time, code
            order by observed_at, snapshot_id
        ) as shown_after,
        lead(observed_at) over (
            partition by date, account, pool_id, node_id, allocation_time, code
            order by observed_at, snapshot_id
        ) as observed_after
    from looked
),
numbered as (
    select
        *,
        sum(case when shown_before = is_shown then 0 else 1 end) over (
            partition by date, account, pool_id, node_id, allocation_time, code
            order by observed_at, snapshot_id
            rows between unbounded preceding and current row
        ) as island
    from marked
)
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    code,
    min(observed_at) as first_observed_at,
    max(observed_at) as last_observed_at,
    max_by(message, observed_at) filter (where message is not null) as message,
    max(case when shown_before = 0 then observed_before end) as started_after,
    max(case when shown_after = 0 then observed_after end) as ended_before,
    max_by(vm_size, observed_at) filter (where vm_size is not null) as vm_size,
    max_by(is_dedicated, observed_at) filter (where is_dedicated is not null) as is_dedicated
from numbered
where is_shown = 1
group by date, account, pool_id, node_id, allocation_time, code, island
