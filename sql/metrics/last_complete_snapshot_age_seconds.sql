-- metric:   Age of the last complete snapshot when this file was written.
-- grain:    account
-- labels:   account
-- caveats:  The value does not change once nothing writes this file any more: set the alarm on the
--           timestamp.
select account, epoch(now()) - epoch(max(snapshot_at)) as value
from snapshots
where source = 'live' and scope = 'account' and status = 'complete'
group by account;
