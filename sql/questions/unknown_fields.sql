-- question: Which fields and values did the service send that no column or list of values has?
-- grain:    account x kind (field, value) x path x value
-- columns:  account, kind, path, value, occurrences, snapshots, first_snapshot_at,
--           last_snapshot_at, is_in_last_snapshot, tool_version
-- param:    from timestamptz = null: only snapshots at or after this moment
-- param:    to timestamptz = null: only snapshots before this moment
-- caveats:  A field's path is its table and JSON path: its value is in that table's extra_json,
--           redacted, and the column value is empty. A value's path is its table and column, where
--           it is stored as it came, in lower case. The ledger keeps a thousand names of each kind
--           for a snapshot. is_in_last_snapshot: the account's last snapshot in range that stored
--           rows had it. tool_version is that of the last snapshot that had it: a newer version may
--           know it. Drift of known values (another agent, another image) is in agent_versions and
--           image_drift.
with stored as (
    select
        account,
        snapshot_id,
        snapshot_at,
        tool_version,
        unknown_field_paths,
        unknown_enum_values,
        max(snapshot_id) over (partition by account) as last_snapshot_id
    from snapshots
    where source <> 'usage'
        and status <> 'failed'
        and (cast($from as timestamptz) is null or snapshot_at >= cast($from as timestamptz))
        and (cast($to as timestamptz) is null or snapshot_at < cast($to as timestamptz))
),
-- Lists have no portable way to become rows: DuckDB's unnest, which sqlglot turns into Spark's
-- explode.
fields as (
    select
        account, snapshot_id, snapshot_at, tool_version, last_snapshot_id,
        unnest(unknown_field_paths) as found
    from stored
),
enums as (
    select
        account, snapshot_id, snapshot_at, tool_version, last_snapshot_id,
        unnest(unknown_enum_values) as found
    from stored
),
drift as (
    select
        account, snapshot_id, snapshot_at, tool_version, last_snapshot_id,
        'field' as kind, found.path as path, cast(null as varchar) as value, found.values as times
    from fields
    union all
    select
        account, snapshot_id, snapshot_at, tool_version, last_snapshot_id,
        'value' as kind, found.path as path, found.value as value, found.values as times
    from enums
)
select
    account,
    kind,
    path,
    value,
    cast(sum(times) as bigint) as occurrences,
    count(distinct snapshot_id) as snapshots,
    min(snapshot_at) as first_snapshot_at,
    max(snapshot_at) as last_snapshot_at,
    max(snapshot_id) = max(last_snapshot_id) as is_in_last_snapshot,
    max_by(tool_version, snapshot_id) as tool_version
from drift
group by account, kind, path, value
order by account, kind, path, value;
