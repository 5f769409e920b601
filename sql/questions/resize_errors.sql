-- question: Which pools did not get their nodes, for how long, how many were missing, and why?
-- grain:    account x pool x code of the resize error
-- columns:  account, pool_id, vm_size, code, episodes, first_began_at, last_observed_at,
--           certain_hours, at_most_hours, dedicated_short, spot_short, is_short_now, message
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only errors that were seen at or after this moment
-- param:    to timestamptz = null: only errors that began before this moment
-- caveats:  An episode is one failed resize. It is counted whole, even where it reaches outside
--           from and to. It begins when that resize ended, by the service's clock, and ends with
--           the next resize. It lasted at least certain_hours in all (to the last listing that
--           showed it) and at most at_most_hours (null: some episode is not known to have ended).
--           dedicated_short and spot_short are the largest numbers of nodes missing from the
--           targets when an episode was last seen. is_short_now is as of the pool's last listing. A
--           resize that failed and was tried again between two listings was never seen. Errors of
--           one code share a row. Clients write codes in different case, so the comparison ignores
--           case.
with shown as (
    select
        *,
        coalesce(resized_at, first_observed_at) as began_at,
        coalesce(nullif(lower(code), ''), '(none)') as same_code
    from pool_error_episodes
    where kind = 'resize'
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or last_observed_at >= cast($from as timestamptz))
)
select
    account,
    pool_id,
    max_by(vm_size, last_observed_at) as vm_size,
    max_by(code, last_observed_at) as code,
    count(*) as episodes,
    min(began_at) as first_began_at,
    max(last_observed_at) as last_observed_at,
    sum(greatest(epoch(last_observed_at) - epoch(began_at), 0)) / 3600 as certain_hours,
    case
        when count(*) = count(ended_before)
            then sum(greatest(epoch(ended_before) - epoch(began_at), 0)) / 3600
    end as at_most_hours,
    max(dedicated_short) as dedicated_short,
    max(spot_short) as spot_short,
    count(*) > count(ended_before) as is_short_now,
    max_by(message, last_observed_at) as message
from shown
where cast($to as timestamptz) is null or began_at < cast($to as timestamptz)
group by account, pool_id, same_code
order by is_short_now desc, certain_hours desc, account, pool_id, code;
