"""An answer does not depend on what history covers: by rows, compacted, and once the rows are gone."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline import query
from pipeline.lake import Lake
from tests.simulator import compare, service, world
from tests.simulator.machines import DAY, MONDAY
from tests.simulator.world import World

#: Answered by rows alone, or of now.
_BY_ROWS = {
    *("status", "unknown_fields", "node_states_seen", "node_story"),
    *("coverage", "failed_listings", "fleet_at"),
}
#: Of questions: columns that expired days lack, or that depend on now.
_IGNORED = {
    "census": {"current_nodes", "target_nodes", "listings", "listings_below_target"},
    "idle_nodes": {"age_seconds"},
    "latest_states": {"age_seconds"},
    "nodes_with_errors": {"age_seconds"},
}
#: Questions of the present read the rows of a pool's last complete listing.
_OF_NOW = ("idle_nodes", "latest_states", "nodes_with_errors")
_LISTED = "select distinct account, pool_id from pools where listing = 'complete'"
_RANGE = {"from": MONDAY + 0.6 * DAY, "to": MONDAY + 2.2 * DAY}


def _answers(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    """What every question answers, over everything and over a range."""
    found = {}
    with query.connect(lake) as connection:
        for name, asked in query.questions().items():
            if name in _BY_ROWS:
                continue
            taken = {parameter.name for parameter in asked.parameters}
            for given in ({}, _RANGE):
                if given and not given.keys() <= taken:
                    continue
                rows = connection.ask(name, **given).to_pylist()
                dropped = _IGNORED.get(name, set())
                kept = [{k: v for k, v in row.items() if k not in dropped} for row in rows]
                if name == "census":  # a group without nodes is one that only rows show
                    kept = [row for row in kept if row["nodes_at_start"] + row["joined"]]
                found[f"{name} {'in a range' if given else ''}"] = kept
    return found


def _assert_same(step: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    lines = [
        f"{name}: {one} before, {other} after"
        for name in before
        for one, other in compare.unequal(before[name], after[name])
    ]
    assert [] == lines, "\n".join([f"{step}:", *lines])


def _days(lake: Lake) -> list[date]:
    with query.connect(lake) as connection:
        found = connection.table("select distinct date from snapshots order by date")
        return cast("list[date]", found["date"].to_pylist())


def _store(lake: Lake, made: World) -> None:
    for poll in made.polls:
        service.store(lake, poll)


@pytest.mark.ci
@pytest.mark.parametrize(
    "seed", [28, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(300, 320))]
)
def test_an_answer_is_the_same_whatever_history_covers(tmp_path: Path, seed: int) -> None:
    """By rows, after compaction, and after all but the last day's rows have expired."""
    made = world.make(seed)
    lake = Lake(tmp_path / "lake")
    _store(lake, made)
    after = made.end + 2 * DAY
    by_rows = _answers(lake)
    service.compact(lake, after)
    compacted = _answers(lake)
    _assert_same(f"seed {seed}, compacted", by_rows, compacted)
    last = _days(lake)[-1]
    service.expire(lake, after, last)
    assert _days(lake) == [last]
    with query.connect(lake) as connection:
        listed = {(row["account"], row["pool_id"]) for row in connection.table(_LISTED).to_pylist()}
    for name in compacted:  # a pool whose last complete listing has expired is not answered for
        if name.split()[0] in _OF_NOW:
            rows = compacted[name]
            compacted[name] = [row for row in rows if (row["account"], row["pool_id"]) in listed]
    _assert_same(f"seed {seed}, expired", compacted, _answers(lake))
