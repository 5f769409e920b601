-- question: What happened to one node, from its allocation to its end?
-- grain:    event of a node: a stretch of work, or each of its states and tasks
-- columns:  account, pool_id, node_id, allocation_time, life, kind, what, detail, began_after,
--           began_at, ended_after, ended_before
-- param:    account varchar = null: of this account
-- param:    pool varchar = null: of this pool
-- param:    node varchar = null: this node, every machine that had its id
-- param:    from timestamptz = null: only what had not ended before this moment
-- param:    to timestamptz = null: only what began before this moment
-- param:    tasks boolean = false: one row for each task run and for each idle and running state
-- param:    gap_minutes double = null: show where the node was not seen for longer than this; by
--           default 15 minutes, or three times the usual time between two listings if that is
--           longer
-- caveats:  It began after began_after and by began_at (began_after is null: exactly at began_at).
--           It ended between ended_after and ended_before (both equal: exactly then; ended_before
--           is null: not known to have ended). The kinds life, boot and config are moments and have
--           no end. life numbers the machines that had the id, by allocation_time. Events that
--           began and ended between two listings are missing. Rows of kind gap need the rows of
--           their days: they are missing for expired days. Rows of kind pool error are failed
--           resizes and autoscale formulas of its pool within its life, where one node is asked.
with incarnations as (
    select
        *,
        row_number() over (
            partition by account, pool_id, node_id order by first_observed_at, last_observed_at
        ) as life
    from node_incarnations
    where (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
),
found as (
    select *
    from node_events
    where (cast($account as varchar) is null or account = cast($account as varchar))
        and (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($node as varchar) is null or node_id = cast($node as varchar))
    union all
    select *
    from node_gaps(
        cast($account as varchar), cast($pool as varchar), cast($node as varchar),
        cast($gap_minutes as double)
    )
    union all
    select *
    from pool_errors_of_node(
        cast($account as varchar), cast($pool as varchar), cast($node as varchar)
    )
),
events as (
    select
        found.*,
        incarnations.life,
        kind = 'task' or (kind = 'state' and what in ('idle', 'running')) as is_ordinary
    from found
    join incarnations
        on incarnations.account = found.account
        and incarnations.pool_id = found.pool_id
        and incarnations.node_id = found.node_id
        and incarnations.allocation_time is not distinct from found.allocation_time
    where (
            cast($from as timestamptz) is null
            or coalesce(found.ended_before, found.ended_after, found.began_at)
                >= cast($from as timestamptz)
        )
        and (cast($to as timestamptz) is null or found.began_at < cast($to as timestamptz))
),
-- A stretch of work is the time between two events of the node other than task, idle and running.
stretches as (
    select
        *,
        sum(
            case when kind = 'pool error' or is_ordinary and not cast($tasks as boolean) then 0
                else 1 end
        ) over (
            partition by account, pool_id, node_id, life
            order by began_at, place, what
            rows between unbounded preceding and current row
        ) as stretch,
        is_ordinary and not cast($tasks as boolean) as is_joined
    from events
),
counts as (
    select account, pool_id, node_id, life, stretch, outcome, cast(sum(number) as bigint) as number
    from stretches
    where is_joined and outcome is not null
    group by account, pool_id, node_id, life, stretch, outcome
),
outcomes as (
    select
        *,
        row_number() over (
            partition by account, pool_id, node_id, life, stretch, outcome = 'succeeded'
            order by number desc, outcome
        ) as position
    from counts
),
tallies as (
    select
        account, pool_id, node_id, life, stretch,
        cast(
            sum(number) filter (
                where outcome not in ('not seen', 'still running', 'without an end', 'had not begun')
            ) as bigint
        ) as tasks,
        cast(coalesce(sum(number) filter (where outcome = 'succeeded'), 0) as bigint) as succeeded,
        concat_ws(
            ', ',
            max(outcome || ': ' || cast(number as varchar))
                filter (where outcome <> 'succeeded' and position = 1),
            max(outcome || ': ' || cast(number as varchar))
                filter (where outcome <> 'succeeded' and position = 2),
            max(outcome || ': ' || cast(number as varchar))
                filter (where outcome <> 'succeeded' and position = 3),
            'other outcomes: ' || cast(
                sum(number) filter (where outcome <> 'succeeded' and position > 3) as varchar
            )
        ) as others
    from outcomes
    group by account, pool_id, node_id, life, stretch
),
joined as (
    select
        account, pool_id, node_id, life, stretch,
        min(allocation_time) as allocation_time,
        count(*) as events, min(kind) as kind, min(what) as what, min(detail) as detail,
        min_by(place, began_at) as place,
        min(began_after) as began_after,
        min(began_at) as began_at,
        -- it ends with its last state or, without a state, with its last task
        coalesce(
            max_by(ended_after, began_at) filter (where kind = 'state'), max(ended_after)
        ) as ended_after,
        coalesce(
            max_by(coalesce(ended_before, ended_after), began_at) filter (where kind = 'state'),
            max(ended_before)
        ) as ended_before,
        coalesce(
            max_by(ended_before is null, began_at) filter (where kind = 'state'),
            max(case when ended_before is null then 1 else 0 end) = 1
        ) as is_open,
        sum(epoch(coalesce(ended_before, ended_after)) - epoch(began_at))
            filter (where kind = 'state' and what = 'idle') / 3600 as idle_hours,
        sum(epoch(coalesce(ended_before, ended_after)) - epoch(began_at))
            filter (where kind = 'state' and what = 'running') / 3600 as running_hours
    from stretches
    where is_joined
    group by account, pool_id, node_id, life, stretch
),
story_rows as (
    select account, pool_id, node_id, allocation_time, life, place, kind, what, detail,
        began_after, began_at, ended_after, ended_before
    from stretches
    where not is_joined
    union all
    select
        joined.account, joined.pool_id, joined.node_id, joined.allocation_time, joined.life,
        joined.place,
        case when events = 1 then kind else 'work' end,
        case
            when events = 1 then what
            when tasks = 1 then '1 task, ' || cast(succeeded as varchar) || ' succeeded'
            when tasks > 1
                then cast(tasks as varchar) || ' tasks, ' || cast(succeeded as varchar) || ' succeeded'
            when idle_hours is null then 'running'
            when running_hours is null then 'idle'
            else 'idle and running'
        end,
        case
            when events = 1 then detail
            else concat_ws(
                ', ',
                case when others <> '' then others end,
                -- with one state only, the row's own length is enough
                'running ' || cast(
                    case when idle_hours > 0 then round(running_hours, 2) end as varchar
                ) || ' h',
                'idle ' || cast(
                    case when running_hours > 0 then round(idle_hours, 2) end as varchar
                ) || ' h'
            )
        end,
        case when events = 1 then began_after end,
        began_at,
        ended_after,
        case when not is_open then ended_before end
    from joined
    left join tallies
        on tallies.account = joined.account
        and tallies.pool_id = joined.pool_id
        and tallies.node_id = joined.node_id
        and tallies.life = joined.life
        and tallies.stretch = joined.stretch
)
select
    account, pool_id, node_id, allocation_time, life, kind, what, detail,
    began_after, began_at, ended_after, ended_before
from story_rows
order by account, pool_id, node_id, life, began_at, place, what;
