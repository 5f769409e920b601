"""The days of the record, and which of them history does not answer."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from datetime import UTC, date, timedelta

from pipeline.lake import ID, ListingSpan
from pipeline.schema.facts import AccountDay

# The days of the record: those with a listing, and those of a gap of up to a month between two. A
# complete listing of pools is one of the days in which an account has none: all of them are gone.
RECORD_DAYS = """
with listed as (
    select account, cast(listing_finished_at as date) as date
    from pools where listing_finished_at is not null
    union
    select account, cast(listing_started_at as date)
    from pools where listing_finished_at is not null and listing_started_at is not null
    union
    select account, cast(pool_listing_finished_at as date)
    from snapshots
    where scope = 'account' and pool_listing = 'complete' and source <> 'usage'
        and pool_listing_finished_at is not null
),
followed as (
    select account, date, lead(date) over (partition by account order by date) as next_date
    from listed
)
select followed.account, cast(followed.date + steps.step as date) as date
from followed
cross join (
    values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15),
        (16), (17), (18), (19), (20), (21), (22), (23), (24), (25), (26), (27), (28), (29), (30)
) as steps (step)
where steps.step = 0
    or (
        steps.step < date_diff('day', followed.date, followed.next_date)
        and date_diff('day', followed.date, followed.next_date) <= 31
    )
"""

# A day of history is not current either where a listing of a day that history does not cover may
# have come into its window since: one of the first two proofs after it, or of the last before it.
WANTED_DAYS = """
with uncovered as (
    select account, date from record_days
    except
    select account, date from history_days
),
listings as (
    select pools.account, pools.pool_id,
        cast(coalesce(pools.listing_finished_at, pools.snapshot_at) as date) as date,
        pools.listing = 'complete'
            and (snapshots.scope = 'account' or snapshots.source = 'import') as is_proof
    from pools
    join snapshots
        on snapshots.account = pools.account and snapshots.snapshot_id = pools.snapshot_id
    where exists (from history_days)
    union all
    select account, null, cast(coalesce(pool_listing_finished_at, snapshot_at) as date),
        scope = 'account' and pool_listing = 'complete'
    from snapshots where source <> 'usage' and exists (from history_days)
),
listed as (
    select account, pool_id, date, is_proof from listings
    union all
    -- a day without listings has a window too; one before the first listing has expired rows
    select pools.account, pools.pool_id, history_days.date, false
    from (
        select account, pool_id, min(min(date)) over (partition by account) as first_date
        from listings group by account, pool_id
    ) as pools
    join history_days
        on history_days.account = pools.account and history_days.date > pools.first_date
),
days as (
    select account, pool_id, date, count(*) filter (where is_proof) as proofs
    from listed group by account, pool_id, date
),
counted as (
    select *, sum(proofs) over (partition by account, pool_id order by date) as until from days
),
touched as (
    select covered.account, covered.date
    from counted as covered
    join history_days
        on history_days.account = covered.account and history_days.date = covered.date
    join counted as other
        on other.account = covered.account
        and other.pool_id is not distinct from covered.pool_id
    join uncovered
        on uncovered.account = other.account and uncovered.date = other.date
    where (other.date > covered.date and other.until - other.proofs - covered.until <= 2)
        or (other.date < covered.date and covered.until - covered.proofs - other.until <= 1)
)
select account, date from uncovered
union
select account, date from touched
"""

# Nor where a listing of such a day shows the allocation of a node that showed none by then.
_ALLOCATED_SINCE = """
with wanted as (
{wanted}
)
select account, date from wanted
union
select unknown.account, unknown.date
from (
    select account, pool_id, node_id, last_observed_at, date
    from {incarnations} where allocation_time is null
) as unknown
join nodes
    on nodes.account = unknown.account
    and nodes.pool_id = unknown.pool_id
    and nodes.node_id = unknown.node_id
    and nodes.allocation_time <= unknown.last_observed_at + interval 2 seconds
where nodes.date in (select date from wanted)
"""


def wanted_days(incarnations: str | None) -> str:
    """The query of the days that are answered from rows.

    Args:
        incarnations: the history of ``node_incarnations``, where it may have nodes that never showed
            their allocation.
    """
    if incarnations is None:
        return WANTED_DAYS
    return _ALLOCATED_SINCE.format(wanted=WANTED_DAYS, incarnations=incarnations)


#: Days between two listings, at most, over which history is made.
_GAP = 31
_DAY_FILE = re.compile(r"/date=(\d{4}-\d\d-\d\d)/([^/]+)\.parquet$")
_OF_A_SNAPSHOT = re.compile(rf"(-late-)?{ID}$")


def account_day_of(file: str) -> AccountDay | None:
    """The account-day that a file is of, by its name; None for one of a single snapshot."""
    match = _DAY_FILE.search(file)
    if match is None or _OF_A_SNAPSHOT.search(match[2]):
        return None
    return match[2], date.fromisoformat(match[1])


def is_covered(spans: Iterable[ListingSpan], days: Iterable[AccountDay]) -> bool:
    """Whether history covers the whole record, so that no day is answered from rows.

    Reads footers only: a year of rows would take seconds. False where footers leave it open.
    """
    covered = set(days)
    for account, _, first, last in spans:
        if account is None or first is None or last is None:
            return False
        day, end = first.astimezone(UTC).date(), last.astimezone(UTC).date()
        while day <= end:
            if (account, day) not in covered:
                return False
            day += timedelta(days=1)
    return not any(
        account == other and 1 < (later - day).days <= _GAP
        for (account, day), (other, later) in itertools.pairwise(sorted(covered))
    )
