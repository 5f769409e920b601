-- metric:   Age of the last complete snapshot when this file was written.
-- labels:   account
-- caveats:  It stands still when nothing writes this file any more: alarm on the timestamp.
select account, epoch(now()) - epoch(max(snapshot_at)) as value
from snapshots
where source = 'live' and scope = 'account' and status = 'complete'
group by account;
