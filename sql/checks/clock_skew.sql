-- check:    Runs whose machine's clock was more than 5 minutes off the service's
-- severity: warn
-- grain:    account x snapshot
-- columns:  account, snapshot_id, snapshot_at, clock_skew_seconds
-- caveats:  observed_at is the service's clock, snapshot_at this machine's: with such a skew they
--           tell different times. Beyond 15 minutes Shared Key is refused.
select account, snapshot_id, snapshot_at, clock_skew_seconds
from snapshots
where abs(clock_skew_seconds) > 300
order by snapshot_id, account;
