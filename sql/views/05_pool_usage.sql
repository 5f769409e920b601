-- answers: core-hours as the service counts them, half hour by half hour
-- grain:   account x pool_id x vm_size x start_time
-- columns: those of pool_usage
-- caveats: Fetching the same days again adds rows. This view has the latest row of each interval;
--          pool_usage_snapshots has all of them. The service reports nothing for the last two
--          hours.
drop view if exists pool_usage_snapshots;
alter view pool_usage rename to pool_usage_snapshots;
create or replace view pool_usage as
with numbered as (
    select
        *,
        row_number() over (
            partition by account, pool_id, vm_size, start_time
            order by snapshot_at desc, snapshot_id desc, total_core_hours desc
        ) as place
    from pool_usage_snapshots
)
select
    account,
    snapshot_id,
    snapshot_at,
    pool_id,
    vm_size,
    start_time,
    end_time,
    total_core_hours,
    extra_json,
    date
from numbered
where place = 1;
-- a new view has no comments: these repeat the docs of pipeline/schema, and a test compares them
comment on column pool_usage.account is 'Batch account: name.region of its endpoint, or the label in nodelake.toml.';
comment on column pool_usage.snapshot_id is 'The snapshot this row belongs to: YYYYMMDDTHHMMSSZ-<8 hex>, sorts by time.';
comment on column pool_usage.snapshot_at is 'When the snapshot began, by this machine''s clock (an import''s: its --at).';
comment on column pool_usage.pool_id is 'Pool the hours were used in.';
comment on column pool_usage.vm_size is 'Size of its virtual machines.';
comment on column pool_usage.start_time is 'Start of the interval.';
comment on column pool_usage.end_time is 'End of the interval.';
comment on column pool_usage.total_core_hours is 'Core-hours used in it.';
comment on column pool_usage.extra_json is 'What no column holds, redacted: path -> unknown value, explicit null, empty object or empty list.';
