-- check:    Runs on a machine whose clock differed from the service's by more than 5 minutes
-- severity: warn
-- grain:    account x snapshot
-- columns:  account, snapshot_id, snapshot_at, clock_skew_seconds
-- caveats:  observed_at is by the service's clock, snapshot_at by this machine's: with such a skew
--           the two disagree. Beyond 15 minutes the service refuses Shared Key.
select account, snapshot_id, snapshot_at, clock_skew_seconds
from snapshots
where abs(clock_skew_seconds) > 300
order by snapshot_id, account;
