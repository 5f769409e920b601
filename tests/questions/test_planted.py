"""What was planted is there to be found: on a fleet without it, tests would prove nothing."""

from __future__ import annotations

from pipeline import query
from tests.questions.planted import DAY, START, Planted, at, incarnation


def test_the_first_day_is_compacted_and_the_second_is_not(
    fleet: Planted, lake: query.Connection
) -> None:
    """Answers come from history and from rows in landing at once."""
    assert {DAY} == {day for _, day in lake.view.history_days}
    assert {DAY.isoformat(), "2026-11-17"} == {
        row["day"]
        for row in lake.table("select distinct cast(date as varchar) as day from nodes").to_pylist()
    }


def test_every_trouble_happened(fleet: Planted) -> None:
    """The truth has each planted kind, and nothing at all of the pool that is calm."""
    odd = {name: fleet.odd(name) for name in ("black_hole", "flapping", "stuck")}
    flaps = [s for s in fleet.states if s.state == "unusable" and incarnation(s) == odd["flapping"]]
    assert len(flaps) > 10
    storm = [
        run
        for run in fleet.start_task_runs
        if run.outcome == "failure" and at("11:00") <= run.started_at < at("12:00")
    ]
    assert len({run.node_id for run in storm}) >= 5
    preempted = [s.started_at for s in fleet.states if s.state == "preempted"]
    assert len([when for when in preempted if at("16:15") <= when <= at("16:16")]) >= 5
    assert {0, 1} == {run.revision for run in fleet.start_task_runs if run.pool_id == "render"}
    assert len(fleet.reused_ids) >= 5
    troubled = {s.state for s in fleet.states if s.pool_id == "calm" and s.started_at > START}
    assert {"idle", "running"} == troubled
