-- metric:   When the last complete snapshot of the account began, in seconds since 1970.
-- grain:    account
-- labels:   account
-- caveats:  Partial runs, failed runs and imports do not count: the alarm is about polling.
select account, epoch(max(snapshot_at)) as value
from snapshots
where source = 'live' and scope = 'account' and status = 'complete'
group by account;
