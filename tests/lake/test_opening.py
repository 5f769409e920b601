"""Opening a lake without reading its ids, and finding the last listings without reading its days."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import query
from pipeline.lake import Lake, LakeError
from pipeline.maintain import build_facts, compaction
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
        history=build_facts if has_history else NoFacts(),
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


def test_closed_days_are_known_by_their_manifests(lake: Lake) -> None:
    """Of the ledger only the oldest file is opened, to see its columns; the answer is as of the ids."""
    assert opened(lake.root).count("history/manifests") == 4
    assert opened(lake.root).count("compacted/snapshots") == 1
    view = Lake(lake.root).view()
    assert (view.count, len(view.snapshot_ids), len(view.history_days)) == (12, 12, 4)
    for files in view.closed.values():
        for file in files:
            assert lake.catalog.ledger(file) == view.ledgers[file.key]
            assert len(lake.compacted_ids(file)) == view.ledgers[file.key].snapshots == 3
            assert view.ledgers[file.key].data.keys() == {"pools", "nodes"}


def test_without_manifests_the_ledger_files_say_the_same(lake: Lake) -> None:
    """Only what history is for is lost: it is built again."""
    before = lake.view()
    shutil.rmtree(lake.root / "history/manifests")
    after = Lake(lake.root).view()
    for name in ("count", "snapshot_ids", "compacted", "ledgers", "files", "missing"):
        assert getattr(before, name) == getattr(after, name), name
    assert after.history_days == ()
    assert [span[2:] for span in after.spans] == [(None, None)] * 4
    assert compact(lake).history_days == 4
    restored = Lake(lake.root).view()
    assert (restored.history_days, restored.spans) == (before.history_days, before.spans)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[1]", b"null", b'{"account": "acc"}', b"\xff\x00"],
    ids=["empty", "truncated", "list", "null", "partly", "binary"],
)
def test_a_manifest_that_cannot_be_read_is_named(lake: Lake, text: bytes) -> None:
    """With what to do; the rest of the lake is not guessed at."""
    path = lake.root / f"history/manifests/date={MONDAY.date()}/acc.json"
    path.unlink()
    path.write_bytes(text)
    with pytest.raises(LakeError, match=f"{path}: no manifest .*: restore it from a backup"):
        lake.view()


def test_a_lake_that_was_copied_reads_the_same(lake: Lake) -> None:
    """Names and bytes are what counts: other inodes and times change nothing."""
    before = lake.view()
    copy = lake.root.with_name("copy")
    shutil.copytree(lake.root, copy, copy_function=shutil.copy)
    after = Lake(copy).view()
    for name in ("count", "snapshot_ids", "history_days", "spans", "ledgers", "missing"):
        assert getattr(before, name) == getattr(after, name), name


def test_a_snapshot_more_leaves_history_behind(lake: Lake) -> None:
    """A late one in landing, then in a file of its own; and a late file that has gone is named."""
    late = put(lake, "1 15:00", {"p": [node("a")]})
    day = ("acc", MONDAY.date() + timedelta(days=1))
    view = lake.view()
    assert (day in view.history_days, view.count, late in view.compacted[day]) == (False, 13, True)
    compact(lake)
    assert day in lake.view().history_days
    path = lake.root / f"compacted/snapshots/date={day[1]}/acc-late-{late}.parquet"
    path.unlink()
    view = Lake(lake.root).view()
    assert day not in view.history_days
    assert view.missing == {"snapshots": (str(path),)}


def test_a_neighbour_that_closes_renames_what_history_was_built_from(lake: Lake) -> None:
    """Its listings were in landing: the manifest names their new file, the facts are not built again."""
    for clock in ("03:00", "12:00", "21:00"):
        put(lake, f"4 {clock}", {"p": [node("a")]})
    early = compact(lake, 4)  # the last day's window has come, and is in landing
    assert early.history_days == 1
    day = MONDAY.date() + timedelta(days=3)
    manifest = lake.root / f"history/manifests/date={day}/acc.json"
    assert b'"landing/snapshots/date=2026-11-20' in manifest.read_bytes()
    facts = lake.root / f"history/node_hours/date={day}/acc.parquet"
    built = facts.stat().st_mtime_ns
    assert compact(lake).history_days == 1  # the day that closed
    assert b'"compacted/snapshots/date=2026-11-20/acc.parquet"' in manifest.read_bytes()
    assert b"landing" not in manifest.read_bytes()
    assert facts.stat().st_mtime_ns == built
    assert len(lake.view().history_days) == 5


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
    """Mostly complete, of nodes that say nothing but their ids."""
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
            # with history it takes seconds, and checks the same of the listings
            compact(lake, rng.randint(0, day + 3), has_history=rng.random() < 0.1)
    if rng.random() < 0.7:
        compact(lake, has_history=False)


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.ci) for seed in range(2, 10))]
)
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
