"""Opening a lake without reading its ids, and finding the last listings without reading its days."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import query
from pipeline.lake import Lake, committed
from pipeline.maintain import compaction
from pipeline.query import history
from pipeline.storage.disk import Disk
from tests.days import NoFacts
from tests.lakes import FAILED, MONDAY, Listing, at, node, partial, put


def compact(lake: Lake, days: int = 30, *, has_history: bool = True) -> compaction.Report:
    """Long after everything, or so many days after the first; no grace."""
    return compaction.compact(
        lake,
        clock=lambda: MONDAY + timedelta(days=days, hours=1),
        file_clock=lambda: datetime.now(UTC) + timedelta(days=3),
        grace=timedelta(0),
        history=history if has_history else NoFacts(),
    )


class Opened(Disk):
    """A disk that notes which files are opened."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.keys: list[str] = []

    def open(self, key: str) -> Any:
        """Noted."""
        self.keys.append(key)
        return super().open(key)


def opened(root: Path) -> list[str]:
    """The folders of the files that a look at a lake opens, beside the oldest file of each table."""
    storage = Opened(root)
    Lake(root, storage).view()
    return ["/".join(key.split("/")[:2]) for key in storage.keys]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four closed days with history."""
    lake = Lake(tmp_path_factory.mktemp("made") / "lake")
    for day in range(4):
        for clock in ("03:00", "12:00", "21:00"):
            put(lake, f"{day} {clock}", {"p": [node("a")]})
    compact(lake)
    compact(lake)  # sweeps
    return lake.root


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Lake:
    """The same files under other names: to write one, remove its name first."""
    return Lake(shutil.copytree(made, tmp_path / "lake", copy_function=os.link))


def test_what_closed_days_hold_is_told_by_their_history(lake: Lake) -> None:
    """Of the ledger only the oldest file is opened, to see its columns; the answer is as of the ids."""
    assert opened(lake.root).count("history/days") == 4
    assert opened(lake.root).count("compacted/snapshots") == 1
    view = Lake(lake.root).view()
    assert (view.count, len(view.snapshot_ids), len(view.history_days)) == (12, 12, 4)
    for places in view.closed.values():
        for place in places:
            ids = lake.compacted_ids(place)
            assert lake.held(place).sum == committed.sum_of(ids)
            assert lake.held(place).count == len(ids) == 3
            assert lake.held(place).tables == {"pools", "nodes"}


def _changed(root: Path, change: Any) -> None:
    """Writes every file of ``history/days`` with another footer."""
    for path in (root / "history/days").rglob("*.parquet"):
        rows = pq.read_table(path, partitioning=None)
        told = change(dict(rows.schema.metadata))
        path.unlink()
        pq.write_table(rows.replace_schema_metadata(told), path)


@pytest.mark.parametrize(
    "told",
    [None, b"", b"{", b"[1]", b"null", b'{"days": 1}', b'{"held": {"acc": ["", [1]]}}'],
    ids=["none", "empty", "truncated", "list", "null", "partly", "short"],
)
def test_a_footer_that_tells_nothing_of_use_is_done_without(lake: Lake, told: bytes | None) -> None:
    """An older version's, or a foreign one: the ids are read, and the view is the same."""
    before = lake.view()
    key = b"nodelake.made_from"
    without = {} if told is None else {key: told}
    _changed(lake.root, lambda old: {k: v for k, v in old.items() if k != key} | without)
    for path in (lake.root / "compacted/snapshots").rglob("*.parquet"):
        rows = pq.read_table(path, partitioning=None)
        old = {k: v for k, v in rows.schema.metadata.items() if k != committed.HELD}
        changed = {} if told is None else {committed.HELD: told}
        path.unlink()
        pq.write_table(rows.replace_schema_metadata(old | changed), path)
    after = Lake(lake.root).view()
    for name in ("count", "snapshot_ids", "compacted", "history_days", "lacking", "spans", "files"):
        assert getattr(before, name) == getattr(after, name), name


def test_what_is_told_of_another_version_of_a_file_is_not_believed(lake: Lake) -> None:
    """A lake that was copied has other versions: its files tell for themselves, by their footers."""
    key = b"nodelake.made_from"

    def lie(old: dict[bytes, bytes]) -> dict[bytes, bytes]:
        told = json.loads(old[key])
        for held in told["held"].values():
            held[1] = [99, "0", "", None]
        return old | {key: json.dumps(told).encode()}

    before = lake.view()
    copy = lake.root.with_name("copy")
    shutil.copytree(lake.root, copy)
    _changed(copy, lie)
    after = Lake(copy).view()
    assert (after.count, after.snapshot_ids) == (12, before.snapshot_ids)
    assert after.history_days == before.history_days
    assert after.spans == before.spans


def test_a_snapshot_more_or_less_leaves_history_behind(lake: Lake) -> None:
    """Sums tell them apart: a late one in landing, and a late file that has gone."""
    late = put(lake, "1 15:00", {"p": [node("a")]})
    day = ("acc", MONDAY.date() + timedelta(days=1))
    view = lake.view()
    assert (day in view.history_days, view.count, late in view.compacted[day]) == (False, 13, True)
    compact(lake)
    assert day in lake.view().history_days
    path = lake.root / f"compacted/snapshots/date={day[1]}/acc-late-{late}.parquet"
    path.unlink()
    assert day not in Lake(lake.root).view().history_days


def test_sums_of_disjoint_sets_add_up() -> None:
    """Whatever the order, and however often one is named."""
    ids = [f"20261116T{n:06}Z-{n:08x}" for n in range(500)]
    whole = committed.sum_of({*ids})
    assert whole == committed.added([committed.sum_of(ids[:77]), committed.sum_of(ids[77:])])
    assert len({committed.sum_of({*ids} - {each}) for each in ids} | {whole}) == 501


# What nodes_as_of has to find, in one plain look over all rows.
_PLAINLY = """
with account_listings as (
    select account, max(pool_listing_finished_at) as listed_at,
        max_by(snapshot_id, pool_listing_finished_at) as snapshot_id
    from snapshots
    where scope = 'account' and pool_listing = 'complete' and pool_listing_finished_at <= $at
    group by account
),
pool_listings as (
    select account, pool_id, max(listing_finished_at) as listed_at,
        max_by(snapshot_id, listing_finished_at) as snapshot_id
    from pools where listing = 'complete' and listing_finished_at <= $at
    group by account, pool_id
)
select nodes.account, nodes.pool_id, nodes.node_id, nodes.snapshot_id
from nodes
join pool_listings using (account, pool_id, snapshot_id)
left join account_listings on account_listings.account = nodes.account
    and account_listings.listed_at > pool_listings.listed_at
where account_listings.account is null or exists (
    from pools where pools.account = nodes.account and pools.pool_id = nodes.pool_id
        and pools.snapshot_id = account_listings.snapshot_id
)
order by all
"""


def a_listing(rng: random.Random, when: str) -> Any:
    """Mostly complete, of nodes that tell nothing but their ids."""
    nodes = [node(f"n{n}") for n in range(rng.randint(0, 2))]
    kind = rng.random()
    if kind < 0.15:
        return FAILED
    if kind < 0.3:
        return partial(*nodes)
    return Listing(nodes, finished=when)


def moments(rng: random.Random, lake: Lake) -> Iterator[datetime]:
    """Puts a lake of two accounts there, parts of it compacted; yields times of interest."""
    ends = {account: rng.randint(1, 6) for account in ("acc", "other")}
    breaks = rng.randint(0, 4)  # from this day on one pool cannot be listed
    for day in range(6):
        for account, end in ends.items():
            for hour in sorted(rng.sample(range(24), rng.randint(0, 3))):
                if day >= end:
                    continue
                # no two listings end at one moment: which is the last would be a matter of luck
                when = (
                    f"{day} {hour:02}:{rng.randrange(60):02}:{rng.randrange(59) + rng.random():f}"
                )
                pools = {
                    pool: FAILED if pool == "q" and day >= breaks else a_listing(rng, when)
                    for pool in ("p", "q", "r")
                    if rng.random() < (0.5 if pool == "r" else 0.9)
                }
                scope = "account" if rng.random() < 0.6 else "pools"
                local = f"{max(0, day + rng.choice((-3, 0, 0, 0, 2)))} {hour:02}:00"
                put(
                    lake,
                    when,
                    pools,
                    account=account,
                    scope=scope,
                    pool_listing="complete" if rng.random() < 0.8 else "failed",
                    local=local,
                )
                yield at(when)
        if rng.random() < 0.4:
            # with history it takes seconds, and tells the same of the listings
            compact(lake, rng.randint(0, day + 3), has_history=rng.random() < 0.1)
    if rng.random() < 0.7:
        compact(lake, has_history=False)


@pytest.mark.parametrize("seed", range(10))
def test_the_fleet_is_that_of_the_last_listings_wherever_they_lie(
    tmp_path: Path, seed: int
) -> None:
    """Days and days back, in landing or compacted, late, under a clock that was days off."""
    rng = random.Random(seed)
    lake = Lake(tmp_path / "lake")
    times = [*moments(rng, lake)]
    with query.connect(lake) as connection:
        asked = [at("0 00:00"), at("9 00:00"), *rng.sample(times, min(4, len(times)))]
        for moment in [*asked, *(each - timedelta(microseconds=1) for each in asked)]:
            plain = connection.table(_PLAINLY, {"at": moment})
            found = connection.table(
                "select account, pool_id, node_id, snapshot_id from nodes_at($at) order by all",
                {"at": moment},
            )
            assert plain.to_pylist() == found.to_pylist(), moment
        latest = connection.table(
            "select account, pool_id, node_id, snapshot_id from nodes_latest order by all"
        )
        plain = connection.table(_PLAINLY, {"at": at("99 00:00")})
        assert plain.to_pylist() == latest.to_pylist()
