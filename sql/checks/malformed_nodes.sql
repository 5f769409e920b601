-- check:    Values of the wrong type, and nodes without a valid id, with their place and problem
-- severity: warn
-- grain:    account x snapshot x value
-- columns:  account, snapshot_id, source, malformed, pool_id, node_id, path, problem
-- caveats:  malformed counts nodes and pools of the whole run; each malformed value is one row. The
--           ledger names the first hundred of a run. node_id is empty where the id was not valid.
--           Facts about states leave these rows out. The value as it came is in extra_json,
--           redacted.
with runs as (
    select account, snapshot_id, source, malformed, problems
    from snapshots
    where malformed > 0
),
named as (
    select account, snapshot_id, source, malformed, unnest(problems) as found
    from runs
)
select
    account,
    snapshot_id,
    source,
    malformed,
    found.pool_id as pool_id,
    found.node_id as node_id,
    found.path as path,
    found.problem as problem
from named
union all
select
    account,
    snapshot_id,
    source,
    malformed,
    cast(null as varchar) as pool_id,
    cast(null as varchar) as node_id,
    cast(null as varchar) as path,
    cast(null as varchar) as problem
from runs
where coalesce(cardinality(problems), 0) = 0
order by snapshot_id, account, pool_id, node_id, path;
