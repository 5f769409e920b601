-- check:    Values that are not in nodelake's lists of known values
-- severity: warn
-- grain:    account x path x value
-- columns:  account, path, value, values_met, first_snapshot_id, last_snapshot_id
-- caveats:  The values are stored as they came, in lower case. Questions that name states do not
--           cover them.
select
    snapshots.account,
    met.entry.path as path,
    met.entry.value as value,
    cast(sum(met.entry.values) as bigint) as values_met,
    min(snapshots.snapshot_id) as first_snapshot_id,
    max(snapshots.snapshot_id) as last_snapshot_id
from snapshots
cross join unnest(snapshots.unknown_enum_values) as met (entry)
group by snapshots.account, met.entry.path, met.entry.value
order by account, path, value;
