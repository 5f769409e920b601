-- question: In which pools did the autoscale formula fail, for how long, and why?
-- grain:    account x pool x code of the autoscale error
-- columns:  account, pool_id, code, episodes, first_failed_at, last_observed_at, certain_hours,
--           at_most_hours, is_failing_now, dedicated_short, spot_short, message
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only errors that were seen at or after this moment
-- param:    to timestamptz = null: only errors that began before this moment
-- caveats:  While a formula fails the pool keeps its previous targets. An episode is a stretch of
--           listings with the error. It is counted whole, even where it reaches outside from and
--           to. Evaluations between two listings are not seen. first_failed_at is the first
--           evaluation that was seen to fail, by the service's clock. The formula failed for at
--           least certain_hours in all (from that evaluation to the last listing that showed the
--           error) and for at most at_most_hours (null: the start or the end of some episode is
--           unknown). is_failing_now is as of the pool's last listing. InsufficientSampleData in a
--           new pool passes by itself.
with shown as (
    select
        *,
        coalesce(evaluated_at, first_observed_at) as failed_at,
        coalesce(nullif(lower(code), ''), '(none)') as same_code
    from pool_error_episodes
    where kind = 'autoscale'
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or last_observed_at >= cast($from as timestamptz))
)
select
    account,
    pool_id,
    max_by(code, last_observed_at) as code,
    count(*) as episodes,
    min(failed_at) as first_failed_at,
    max(last_observed_at) as last_observed_at,
    sum(greatest(epoch(last_observed_at) - epoch(failed_at), 0)) / 3600 as certain_hours,
    case
        when count(*) = count(ended_before) and count(*) = count(started_after)
            then sum(greatest(epoch(ended_before) - epoch(started_after), 0)) / 3600
    end as at_most_hours,
    count(*) > count(ended_before) as is_failing_now,
    max(dedicated_short) as dedicated_short,
    max(spot_short) as spot_short,
    max_by(message, last_observed_at) as message
from shown
where cast($to as timestamptz) is null or failed_at < cast($to as timestamptz)
group by account, pool_id, same_code
order by is_failing_now desc, certain_hours desc, account, pool_id, code;
