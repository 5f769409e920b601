"""A node that two complete listings lack, and that comes back: no day alone knows all of it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import query
from pipeline.lake import Lake
from pipeline.maintain import build_facts, compaction
from tests.lakes import MONDAY, Listing, node, put

#: Questions that count such a node once, and what makes them answer of it.
ONCE: dict[str, dict[str, Any]] = {
    "agent_versions": {},
    "census": {},
    "error_codes": {"source": "start_task"},
    "flapping_nodes": {"entries": 2},
    "idle_streaks": {},
    "image_drift": {},
    "preemptions": {},
    "preemptions_by_hour": {},
    "start_task_durations": {},
    "start_task_failure_rate": {},
    "start_task_failures": {},
    "start_task_storms": {},
    "stuck_nodes": {},
}
_KEY = "pool_id, node_id, allocation_time"
_OF_STATE = (
    f"{_KEY}, state, state_transition_time, last_observed_at, ended_after, ended_before, next_state"
)
_OF_RUN = f"{_KEY}, start_time, end_time, result, exit_code"
#: Views that are read faster, what they have, and the views that join all days.
FASTER = {
    "state_intervals": (_OF_STATE, "node_states"),
    "node_lifetimes": (
        f"{_KEY}, last_observed_at, last_state, vm_size, ended_after, ended_before, ended_by",
        "node_incarnations",
    ),
    "node_startups": (f"{_KEY}, first_observed_at", "node_incarnations"),
    "start_task_ends": (f"{_OF_RUN}, last_observed_at", "start_task_runs"),
    "start_task_begins": (
        f"{_KEY}, start_time, first_observed_at, start_task_definition_id, is_definition_certain",
        "start_task_runs",
    ),
}
MOMENTS = ("0 02:00", "0 12:00", "0 18:00", "0 23:00", "1 00:05", "1 00:10", "1 00:15", "1 23:00")


def shown(name: str, number: int) -> dict[str, Any]:
    """A node as the listing of that number shows it."""
    state, since = {"wait": "waitingforstarttask", "spot": "preempted"}.get(name, "idle"), "0 01:00"
    if name == "flap":  # in trouble twice before midnight, the second time for good
        turns = min(number, 3)
        state, since = ("idle", "unusable")[turns % 2], MOMENTS[turns].replace(":00", ":00:01")
    started = {
        "start_task_start_time": "0 02:10",
        "start_task_end_time": "0 02:11",
        "start_task_state": "completed",
        "start_task_result": "failure",
        "start_task_exit_code": 1,
        "start_task_definition_id": "d",
    }
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
        **(started if number else {}),
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
        history=build_facts,
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


@pytest.mark.parametrize("name", ONCE)
def test_a_question_counts_it_once(lakes: dict[str, query.Connection], name: str) -> None:
    """From rows and from history, the same as if the node had been listed all the while."""
    answers = {lake: each.ask(name, **ONCE[name]).to_pylist() for lake, each in lakes.items()}
    assert len(answers["always"]) > 0
    assert answers["always"] == answers["hole"]
    assert answers["always"] == answers["compacted"]


class _Node:
    """A node that is left out of listings, or malformed, for a while, and runs its start task anew."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name, self.rng = name, rng
        self.began: str | None = None
        self.way = "listed"

    def move(self, when: str, before: str) -> dict[str, Any] | None:
        """As a listing shows it then; None where it is left out."""
        rng = self.rng
        if self.began is None or rng.random() < 0.15:
            self.began = before
        if rng.random() < 0.4:
            self.way = rng.choice(("listed", "listed", "absent", "absent", "malformed", "no run"))
        if self.way == "absent":
            return None
        run = {
            "start_task_start_time": self.began,
            "start_task_state": "completed",
            "start_task_result": "success",
            "start_task_end_time": when,
        }
        has_allocation = self.name != "d"
        return node(
            self.name,
            allocated="-1 12:00" if has_allocation else None,
            is_malformed=self.way == "malformed",
            **({} if self.way == "no run" else run),
        )


def _filled(lake: Lake, seed: int) -> Lake:
    """Five days of few listings, some of which broke off, one pool now and then not there at all."""
    rng = random.Random(seed)
    pools = {pool: [_Node(name, rng) for name in names] for pool, names in POOLS.items()}
    before = "0 00:01"
    for day in range(5):
        for minutes in sorted(rng.sample(range(5, 1435), rng.randint(1, 5))):
            when = f"{day} {minutes // 60:02}:{minutes % 60:02}"
            shown_by = {pool: [n.move(when, before) for n in ns] for pool, ns in pools.items()}
            put(
                lake,
                when,
                {
                    pool: Listing(
                        [each for each in nodes if each],
                        rng.choice(("complete", "complete", "complete", "partial")),
                    )
                    for pool, nodes in shown_by.items()
                    if pool == "p" or rng.random() < 0.7
                },
            )
            before = when
    return lake


POOLS = {"p": ("a", "b", "c", "d"), "q": ("a", "b")}


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.ci) for seed in range(1, 4))]
)
def test_whatever_listings_lack_the_faster_views_are_right(tmp_path: Path, seed: int) -> None:
    """The same nodes and runs as the joined days, each as it was last listed, before and after."""
    lake = _filled(Lake(tmp_path / "lake"), seed)
    for _ in range(2):
        with query.connect(lake) as connection:
            for view, (columns, joined) in FASTER.items():
                found, whole = (
                    connection.sql(f"select {columns} from {name} order by all").fetchall()
                    for name in (view, joined)
                )
                assert found == whole, view
        compact(lake)


def test_some_of_those_days_are_put_together(tmp_path: Path) -> None:
    """Otherwise the test above would show nothing."""
    with query.connect(_filled(Lake(tmp_path / "lake"), 0)) as connection:
        counts = [
            connection.sql(f"select count(*) from {name}").fetchall()[0][0]
            for name in ("interrupted_nodes", "node_incarnations")
        ]
    assert 0 < counts[0] <= counts[1]
