-- metric:   Runs of the last 24 hours, by status.
-- grain:    account x status
-- labels:   account, status
-- caveats:  Live runs only. A status without a run has the value 0, so that a rate has both sides.
with runs as (
    select account, status
    from snapshots
    where source = 'live'
        and date >= cast(now() as date) - 2
        and epoch(snapshot_at) > epoch(now()) - 86400
),
accounts as (
    select distinct account from snapshots where source = 'live'
),
statuses as (
    select account, status
    from accounts
    cross join (values ('complete'), ('partial'), ('failed')) as known (status)
)
select statuses.account, statuses.status, count(runs.status) as value
from statuses
left join runs on runs.account = statuses.account and runs.status = statuses.status
group by statuses.account, statuses.status;
