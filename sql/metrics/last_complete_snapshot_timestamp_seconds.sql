-- metric:   When the last complete snapshot of the account began, in seconds since 1970.
-- labels:   account
-- caveats:  Partial and failed runs do not count, nor do imports: the alarm is about polling.
select account, epoch(max(snapshot_at)) as value
from snapshots
where source = 'live' and scope = 'account' and status = 'complete'
group by account;
