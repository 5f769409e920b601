"""Who is accused and who is not, on lakes written row by row: what the planted fleet does not have."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import query
from pipeline.lake import Lake
from tests.lakes import MONDAY, Listing, at, node, put, task


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def ask(lake: Lake, name: str, **parameters: object) -> list[dict[str, Any]]:
    """The rows of an answer."""
    with query.connect(lake) as connection:
        rows: list[dict[str, Any]] = connection.ask(name, **parameters).to_pylist()
    return rows


def clock(minutes: float) -> str:
    """So many minutes after midnight, as ``at`` reads it."""
    hours, left = divmod(minutes, 60)
    return f"{int(hours):02}:{int(left):02}:{left % 1 * 60:02.0f}"


def runs(job: str, count: int, *, fails: bool, seconds: float = 10, code: int | None = 7) -> Any:
    """So many runs of a job, one a minute from 01:00 on."""
    result: dict[str, Any] = {"exit_code": code, "result": "failure"} if fails else {}
    return [
        task(f"{job}-{i}", clock(60 + i), clock(60 + i + seconds / 60), job_id=job, **result)
        for i in range(count)
    ]


def holes(lake: Lake, **parameters: object) -> list[str]:
    """The nodes that are accused of being black holes."""
    return [row["node_id"] for row in ask(lake, "black_hole_nodes", **parameters)]


def tasks_of(lake: Lake, nodes: dict[str, Any], **parameters: Any) -> None:
    """A pool whose nodes have run these tasks."""
    put(
        lake, "03:00", {"p": [node(name, tasks=done) for name, done in nodes.items()]}, **parameters
    )


def test_a_job_that_fails_everywhere_accuses_no_node(lake: Lake) -> None:
    """Every node of the pool fails it alike."""
    tasks_of(lake, {f"n{i}": runs("bad", 20, fails=True) for i in range(4)})
    assert holes(lake) == []
    assert holes(lake, others=1) == ["n0", "n1", "n2", "n3"]


def test_a_job_that_fails_everywhere_accuses_no_node_beside_a_good_one(lake: Lake) -> None:
    """Some nodes run the bad job, others a good one: who runs the bad one is no black hole."""
    bad = {f"bad{i}": runs("bad", 20, fails=True) for i in range(3)}
    good = {f"good{i}": runs("good", 20, fails=False) for i in range(9)}
    tasks_of(lake, bad | good)
    assert holes(lake) == []


def test_a_node_that_fails_what_others_can_is_a_black_hole(lake: Lake) -> None:
    """Compared job by job: the pool's other, always failing job is no excuse."""
    healthy = runs("good", 5, fails=False) + runs("bad", 5, fails=True)
    tasks_of(
        lake,
        {f"n{i}": healthy for i in range(3)}
        | {"hole": runs("good", 18, fails=True) + runs("bad", 2, fails=True)},
    )
    assert holes(lake) == ["hole"]


def test_two_black_holes_do_not_hide_each_other(lake: Lake) -> None:
    """Each swallows more tasks than all healthy nodes together."""
    healthy = {f"n{i}": runs("job", 4, fails=False) for i in range(6)}
    tasks_of(lake, healthy | {name: runs("job", 40, fails=True) for name in ("h1", "h2")})
    assert sorted(holes(lake)) == ["h1", "h2"]


def test_a_job_that_ran_on_one_node_shows_nothing(lake: Lake) -> None:
    """The node or the job: nothing shows which. With three such jobs the other nodes' runs show it."""
    healthy = {f"n{i}": runs("good", 9, fails=False) for i in range(3)}
    tasks_of(lake, healthy | {"alone": runs("own", 20, fails=True)})
    assert holes(lake) == []
    several = [each for job in ("a", "b", "c") for each in runs(job, 20, fails=True)]
    tasks_of(lake, healthy | {"hole": several}, account="other")
    assert holes(lake) == ["hole"]


def test_a_pool_of_one_node_is_never_accused(lake: Lake) -> None:
    """There is nothing to compare it with."""
    tasks_of(lake, {"only": [x for job in "abcd" for x in runs(job, 20, fails=True)]})
    assert holes(lake) == []


@pytest.mark.parametrize(
    ("done", "is_hole"),
    [
        (runs("job", 10, fails=True), True),
        (runs("job", 9, fails=True), False),
        (runs("job", 10, fails=True, seconds=61), False),
        (runs("job", 10, fails=True, code=None), True),
        (runs("job", 5, fails=True, code=1) + runs("j2", 9, fails=True, code=2), False),
        (runs("job", 10, fails=True) + runs("j2", 3, fails=False), False),
        (runs("job", 12, fails=True) + runs("j2", 3, fails=False), True),
        (runs("job", 10, fails=True, code=0), True),
    ],
    ids=["ten", "nine", "slow", "no code", "other codes", "13", "12 of 15", "failed with 0"],
)
def test_many_short_failures_of_one_code(lake: Lake, done: Any, is_hole: bool) -> None:
    """Ten of a minute at most, with the same exit code, and four of five runs at least."""
    healthy = {f"n{i}": runs("job", 5, fails=False) + runs("j2", 5, fails=False) for i in "12"}
    tasks_of(lake, healthy | {"hole": done})
    assert holes(lake) == (["hole"] if is_hole else [])


def test_accounts_with_the_same_pool_and_node_ids_do_not_meet(lake: Lake) -> None:
    """What fails in one account is compared, counted and joined within it."""
    healthy = {f"n{i}": runs("job", 12, fails=False) for i in range(3)}
    tasks_of(lake, healthy, account="calm")
    tasks_of(lake, healthy | {"n0": runs("job", 12, fails=True)}, account="rough")
    (row,) = ask(lake, "black_hole_nodes")
    assert (row["account"], row["node_id"], row["other_nodes"]) == ("rough", "n0", 2)
    codes = ask(lake, "error_codes")
    assert [(row["account"], row["occurrences"]) for row in codes] == [("rough", 12)]
    both = ask(lake, "slot_utilisation", step="day")
    assert [(row["account"], row["tasks_failed"]) for row in both] == [("calm", 0), ("rough", 12)]


def test_a_reused_id_is_another_node(lake: Lake) -> None:
    """Its failures, its falls and its stays are its own; without a time of allocation too."""
    failed = runs("job", 6, fails=True)
    healthy = [node(f"n{i}", tasks=runs("job", 9, fails=False)) for i in range(3)]
    put(lake, "03:00", {"p": [node("x", "rebooting", "01:00", tasks=failed), *healthy]})
    again = [task(f"again-{i}", clock(200 + i), clock(200.1 + i), exit_code=7, result="failure")
             for i in range(6)]  # fmt: skip
    put(lake, "04:00", {"p": [node("x", "rebooting", "03:10", allocated="0 03:10", tasks=again),
                              *healthy]})  # fmt: skip
    assert holes(lake) == []
    assert holes(lake, failures=6) == ["x", "x"]
    stuck = ask(lake, "stuck_nodes")
    assert {
        (row["allocation_time"], row["certain_minutes"], row["is_stuck_now"]) for row in stuck
    } == {
        (at("00:00"), 120, False),
        (at("03:10"), 50, True),
    }
    assert ask(lake, "flapping_nodes", entries=1) == []


def test_an_unseen_way_out_of_trouble_counts(lake: Lake) -> None:
    """Unusable since a later time is a new fall, though no listing showed the node well between."""
    since = ["00:10", "00:20", "00:30", "00:40", "00:50", "01:00"]
    for i, start in enumerate(since):
        put(lake, clock(15 + 10 * i), {"p": [node("x", "unusable", start, allocated=None)]})
    (row,) = ask(lake, "flapping_nodes")
    assert (row["entries"], row["exits"], row["is_in_trouble_now"]) == (5, 5, True)
    assert row["shortest_hours"] == pytest.approx(40 / 60, abs=0.01)
    assert row["trouble_hours"] == pytest.approx(55 / 60, abs=0.01)
    assert ask(lake, "flapping_nodes", hours=0.6) == []


def test_from_one_trouble_to_another_is_one(lake: Lake) -> None:
    """A node that breaks and is rebooted fell once; one whose first state is trouble did not fall."""
    story = [("idle", "00:00"), ("unusable", "00:10"), ("rebooting", "00:20"), ("idle", "00:30")]
    for i, (state, since) in enumerate(story):
        put(
            lake, clock(1 + 10 * i), {"p": [node("x", state, since), node("y", "unknown", "00:00")]}
        )
    (row,) = ask(lake, "flapping_nodes", entries=1)
    assert (row["node_id"], row["entries"], row["exits"]) == ("x", 1, 1)
    assert row["trouble_hours"] == pytest.approx(20 / 60, abs=0.01)


def start_tasks(lake: Lake, failed: dict[str, list[float]], **parameters: Any) -> None:
    """Start tasks that failed at these minutes, each seen; a node each, but for retries."""
    when = sorted({minute for minutes in failed.values() for minute in minutes})
    for minute in [*when, when[-1] + 1]:
        nodes = []
        for name, minutes in failed.items():
            past = [m for m in minutes if m <= minute]
            told = {
                "start_task_state": "completed",
                "start_task_result": "failure",
                "start_task_start_time": clock(past[-1] - 0.5),
                "start_task_end_time": clock(past[-1]),
                "start_task_failure_code": "BlobAccessDenied",
            } if past else {}  # fmt: skip
            nodes.append(node(name, "starttaskfailed", **told))
        put(lake, clock(minute + 0.1), {"p": nodes}, **parameters)


def test_one_node_that_fails_again_and_again_is_no_storm(lake: Lake) -> None:
    """Nodes are counted, not failures."""
    start_tasks(lake, {"x": [10, 12, 14, 16, 18], "y": [11, 15]})
    assert ask(lake, "start_task_storms") == []
    (row,) = ask(lake, "start_task_storms", nodes=2)
    assert (row["nodes"], row["failed_runs"], row["peak_nodes"]) == (2, 7, 2)
    assert (row["started_at"], row["ended_at"]) == (at("00:10"), at("00:18"))


def test_a_trickle_is_no_storm_and_two_storms_are_two(lake: Lake) -> None:
    """One node every 20 minutes never makes three in half an hour."""
    start_tasks(lake, {f"n{i}": [20 + 20 * i] for i in range(12)})
    assert ask(lake, "start_task_storms") == []
    start_tasks(lake, {f"n{i}": [20 + i % 3 + 120 * (i // 3)] for i in range(6)}, account="two")
    rows = ask(lake, "start_task_storms")
    assert [(row["account"], row["nodes"], row["storm_minutes"]) for row in rows] == [
        ("two", 3, 2),
        ("two", 3, 2),
    ]


def test_a_storm_goes_on_over_midnight(lake: Lake) -> None:
    """It meets the runs of both days, and the one that began before midnight and ended after it."""
    start_tasks(lake, {"a": [1435], "b": [1440.25], "c": [1446], "d": [1475]})
    (row,) = ask(lake, "start_task_storms")
    assert (row["nodes"], row["pool_runs"], row["pool_failed_runs"]) == (3, 3, 3)
    assert (row["started_at"], row["ended_at"]) == (at("23:55"), at("24:06"))


def test_a_storms_half_hour_has_both_its_ends(lake: Lake) -> None:
    """The third node fails 30 minutes after the first, to the second: a storm."""
    start_tasks(lake, {"a": [10], "b": [25], "c": [40]})
    (row,) = ask(lake, "start_task_storms")
    assert (row["nodes"], row["storm_minutes"]) == (3, 30)
    assert ask(lake, "start_task_storms", minutes=29.9) == []


def test_many_starts_of_which_few_fail_are_no_storm(lake: Lake) -> None:
    """Three of thirty nodes that start together fail: a tenth, as on any day."""
    nodes = [
        node(
            f"n{i}",
            start_task_state="completed",
            start_task_result="failure" if i < 3 else "success",
            start_task_start_time="00:10",
            start_task_end_time=clock(11 + i / 10),
            start_task_exit_code=1 if i < 3 else 0,
            start_task_failure_code="FailureExitCode" if i < 3 else None,
        )
        for i in range(30)
    ]
    put(lake, "00:20", {"p": nodes})
    assert ask(lake, "start_task_storms") == []


def test_images_and_agents_of_a_moment(lake: Lake) -> None:
    """A node that has gone counts no more, one under its id counts anew, and numbers are numbers."""
    old = {"image_publisher": "c", "image_offer": "o", "image_sku": "s", "image_exact_version": "1"}
    new = old | {"image_exact_version": "2"}
    gallery = {"image_shared_gallery_image_id": "/g/3"}
    put(lake, "01:00", {"p": [node("a", node_agent_version="1.9.27", **old),
                              node("b", node_agent_version="1.9.27", **new)]})  # fmt: skip
    put(lake, "02:00", {"p": [node("a", node_agent_version="1.12.6", allocated="0 01:30", **gallery),
                              node("b", node_agent_version="1.9.27", **new)]})  # fmt: skip
    put(lake, "03:00", {"p": [node("b", **new)], "q": [node("a", **old)]})
    put(lake, "04:00", {"p": [node("b", **new)], "q": [node("a", **old)]})

    def images(**parameters: object) -> list[tuple[Any, ...]]:
        rows = ask(lake, "image_drift", **parameters)
        return [(r["pool_id"], r["image"], r["nodes"], r["is_newest"]) for r in rows]

    def agents(**parameters: object) -> list[tuple[Any, ...]]:
        rows = ask(lake, "agent_versions", **parameters)
        return [
            (r["pool_id"], r["node_agent_version"], r["newer_versions"], r["behind_hours"])
            for r in rows
        ]

    first, second = MONDAY + timedelta(hours=1.25), MONDAY + timedelta(hours=2.5)
    assert images() == []
    assert images(images=1) == [("p", "c o s 2", 1, True), ("q", "c o s 1", 1, True)]
    assert images(moment=first.isoformat()) == [
        ("p", "c o s 1", 1, False),
        ("p", "c o s 2", 1, True),
    ]
    assert images(moment=second.isoformat()) == [("p", "/g/3", 1, True), ("p", "c o s 2", 1, False)]
    assert agents() == [("p", None, None, None), ("q", None, None, None)]
    assert agents(moment=first.isoformat()) == [("p", "1.9.27", 0, None)]
    assert agents(moment=second.isoformat()) == [("p", "1.9.27", 1, 0.5), ("p", "1.12.6", 0, None)]
    assert agents(moment="2020-01-01") == []


def test_a_pool_that_never_got_a_node_is_in_the_census(lake: Lake) -> None:
    """It wanted five all the time; a kind that no one wanted is not reported."""
    wanted = {
        "current_dedicated_nodes": 0,
        "target_dedicated_nodes": 5,
        "current_low_priority_nodes": 0,
        "target_low_priority_nodes": 0,
    }
    for when in ("01:00", "02:00"):
        put(lake, when, {"p": Listing(columns=wanted), "q": [node("x", is_dedicated=None)]})
    rows = [
        (row["pool_id"], row["is_dedicated"], row["nodes_at_end"], row["listings_below_target"])
        for row in ask(lake, "census")
    ]
    assert rows == [("p", True, 0, 2), ("q", None, 1, 0)]


def test_an_error_counts_in_the_step_it_began_in(lake: Lake) -> None:
    """Over midnight it is one; shown again after a listing without it, it is another."""
    for when, errors in (("23:50", ["E"]), ("1 00:10", ["E"]), ("1 00:20", []), ("1 00:30", ["E"])):
        put(lake, when, {"p": [node("x", errors=errors)], "q": [node("y")]})
    rows = ask(lake, "error_codes")
    assert [(row["started_at"], row["occurrences"], row["pools"]) for row in rows] == [
        (MONDAY, 1, 1),
        (MONDAY + timedelta(days=1), 1, 1),
    ]
