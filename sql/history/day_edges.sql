-- makes:   the limits of what earlier days can see of a day
-- grain:   wanted day x account x pool
-- columns: date, account, pool_id, before_at (end of the last listing before the day), unseen_at (no
--          earlier day sees what is listed after it)
-- caveats: A day sees at most up to the second proof after it, and at most up to the hundredth
--          listing.
with numbered as (
    select
        date,
        account,
        pool_id,
        finished_at,
        cast(finished_at as date) < date as is_before,
        cast(started_at as date) >= date as is_after,
        row_number() over (
            partition by date, account, pool_id, cast(started_at as date) >= date
            order by finished_at, snapshot_id
        ) as number,
        sum(case when is_proof then 1 else 0 end) over (
            partition by date, account, pool_id, cast(started_at as date) >= date
            order by finished_at, snapshot_id
            rows between unbounded preceding and current row
        ) as proofs
    from made_listings
)
select
    date,
    account,
    pool_id,
    max(finished_at) filter (where is_before) as before_at,
    min(finished_at) filter (where is_after and (proofs >= 2 or number >= 99)) as unseen_at
from numbered
group by date, account, pool_id
