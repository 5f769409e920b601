"""State intervals, and the questions that read them, on listings made by hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import query
from pipeline.lake import Lake
from tests.lakes import at, node, put

KEY = "account, pool_id, node_id, allocation_time, state, state_transition_time"


def spot(state: str, since: str, **columns: Any) -> dict[str, Any]:
    """A spot node."""
    return node("a", state, since, is_dedicated=False, **columns)


def test_abnormal_intervals_are_those_that_are_no_ordinary_work(lake: query.Connection) -> None:
    """On the planted fleet: other states, what they ended, and twelve hours of anything."""
    every = lake.table(f"select * from state_intervals order by {KEY}").to_pylist()
    work = ("idle", "running")
    expected = [
        row["state"] not in work
        or row["next_state"] not in (*work, None)
        or row["ended_after"] - row["state_transition_time"] >= timedelta(hours=12)
        for row in every
    ]
    assert expected == [row["is_abnormal"] for row in every]
    assert 0 < sum(expected) < len(every)


def test_a_machine_that_was_away_over_midnights_is_seen_to_be_back(tmp_path: Path) -> None:
    """No day but the last knows when the node worked again, and later troubles are none of it."""
    lake = Lake(tmp_path / "lake")
    put(lake, "09:00", {"p": [spot("idle", "08:00")]})
    put(lake, "10:00", {"p": [spot("preempted", "09:30")]})
    put(lake, "1 10:00", {"p": [spot("preempted", "09:30")]})
    put(lake, "1 22:00", {"p": [spot("starting", "1 21:00")]})
    put(lake, "2 10:00", {"p": [spot("starting", "1 21:00")]})
    put(lake, "2 11:00", {"p": [spot("idle", "2 10:30")]})
    put(lake, "2 12:00", {"p": [spot("unusable", "2 11:30")]})
    put(lake, "2 13:00", {"p": [spot("idle", "2 12:30")]})
    put(lake, "3 09:00", {"p": [spot("preempted", "3 08:00")]})
    put(lake, "3 10:00", {"p": [spot("idle", "3 09:30")]})
    with query.connect(lake) as connection:
        (row,) = connection.ask("preemptions").to_pylist()
        by_hour = connection.ask("preemptions_by_hour").to_pylist()
    away = [(48 + 10.5 - 9.5) * 60, 90]
    assert (row["preemptions"], row["recovered"]) == (2, 2)
    assert pytest.approx(sum(away) / 2) == row["p50_minutes_to_recover"]
    # allocated at 0:00; created again when the first preemption was over, a day and a half later
    assert pytest.approx((9.5 + 72 + 8 - 45) / 2) == row["p50_hours_to_preempt"]
    watched = 72 + 10 - 9 - (45 - 9.5) - 1.5
    assert pytest.approx(watched) == row["node_hours"]
    assert pytest.approx(watched) == sum(hour["node_hours"] for hour in by_hour)
    told = {r["hour_of_day"]: r["p50_minutes_to_recover"] for r in by_hour if r["preemptions"]}
    assert pytest.approx({9: away[0], 8: away[1]}) == told


def test_a_machine_that_was_absent_and_came_back_is_watched_once(tmp_path: Path) -> None:
    """Two days list it first and two last; ids and times that another pool has too are another's."""
    lake = Lake(tmp_path / "lake")
    other = {"q": [node("a", "idle", "08:00", is_dedicated=False)]}
    put(lake, "09:00", {"p": [spot("idle", "08:00")], **other})
    put(lake, "10:00", {"p": [spot("preempted", "09:30")], **other})
    put(lake, "11:00", {"p": [], **other})
    put(lake, "12:00", {"p": [], **other})
    put(lake, "1 08:00", {"p": [], **other})
    put(lake, "1 09:00", {"p": [], **other})
    put(lake, "1 10:00", {"p": [spot("preempted", "09:30")], **other})
    put(lake, "1 11:00", {"p": [spot("idle", "1 10:30")], **other})
    put(lake, "1 20:00", {"p": [spot("preempted", "1 19:30")], **other})
    put(lake, "1 22:00", {"p": [spot("idle", "1 21:00")], **other})
    keyed = "select pool_id, incarnation_key as key from {} order by pool_id"
    with query.connect(lake) as connection:
        days = connection.table("select date from daily_node_incarnations where is_last").num_rows
        lifetimes = connection.table(keyed.format("node_lifetimes")).to_pylist()
        startups = connection.table(keyed.format("node_startups")).to_pylist()
        found = connection.ask("preemptions").to_pylist()
        by_hour = connection.ask("preemptions_by_hour").to_pylist()
    assert days == 3  # two days thought that they listed it last
    assert ["p", "q"] == [row["pool_id"] for row in lifetimes]
    assert lifetimes == startups
    assert len({row["key"] for row in lifetimes}) == 2
    hours = {row["pool_id"]: row["node_hours"] for row in found}
    assert pytest.approx({"p": 37 - 25 - 1.5, "q": 37}) == hours
    for pool, whole in hours.items():
        assert pytest.approx(whole) == sum(r["node_hours"] for r in by_hour if r["pool_id"] == pool)
    (row,) = (row for row in found if row["pool_id"] == "p")
    assert (row["preemptions"], row["nodes_preempted"], row["recovered"]) == (2, 1, 2)
    assert pytest.approx((25 + 1.5) / 2 * 60) == row["p50_minutes_to_recover"]


@pytest.mark.parametrize("most", [1, 2, 3, 5, 9])
def test_the_longest_streaks_are_found_whether_they_are_long_or_not(
    tmp_path: Path, most: int
) -> None:
    """Four of twelve hours or more, five shorter ones: whichever are needed."""
    lake = Lake(tmp_path / "lake")
    names = {f"n{hours}": hours for hours in (20, 16, 13, 12, 11, 7, 5, 3, 2)}
    for clock in range(22):
        nodes = [
            node(name, "idle", "00:00") if clock <= hours else node(name, "running", f"{hours}:30")
            for name, hours in names.items()
        ]
        put(lake, f"{clock}:00", {"p": nodes})
    with query.connect(lake) as connection:
        found = connection.ask("idle_streaks", rows=most).to_pylist()
        late = connection.ask("idle_streaks", rows=most, **{"from": at("01:00")}).to_pylist()
        long = connection.ask("idle_streaks", hours=12.5).to_pylist()
    hours = sorted(names.values(), reverse=True)
    assert hours[:most] == [row["idle_hours"] for row in found]
    assert [h - 1 for h in hours[:most] if h >= 2] == [row["idle_hours"] for row in late]
    assert [20, 16, 13] == [row["idle_hours"] for row in long]
