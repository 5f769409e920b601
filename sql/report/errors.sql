-- answers: which errors each node showed, and from when to when
-- grain:   account x pool x node x code x first_observed_at
-- columns: account, pool_id, node_id, code, message, first_observed_at, last_observed_at,
--          ended_before
-- param:   from timestamptz: only errors that were last seen at or after this moment
-- param:   to timestamptz: only errors that were first seen before this moment
-- param:   pool varchar = null: only this pool
-- caveats: An error began after the last listing before first_observed_at, which did not show it.
--          ended_before is null where the error is not known to have ended.
select
    account,
    pool_id,
    node_id,
    code,
    message,
    first_observed_at,
    last_observed_at,
    ended_before
from node_error_episodes
where last_observed_at >= cast($from as timestamptz)
    and first_observed_at < cast($to as timestamptz)
    and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
order by account, pool_id, node_id, first_observed_at, code;
