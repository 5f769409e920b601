-- makes:   what a day lists that had begun before, and that the last listings before it did not show
-- grain:   wanted day x incarnation x start_time (null: the node itself)
-- columns: those of facts.LISTED_AGAIN, and date
-- merge:   none
-- traps:   An earlier day may have told it as ended, when no later listing it sees had it: what stands
--          there for the same told_key is told again by this day or a later one. Most that is here
--          was told by no day: what a listing that broke off did not come to, for one.
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    cast(null as timestamptz) as start_time,
    cast(
        md5_number_lower(
            concat_ws(
                '/', account, pool_id, node_id, cast(epoch_us(allocation_time) as varchar)
            )
        ) // 2
        as bigint
    ) as told_key
from made_node_incarnations
where is_again
union all
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    start_time,
    cast(
        md5_number_lower(
            concat_ws(
                '/',
                account,
                pool_id,
                node_id,
                cast(epoch_us(allocation_time) as varchar),
                cast(epoch_us(start_time) as varchar)
            )
        ) // 2
        as bigint
    ) as told_key
from made_start_task_runs
where is_again
