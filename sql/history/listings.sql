-- makes:   the listings from which the facts of each wanted day are built
-- grain:   wanted day x account x pool x listing
-- columns: date, those of events
-- caveats: A listing belongs to the day of each of its observations: one that crosses midnight
--          belongs to both days. A day reads its own listings, earlier ones from the pool's last
--          proof on, and later ones up to the second proof. A proof counts at any distance. Other
--          listings count within 100 listings of the day: otherwise a pool whose listings never
--          prove anything would read its whole past for every day.
with ordered as (
    select
        *,
        cast(started_at as date) as first_date,
        cast(finished_at as date) as last_date,
        coalesce(
            sum(case when is_proof then 1 else 0 end) over (
                partition by account, pool_id
                order by finished_at, snapshot_id
                rows between unbounded preceding and 1 preceding
            ),
            0
        ) as proofs_before,
        -- a pool that no account listing lacked before may have been there since the record began
        case
            when first_value(is_absence) over (
                partition by account, pool_id order by finished_at, snapshot_id
            )
                then min(cast(started_at as date)) over (partition by account, pool_id)
            else min(cast(started_at as date)) over (partition by account)
        end as record_begins,
        max(cast(finished_at as date)) over (partition by account, pool_id) as record_ends,
        case
            when not is_proof
                then lag(cast(started_at as date), 100) over (
                    partition by account, pool_id order by finished_at, snapshot_id
                )
        end as far_before,
        case
            when not is_proof
                then lead(cast(finished_at as date), 100) over (
                    partition by account, pool_id order by finished_at, snapshot_id
                )
        end as far_after
    from made_events
),
proofs as (
    select account, pool_id, proofs_before + 1 as number, first_date, last_date
    from ordered
    where is_proof
),
spans as (
    select
        ordered.account,
        ordered.pool_id,
        ordered.snapshot_id,
        ordered.started_at,
        ordered.finished_at,
        ordered.is_complete,
        ordered.is_proof,
        ordered.is_absence,
        least(
            ordered.first_date,
            greatest(
                coalesce(earlier.first_date, ordered.record_begins),
                coalesce(ordered.far_before, ordered.record_begins)
            )
        ) as from_date,
        greatest(
            ordered.last_date,
            least(
                coalesce(later.last_date, ordered.record_ends),
                coalesce(ordered.far_after, ordered.record_ends)
            )
        ) as to_date
    from ordered
    -- the second proof before it: earlier days have two nearer proofs
    left join proofs as earlier
        on earlier.account = ordered.account
        and earlier.pool_id = ordered.pool_id
        and earlier.number = ordered.proofs_before - 1
    -- the next proof after it: later days have a nearer proof
    left join proofs as later
        on later.account = ordered.account
        and later.pool_id = ordered.pool_id
        and later.number = ordered.proofs_before + case when ordered.is_proof then 2 else 1 end
)
select
    wanted_days.date,
    spans.account,
    spans.pool_id,
    spans.snapshot_id,
    spans.started_at,
    spans.finished_at,
    spans.is_complete,
    spans.is_proof,
    spans.is_absence
from spans
join wanted_days
    on wanted_days.account = spans.account
    and wanted_days.date between spans.from_date and spans.to_date
