-- answers: stretches of listings of a pool that all showed an error of one kind and code
-- grain:   account x pool x kind x code x failed resize x first_observed_at
-- columns: those of facts.POOL_ERROR_EPISODES
-- caveats: It began between started_after and first_observed_at, and ended between last_observed_at
--          and ended_before; a bound is null where no listing gives it. For a resize error
--          resized_at is the exact start; for an autoscale error evaluated_at is the latest
--          possible start. Stretches of several days are merged unless a listing of the pool
--          between them shows no such error. An error without a code is ''.
create or replace view pool_error_episodes as
with looked as (
    select
        *,
        max(last_observed_at) over (
            partition by account, pool_id, kind, code, resized_at
            order by first_observed_at, last_observed_at, date
            rows between unbounded preceding and 1 preceding
        ) as shown_until,
        max(ended_before) over (
            partition by account, pool_id, kind, code, resized_at
            order by first_observed_at, last_observed_at, date
            rows between unbounded preceding and 1 preceding
        ) as not_shown_at
    from daily_pool_error_episodes
),
numbered as (
    select
        *,
        sum(
            case
                when shown_until is null then 1
                when started_after > shown_until then 1
                when not_shown_at > shown_until and not_shown_at < first_observed_at then 1
                else 0
            end
        ) over (
            partition by account, pool_id, kind, code, resized_at
            order by first_observed_at, last_observed_at, date
            rows between unbounded preceding and current row
        ) as island
    from looked
)
select
    account,
    pool_id,
    kind,
    code,
    resized_at,
    min(first_observed_at) as first_observed_at,
    max(last_observed_at) as last_observed_at,
    max_by(message, last_observed_at) filter (where message is not null) as message,
    min(evaluated_at) as evaluated_at,
    -- a stretch that its day's first listing cuts off has no start: another day has it
    max(case when started_after < first_observed_at then started_after end) as started_after,
    min(ended_before) as ended_before,
    max_by(dedicated_short, last_observed_at) as dedicated_short,
    max_by(spot_short, last_observed_at) as spot_short,
    max_by(vm_size, last_observed_at) filter (where vm_size is not null) as vm_size
from numbered
group by account, pool_id, kind, code, resized_at, island;
