-- check:    Core-hours below zero, or of an interval that ends before it begins
-- severity: fail
-- grain:    account x snapshot x pool x vm_size x start_time
-- columns:  account, snapshot_id, pool_id, vm_size, start_time, end_time, total_core_hours
-- caveats:  Only the latest row of each interval is checked.
select account, snapshot_id, pool_id, vm_size, start_time, end_time, total_core_hours
from pool_usage
where end_time <= start_time or total_core_hours < 0
order by start_time, account, pool_id, vm_size;
