-- question: How fresh and how complete is the record of each account, and what has drifted?
-- grain:    account
-- columns:  account, last_stored_at, age_minutes, last_run_at, last_status, snapshots_24h,
--           failed_24h, pools, pools_failed, nodes, malformed, duplicates, unknown_fields,
--           unknown_enum_values, last_error_at, last_error, errors_24h, interval_minutes,
--           coverage_24h, longest_gap_minutes_24h, api_version, refused_api_version
-- caveats:  last_stored_at is the last run that stored anything; last_run_at counts failed runs
--           too. The 24 hours are those before the account's last run. unknown_fields names the
--           fields of the last stored run that no column holds; their values are in extra_json.
--           coverage_24h is the share of the expected runs that stored anything, with one run
--           expected in each interval_minutes, the median time between two runs. interval_minutes
--           and coverage_24h are null where there was only one run. api_version is the version in
--           which the service answered the last run; refused_api_version is the configured version,
--           where the service refused it.
with live as (
    select * from snapshots where source in ('live', 'import')
),
last_runs as (
    select account, max(snapshot_at) as last_run_at from live group by account
),
recent as (
    select
        live.account,
        count(*) as snapshots_24h,
        count(*) filter (where status = 'failed') as failed_24h
    from live
    join last_runs on last_runs.account = live.account
    where epoch(live.snapshot_at) > epoch(last_runs.last_run_at) - 86400
    group by live.account
),
stored as (
    select
        account,
        max(snapshot_at) as last_stored_at,
        max_by(pools_listed, snapshot_id) as pools,
        max_by(pools_failed, snapshot_id) as pools_failed,
        max_by(nodes_rows, snapshot_id) as nodes,
        max_by(malformed, snapshot_id) as malformed,
        max_by(duplicates, snapshot_id) as duplicates,
        max_by(unknown_field_paths, snapshot_id) as unknown_field_paths,
        max_by(unknown_enum_values, snapshot_id) as unknown_enum_values
    from live
    where status <> 'failed'
    group by account
),
-- Only runs against the service itself have intervals.
polled as (
    select
        live.account,
        live.snapshot_at,
        live.status,
        (epoch(live.snapshot_at) - epoch(lag(live.snapshot_at) over (
            partition by live.account order by live.snapshot_at, live.snapshot_id
        ))) / 60 as minutes
    from live
    join last_runs on last_runs.account = live.account
    where live.source = 'live'
        and epoch(live.snapshot_at) > epoch(last_runs.last_run_at) - 86400
),
paced as (
    select
        account,
        count(*) filter (where status <> 'failed') as stored_24h,
        sum(minutes) as minutes,
        percentile_cont(0.5) within group (order by minutes) as interval_minutes
    from polled
    group by account
),
gaps as (
    select
        account,
        (epoch(snapshot_at) - epoch(lag(snapshot_at) over (
            partition by account order by snapshot_at
        ))) / 60 as minutes
    from polled
    where status <> 'failed'
),
longest as (
    select account, max(minutes) as longest_gap_minutes_24h from gaps group by account
),
causes as (
    select
        live.account,
        live.error_code || ': ' || cast(count(*) as varchar) as cause,
        row_number() over (
            partition by live.account order by count(*) desc, live.error_code
        ) as position
    from live
    join last_runs on last_runs.account = live.account
    where live.error_code is not null
        and epoch(live.snapshot_at) > epoch(last_runs.last_run_at) - 86400
    group by live.account, live.error_code
),
causes_24h as (
    select
        account,
        concat_ws(
            ', ',
            max(cause) filter (where position = 1),
            max(cause) filter (where position = 2),
            max(cause) filter (where position = 3)
        ) as errors_24h
    from causes
    group by account
),
errors as (
    select
        account,
        max(snapshot_at) as last_error_at,
        max_by(error_code || ': ' || coalesce(error_message, ''), snapshot_id) as last_error
    from live
    where error_code is not null
    group by account
),
last_status as (
    select account, max_by(status, snapshot_id) as last_status from live group by account
),
-- The API version of the last run that got an answer.
versions as (
    select
        account,
        max_by(api_version, snapshot_id) as api_version,
        max_by(
            case when configured_api_version <> api_version then configured_api_version else '' end,
            snapshot_id
        ) as refused_api_version
    from live
    where source = 'live' and status <> 'failed'
    group by account
)
select
    last_runs.account,
    stored.last_stored_at,
    (epoch(now()) - epoch(stored.last_stored_at)) / 60 as age_minutes,
    last_runs.last_run_at,
    last_status.last_status,
    recent.snapshots_24h,
    recent.failed_24h,
    stored.pools,
    stored.pools_failed,
    stored.nodes,
    stored.malformed,
    stored.duplicates,
    array_to_string(list_transform(stored.unknown_field_paths, lambda x: x.path), ', ')
        as unknown_fields,
    array_to_string(
        list_transform(stored.unknown_enum_values, lambda x: x.path || '=' || x.value), ', '
    ) as unknown_enum_values,
    errors.last_error_at,
    errors.last_error,
    causes_24h.errors_24h,
    round(paced.interval_minutes, 1) as interval_minutes,
    case
        when paced.interval_minutes > 0 then round(
            least(1, paced.stored_24h / (round(paced.minutes / paced.interval_minutes) + 1)), 4
        )
    end as coverage_24h,
    round(longest.longest_gap_minutes_24h, 1) as longest_gap_minutes_24h,
    versions.api_version,
    nullif(versions.refused_api_version, '') as refused_api_version
from last_runs
join last_status on last_status.account = last_runs.account
join recent on recent.account = last_runs.account
left join stored on stored.account = last_runs.account
left join errors on errors.account = last_runs.account
left join causes_24h on causes_24h.account = last_runs.account
left join paced on paced.account = last_runs.account
left join longest on longest.account = last_runs.account
left join versions on versions.account = last_runs.account
order by last_runs.account;
