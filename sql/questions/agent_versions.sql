-- question: Which versions of the node agent do the nodes of each pool run, and how old are they?
-- grain:    pool x node-agent version
-- columns:  account, pool_id, node_agent_version, nodes, share, first_observed_at,
--           newer_versions, behind_hours, newest_version
-- param:    pool varchar = null: only this pool
-- param:    moment timestamptz = null: as of this moment; null for the end of the record
-- caveats:  Nodes that had not reported their agent by then (they are creating or starting) have a
--           null version. first_observed_at is when any node of the account was first seen with the
--           version; where that is the record's first listing, the version is older. behind_hours
--           is the time from when a newer version was first seen in the account to the moment asked
--           about, or to the account's last listing; it is null for the newest. Versions are
--           compared number by number, three of them; a part that is not a number counts as 0.
--           Where an agent changed between two listings, the change is dated to the later one. A
--           node has gone once two complete listings lack it.
with setups as (
    select account, node_agent_version, first_observed_at, last_observed_at
    from daily_node_config_intervals
    where cast($moment as timestamptz) is null or first_observed_at <= cast($moment as timestamptz)
),
accounts as (
    select account, coalesce(cast($moment as timestamptz), max(last_observed_at)) as asked_at
    from setups
    group by account
),
versions as (
    select
        account,
        node_agent_version,
        min(first_observed_at) as first_observed_at,
        coalesce(try_cast(split_part(node_agent_version, '.', 1) as bigint), 0) * 1000000000000
            + coalesce(try_cast(split_part(node_agent_version, '.', 2) as bigint), 0) * 1000000
            + coalesce(try_cast(split_part(node_agent_version, '.', 3) as bigint), 0) as number
    from setups
    where node_agent_version is not null
    group by account, node_agent_version
),
compared as (
    select
        account,
        node_agent_version,
        first_observed_at,
        rank() over (partition by account order by number desc) - 1 as newer_versions,
        min(first_observed_at) over (
            partition by account order by number desc
            range between unbounded preceding and 1 preceding
        ) as newer_observed_at,
        max_by(node_agent_version, number) over (partition by account) as newest_version
    from versions
),
present as (
    select account, pool_id, node_agent_version, count(*) as nodes
    from node_configs_at(cast($pool as varchar), cast($moment as timestamptz))
    group by account, pool_id, node_agent_version
)
select
    present.account,
    present.pool_id,
    present.node_agent_version,
    present.nodes,
    round(
        cast(present.nodes as double)
        / sum(present.nodes) over (partition by present.account, present.pool_id),
        4
    ) as share,
    compared.first_observed_at,
    compared.newer_versions,
    round((epoch(accounts.asked_at) - epoch(compared.newer_observed_at)) / 3600, 2)
        as behind_hours,
    compared.newest_version
from present
join accounts on accounts.account = present.account
left join compared
    on compared.account = present.account
    and compared.node_agent_version = present.node_agent_version
order by present.account, present.pool_id, compared.newer_versions desc nulls last,
    present.node_agent_version;
