"""A node that two complete listings lack, and that comes back, has its facts told by two days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import compact as compaction
from pipeline import history, query
from pipeline.lake import Lake
from tests.lakes import MONDAY, node, put

#: Questions that tell such a node once, and what makes them answer of it.
ONCE: dict[str, dict[str, Any]] = {
    "agent_versions": {},
    "flapping_nodes": {"entries": 2},
    "idle_streaks": {},
    "image_drift": {},
    "preemptions": {},
    "preemptions_by_hour": {},
    "start_task_durations": {},
    "stuck_nodes": {},
}
#: Facts that tell it twice.
TWICE = ("node_stays", "notable_stays", "spot_absences", "node_lives", "start_task_ends")
MOMENTS = ("0 02:00", "0 12:00", "0 18:00", "0 23:00", "1 00:05", "1 00:10", "1 00:15", "1 23:00")


def shown(name: str, number: int) -> dict[str, Any]:
    """A node as the listing of that number shows it."""
    state, since = {"wait": "waitingforstarttask", "spot": "preempted"}.get(name, "idle"), "0 01:00"
    if name == "flap":  # in trouble twice before midnight, the second time for good
        turns = min(number, 3)
        state, since = ("idle", "unusable")[turns % 2], MOMENTS[turns].replace(":00", ":00:01")
    return node(
        name,
        state,
        since,
        allocated="0 00:30",
        is_dedicated=name != "spot",
        node_agent_version="1.1" if name == "wait" else "1.2",
        image_publisher="c",
        image_offer="u",
        image_sku="s",
        image_exact_version="v1" if name == "wait" else "v2",
        start_task_start_time="0 00:45",
        start_task_end_time="0 00:46",
        start_task_state="completed",
        start_task_result="failure",
        start_task_exit_code=1,
        start_task_definition_id="d",
    )


def fill(lake: Lake, *, has_hole: bool) -> Lake:
    """Two days; the first two listings of the second one may lack all nodes but one."""
    for number, when in enumerate(MOMENTS):
        names = ["other", "wait", "idle", "spot", "flap"]
        if has_hole and when in ("1 00:05", "1 00:10"):
            names = ["other"]
        put(lake, when, {"p": [shown(name, number) for name in names]})
    return lake


def compact(lake: Lake) -> None:
    """Long after everything, no grace."""
    compaction.compact(
        lake,
        clock=lambda: MONDAY + timedelta(days=30),
        file_clock=lambda: datetime.now(UTC) + timedelta(days=3),
        grace=timedelta(0),
        history=history,
    )


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, query.Connection]:
    """One whose nodes were always there, one with the hole, and that one compacted."""
    root: Path = tmp_path_factory.mktemp("twice")
    fill(Lake(root / "compacted"), has_hole=True)
    compact(Lake(root / "compacted"))
    fill(Lake(root / "always"), has_hole=False)
    fill(Lake(root / "hole"), has_hole=True)
    return {name: query.connect(root / name) for name in ("always", "hole", "compacted")}


@pytest.mark.parametrize("fact", TWICE)
def test_two_days_tell_it(lakes: dict[str, query.Connection], fact: str) -> None:
    """No day can know: the first had told it when its two proofs of absence were there."""
    counts = {
        name: lake.sql(f"select count(*) from {fact}").fetchall()[0][0]
        for name, lake in lakes.items()
    }
    assert counts["always"] < counts["hole"] == counts["compacted"]


@pytest.mark.parametrize("name", ONCE)
def test_a_question_tells_it_once(lakes: dict[str, query.Connection], name: str) -> None:
    """From rows and from history, the same as if the node had been listed all the while."""
    answers = {lake: each.ask(name, **ONCE[name]).to_pylist() for lake, each in lakes.items()}
    assert len(answers["always"]) > 0
    assert answers["always"] == answers["hole"]
    assert answers["always"] == answers["compacted"]
