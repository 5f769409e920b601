-- question: What did each job cost, and what stayed idle, broken or unexplained beside the jobs?
-- grain:    pool x vm_size x dedicated/spot x job; the hours of no job: x used_for
-- columns:  account, pool_id, vm_size, is_dedicated, used_for, job_id, hours, certain_hours,
--           possible_hours, cost, certain_cost, possible_cost, currency
-- param:    pool varchar = null: only this pool
-- param:    from timestamptz = null: only days (UTC) from this one on
-- param:    to timestamptz = null: only days before this one
-- caveats:  Whole days. The task runs that a node has at the same time share each instant equally,
--           however many slots each takes. used_for is job, or where the rest of node_hours went:
--           running (no listing showed a task), idle, broken (unusable, starttaskfailed, offline,
--           unknown), unobserved, other, no machine (preempted, deallocated: costs nothing). The
--           hours of a pool add up to its node_hours. True hours lie between certain_hours and
--           possible_hours; possible hours of two rows may be the same hours. A run without an end is
--           certain to its last listing and possible to the next attempt at its task, the next state
--           without tasks, or the next listing without it that changed a fact of its node; hours
--           count it to there if that is at most 15 minutes later. A service that leaves running
--           tasks out of recentTasks breaks this bound. Tasks that no listing showed are in no job's
--           hours; where task_gaps counts them, they lower the certain hours of the others. Without
--           a price file, hours only; costs of two currencies do not add up.
with days as (
    select account, pool_id, date
    from node_hours
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($to as timestamptz) is null or date < cast(cast($to as timestamptz) as date))
    group by account, pool_id, date
),
pools as (
    select
        account,
        pool_id,
        cast(
            min(date) filter (
                where cast($from as timestamptz) is null
                    or date >= cast(cast($from as timestamptz) as date)
            ) as timestamptz
        ) as begins_at,
        -- what goes on at the start of the range was listed on the last day before it, or in it
        cast(
            max(date) filter (where date < cast(cast($from as timestamptz) as date)) as timestamptz
        ) as since
    from days
    group by account, pool_id
),
states as (
    select
        node_states.account,
        node_states.pool_id,
        node_states.node_id,
        node_states.allocation_time,
        node_states.first_observed_at,
        node_states.last_observed_at,
        node_states.vm_size,
        node_states.is_dedicated,
        node_states.ended_before,
        node_states.next_state,
        -- states that a task can outlast; others begin without a task
        node_states.state not in ('running', 'unusable', 'unknown', 'leavingpool')
            as is_without_task,
        case
            when node_states.state = 'running' then 1
            when node_states.state = 'idle' then 2
            when node_states.state in ('unusable', 'starttaskfailed', 'offline', 'unknown') then 3
            when node_states.state in ('preempted', 'deallocated') then 6
            else 4
        end as use,
        max(node_states.state_transition_time) over (
            partition by
                node_states.account,
                node_states.pool_id,
                node_states.node_id,
                node_states.allocation_time
            order by
                node_states.first_observed_at, node_states.state_transition_time, node_states.state
            rows between unbounded preceding and current row
        ) as begins_at,
        row_number() over (
            partition by
                node_states.account,
                node_states.pool_id,
                node_states.node_id,
                node_states.allocation_time
            order by
                node_states.first_observed_at, node_states.state_transition_time, node_states.state
        ) as number
    from node_states
    join pools on pools.account = node_states.account and pools.pool_id = node_states.pool_id
    where (pools.since is null or node_states.last_observed_at >= pools.since)
        and (
            cast($to as timestamptz) is null
            or node_states.state_transition_time
            < cast(cast(cast($to as timestamptz) as date) as timestamptz)
        )
),
machines as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        max_by(vm_size, last_observed_at) filter (where vm_size is not null) as vm_size,
        max_by(is_dedicated, last_observed_at) filter (where is_dedicated is not null)
            as is_dedicated
    from states
    group by account, pool_id, node_id, allocation_time
),
followed as (
    select
        *,
        coalesce(
            lead(begins_at) over (
                partition by account, pool_id, node_id, allocation_time order by number
            ),
            ended_before
        ) as ends_at,
        coalesce(
            lead(first_observed_at) over (
                partition by account, pool_id, node_id, allocation_time order by number
            ),
            ended_before
        ) as missed_at
    from states
),
-- as in node_hours: a node has one use at a time, 5 is unobserved
uses as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        case
            when piece.number = 1 then use
            when piece.number = 3 then 5
            when date_diff('microsecond', last_observed_at, missed_at) > 900000000 then 5
            else use
        end as use,
        case when piece.number = 1 then 1 else 0 end as certain,
        case
            when piece.number = 1 then begins_at
            when piece.number = 2 then greatest(begins_at, last_observed_at)
            when followed.number = 1 then allocation_time
        end as begins_at,
        case
            when piece.number = 1 then least(last_observed_at, ends_at)
            when piece.number = 2 then ends_at
            else begins_at
        end as ends_at
    from followed
    cross join (values (1), (2), (3)) as piece (number)
),
gaps as (
    select
        task_gaps.account,
        task_gaps.pool_id,
        task_gaps.node_id,
        task_gaps.allocation_time,
        task_gaps.after,
        task_gaps.before,
        task_gaps.missed
    from task_gaps
    join pools on pools.account = task_gaps.account and pools.pool_id = task_gaps.pool_id
    where (pools.since is null or task_gaps.before >= pools.since)
        and (
            cast($to as timestamptz) is null
            or task_gaps.after < cast(cast(cast($to as timestamptz) as date) as timestamptz)
        )
),
runs as (
    select
        task_runs.account,
        task_runs.pool_id,
        task_runs.node_id,
        task_runs.allocation_time,
        coalesce(task_runs.job_id, '') as job_id,
        task_runs.start_time,
        task_runs.end_time,
        task_runs.first_observed_at,
        task_runs.last_observed_at,
        task_runs.first_completed_at,
        lead(task_runs.start_time) over (
            partition by
                task_runs.account,
                task_runs.pool_id,
                task_runs.node_id,
                task_runs.allocation_time,
                task_runs.job_id,
                task_runs.task_id,
                task_runs.subtask_id
            order by task_runs.start_time
        ) as next_start_time
    from task_runs
    join pools on pools.account = task_runs.account and pools.pool_id = task_runs.pool_id
    where task_runs.start_time is not null
        and (pools.since is null or task_runs.last_observed_at >= pools.since)
        and (
            cast($to as timestamptz) is null
            or task_runs.start_time < cast(cast(cast($to as timestamptz) as date) as timestamptz)
        )
),
-- when each node was listed, as far as facts know
sightings as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        case
            when moment.number = 1 then first_observed_at
            when moment.number = 2 then last_observed_at
            when next_state is null then ended_before
        end as seen_at,
        case when moment.number = 1 and is_without_task then begins_at end as stopped_at
    from states
    cross join (values (1), (2), (3)) as moment (number)
    union all
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        case when moment.number = 1 then first_observed_at else last_observed_at end as seen_at,
        null as stopped_at
    from runs
    cross join (values (1), (2)) as moment (number)
    union all
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        case when moment.number = 1 then after else before end as seen_at,
        null as stopped_at
    from gaps
    cross join (values (1), (2)) as moment (number)
),
listings as (
    select account, pool_id, node_id, allocation_time, seen_at, min(stopped_at) as stopped_at
    from sightings
    where seen_at is not null
    group by account, pool_id, node_id, allocation_time, seen_at
),
next_listings as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        seen_at,
        lead(seen_at) over (
            partition by account, pool_id, node_id, allocation_time order by seen_at
        ) as next_seen_at,
        lead(stopped_at) over (
            partition by account, pool_id, node_id, allocation_time order by seen_at
        ) as next_stopped_at
    from listings
),
-- a run lasted at least to certain_at, and had ended by possible_at
bounded as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        job_id,
        start_time as begins_at,
        end_time as certain_at,
        end_time as possible_at
    from runs
    where end_time is not null
    union all
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        job_id,
        start_time as begins_at,
        case when first_observed_at < first_completed_at then first_observed_at else start_time end
            as certain_at,
        first_completed_at as possible_at
    from runs
    where end_time is null and first_completed_at is not null
    union all
    select
        runs.account,
        runs.pool_id,
        runs.node_id,
        runs.allocation_time,
        runs.job_id,
        runs.start_time as begins_at,
        runs.last_observed_at as certain_at,
        coalesce(
            least(runs.next_start_time, listed.next_stopped_at, listed.next_seen_at),
            runs.last_observed_at
        ) as possible_at
    from runs
    join next_listings as listed
        on listed.account = runs.account
        and listed.pool_id = runs.pool_id
        and listed.node_id = runs.node_id
        and listed.allocation_time is not distinct from runs.allocation_time
        and listed.seen_at = runs.last_observed_at
    where runs.end_time is null and runs.first_completed_at is null
),
ended as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        job_id,
        begins_at,
        greatest(begins_at, certain_at) as certain_at,
        greatest(begins_at, certain_at, possible_at) as possible_at,
        case
            when date_diff('microsecond', certain_at, possible_at) between 0 and 900000000
                then greatest(begins_at, possible_at)
            else greatest(begins_at, certain_at)
        end as taken_at
    from bounded
),
-- begins and ends on a node, as steps of the number of running tasks
steps as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        job_id,
        case
            when step.number = 1 then begins_at
            when step.number = 2 then certain_at
            when step.number = 3 then taken_at
            else possible_at
        end as moment,
        case when step.number = 1 then 1 when step.number = 2 then -1 else 0 end as sure,
        case
            when step.number = 1 then 1
            when step.number = 3 or (step.number = 2 and taken_at = certain_at) then -1
            else 0
        end as taken,
        case
            when step.number = 1 then 1
            when step.number = 4 or (step.number = 2 and possible_at = certain_at) then -1
            else 0
        end as possible,
        0 as missed,
        0 as use,
        0 as certain
    from ended
    cross join (values (1), (2), (3), (4)) as step (number)
    where step.number <= 2
        or (step.number = 3 and taken_at > certain_at)
        or (step.number = 4 and possible_at > certain_at)
    union all
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        null as job_id,
        case when step.sign = 1 then after else before end as moment,
        0 as sure,
        0 as taken,
        0 as possible,
        step.sign * missed as missed,
        0 as use,
        0 as certain
    from gaps
    cross join (values (1), (-1)) as step (sign)
    union all
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        null as job_id,
        case when step.sign = 1 then begins_at else ends_at end as moment,
        0 as sure,
        0 as taken,
        0 as possible,
        0 as missed,
        step.sign * use as use,
        step.sign * certain as certain
    from uses
    cross join (values (1), (-1)) as step (sign)
    where begins_at < ends_at
),
timed as (
    select
        steps.*,
        epoch_us(
            least(
                greatest(steps.moment, pools.begins_at),
                cast(cast(cast($to as timestamptz) as date) as timestamptz)
            )
        ) as passed
    from steps
    join pools on pools.account = steps.account and pools.pool_id = steps.pool_id
    where pools.begins_at is not null
),
-- the state since the previous step
swept as (
    select
        *,
        coalesce(
            passed - lag(passed) over (
                partition by account, pool_id, node_id, allocation_time order by passed
            ),
            0
        ) as lasted,
        sum(sure) over (
            partition by account, pool_id, node_id, allocation_time order by passed
            rows between unbounded preceding and current row
        ) - sure as sure_runs,
        sum(taken) over (
            partition by account, pool_id, node_id, allocation_time order by passed
            rows between unbounded preceding and current row
        ) - taken as taken_runs,
        sum(possible + missed) over (
            partition by account, pool_id, node_id, allocation_time order by passed
            rows between unbounded preceding and current row
        ) - possible - missed as possible_runs,
        sum(use) over (
            partition by account, pool_id, node_id, allocation_time order by passed
            rows between unbounded preceding and current row
        ) - use as used_for,
        sum(certain) over (
            partition by account, pool_id, node_id, allocation_time order by passed
            rows between unbounded preceding and current row
        ) - certain as is_certain
    from timed
),
-- no task runs without a machine
machine_time as (
    select
        *,
        case when used_for between 1 and 5 then lasted else 0 end as shared
    from swept
),
-- a run gets the rise of each of these sums from its begin to its end
shares as (
    select
        *,
        sum(case when taken_runs > 0 then shared / taken_runs else 0 end) over (
            partition by account, pool_id, node_id, allocation_time order by passed
        ) as taken_share,
        sum(case when possible_runs > 0 then shared / possible_runs else 0 end) over (
            partition by account, pool_id, node_id, allocation_time order by passed
        ) as least_share,
        sum(shared / greatest(sure_runs, 1)) over (
            partition by account, pool_id, node_id, allocation_time order by passed
        ) as most_share,
        sum(shared / (greatest(sure_runs, 0) + 1)) over (
            partition by account, pool_id, node_id, allocation_time order by passed
        ) as joining_share
    from machine_time
),
-- twice: by job, and by what the node was used for
totals as (
    select
        account,
        pool_id,
        node_id,
        allocation_time,
        job_id,
        used_for,
        -sum(taken * taken_share) / 3600000000 as hours,
        -sum(sure * least_share) / 3600000000 as certain_hours,
        -sum(sure * most_share + (possible - sure) * joining_share) / 3600000000
            as possible_hours,
        sum(shared) as shared,
        sum(case when taken_runs > 0 then shared else 0 end) / 3600000000 as busy_hours,
        sum(case when is_certain = 1 and possible_runs > 0 then shared else 0 end) / 3600000000
            as possible_busy_hours,
        sum(case when is_certain = 1 and sure_runs > 0 then shared else 0 end) / 3600000000
            as certain_busy_hours,
        sum(case when is_certain = 0 and sure_runs > 0 then shared else 0 end) / 3600000000
            as other_busy_hours
    from shares
    group by grouping sets (
        (account, pool_id, node_id, allocation_time, job_id),
        (account, pool_id, node_id, allocation_time, used_for)
    )
),
of_machines as (
    select
        totals.*,
        machines.vm_size,
        machines.is_dedicated
    from totals
    join machines
        on machines.account = totals.account
        and machines.pool_id = totals.pool_id
        and machines.node_id = totals.node_id
        and machines.allocation_time is not distinct from totals.allocation_time
    where totals.job_id is not null or (totals.used_for is not null and totals.shared > 0)
),
-- hours of jobs; hours of node_hours, and the part of them that went to jobs
parts as (
    select
        account,
        pool_id,
        vm_size,
        is_dedicated,
        case
            when job_id is not null then 'job'
            when used_for = 1 then 'running'
            when used_for = 2 then 'idle'
            when used_for = 3 then 'broken'
            when used_for = 5 then 'unobserved'
            else 'other'
        end as used_for,
        job_id,
        case when job_id is not null then hours else -busy_hours end as hours,
        case when job_id is not null then certain_hours else -possible_busy_hours end
            as certain_hours,
        case when job_id is not null then possible_hours else -certain_busy_hours end
            as possible_hours,
        case when job_id is not null then 0 else -other_busy_hours end as uncertain_hours
    from of_machines
    union all
    select
        account,
        pool_id,
        vm_size,
        is_dedicated,
        case
            when state in ('running', 'idle', 'unobserved') then state
            when state in ('unusable', 'starttaskfailed', 'offline', 'unknown') then 'broken'
            when state in ('preempted', 'deallocated') then 'no machine'
            else 'other'
        end as used_for,
        null as job_id,
        hours,
        certain_hours,
        certain_hours as possible_hours,
        hours - certain_hours as uncertain_hours
    from node_hours
    where (cast($pool as varchar) is null or pool_id = cast($pool as varchar))
        and (cast($from as timestamptz) is null or date >= cast(cast($from as timestamptz) as date))
        and (cast($to as timestamptz) is null or date < cast(cast($to as timestamptz) as date))
),
summed as (
    select
        account,
        pool_id,
        vm_size,
        is_dedicated,
        used_for,
        job_id,
        -- rounding errors of a sum of differences count as nothing
        round(greatest(sum(hours), 0), 9) as hours,
        round(greatest(sum(certain_hours), 0), 9) as certain_hours,
        sum(possible_hours) as possible_hours,
        -- in an uncertain hour a node may have been in any state
        sum(sum(uncertain_hours)) over (
            partition by account, pool_id, vm_size, is_dedicated
        ) as uncertain_hours
    from parts
    group by account, pool_id, vm_size, is_dedicated, used_for, job_id
),
answered as (
    select
        account,
        pool_id,
        vm_size,
        is_dedicated,
        used_for,
        job_id,
        hours,
        certain_hours,
        case
            when job_id is not null then possible_hours
            else greatest(hours, possible_hours + uncertain_hours)
        end as possible_hours
    from summed
),
priced as (
    select
        answered.*,
        prices.price_per_hour
            * case when answered.used_for = 'no machine' then 0 else 1 end as price,
        prices.currency
    from answered
    left join prices
        on prices.vm_size = lower(answered.vm_size)
        and prices.is_dedicated = answered.is_dedicated
    where answered.possible_hours > 0.000000001
)
select
    account,
    pool_id,
    vm_size,
    is_dedicated,
    used_for,
    job_id,
    hours,
    certain_hours,
    possible_hours,
    hours * price as cost,
    certain_hours * price as certain_cost,
    possible_hours * price as possible_cost,
    currency
from priced
order by cost desc nulls last, hours desc, account, pool_id, vm_size, is_dedicated, used_for, job_id;
