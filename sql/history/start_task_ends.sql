-- makes:   every run of a start task whose last listing was in a day, and how it ended
-- grain:   wanted day x incarnation x start_time
-- columns: those of facts.START_TASK_ENDS, and date
-- merge:   none: a run is told by the day that listed it last
-- traps:   As start_task_runs: what came and went between two listings was never seen. A day sees two
--          complete listings after it, so the run that came next is known. A node that was absent
--          from those and is listed again later, with the same run, has it told once more:
--          listed_again tells so, and the view leaves out the earlier row.
with followed as (
    select
        *,
        lead(start_time) over (
            partition by
                date, account, pool_id, node_id, allocation_time,
                coalesce(
                    image_virtual_machine_image_id,
                    concat_ws(
                        ' ', image_publisher, image_offer, image_sku, image_exact_version
                    )
                )
            order by start_time
        ) as next_start_time
    from made_start_task_runs
)
select
    date,
    account,
    pool_id,
    node_id,
    allocation_time,
    start_time,
    last_observed_at,
    end_time,
    result,
    exit_code,
    failure_code,
    failure_message,
    next_start_time,
    image_publisher,
    image_offer,
    image_sku,
    image_exact_version,
    image_virtual_machine_image_id,
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
    ) as run_key
from followed
where cast(last_observed_at as date) = date
