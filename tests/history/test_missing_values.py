"""What rows around a midnight lack, no answer lacks: by rows, compacted, and with the rows expired.

Every case is a pool of one lake, named after the mechanism; its expected rows are written by hand.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipeline import query
from pipeline.lake import Lake
from tests.lakes import FAILED, at, node, put, task
from tests.simulator import service


def hidden(**given: Any) -> dict[str, Any]:
    """A malformed row: it shows nothing but that the node is there."""
    empty = {"is_malformed": True, "vm_size": None, "is_dedicated": None}
    return node("a", None, None, allocated="10:00", **empty | given)


def idle(since: str | None = "10:00", **given: Any) -> dict[str, Any]:
    """An idle node."""
    return node("a", "idle", since, **{"allocated": "10:00"} | given)


def run(start: str, result: str) -> dict[str, Any]:
    """A node whose start task ran at that time."""
    return idle(
        start_task_start_time=start,
        start_task_end_time=start,
        start_task_result=result,
        start_task_state="completed",
        start_task_exit_code=int(result == "failure"),
    )


def with_tasks(*tasks: dict[str, Any], **given: Any) -> dict[str, Any]:
    """A node with these recent tasks."""
    return node("a", "running", "23:00", **{"allocated": "10:00"} | given, tasks=tasks)


ENDED = task("t", "23:00", "23:40", exit_code=1, result="failure", failure_code="Bad")
BEGUN = task("t", "23:00")
GONE = None
AFTER = ("1 00:05", "1 00:10")
"""The day before sees no listing after these."""
FACTS_ONCE = idle(last_boot_time="10:00", errors=("DiskFull",))
KNOWN = node(
    "a", "running", "11:00", allocated="10:00", image_publisher="canonical", total_tasks_run=7
)
_OLD, _NEW = ({"start_task_definition_id": each} for each in ("old", "new"))

#: Pool -> moment of a complete listing of it -> its node then.
SHOWN: dict[str, Mapping[str, dict[str, Any] | None]] = {
    "malformed after midnight": {
        "12:00": idle(),
        "23:50": idle(),
        **dict.fromkeys(AFTER, hidden()),
        "1 00:15": node("a", "running", "23:55", allocated="10:00"),
    },
    "malformed since its allocation": {
        "19:00": GONE,
        **dict.fromkeys(("21:00", *AFTER), hidden() | {"allocation_time": at("20:00")}),
        "1 00:15": idle("20:30", allocated="20:00"),
    },
    "malformed, then gone": {"12:00": idle(), "23:50": hidden(), **dict.fromkeys(AFTER, GONE)},
    "no start of its state": {
        "22:00": GONE,
        **dict.fromkeys(("23:00", "23:50", *AFTER), idle(None, allocated="22:00:30")),
        "1 00:15": idle("22:30", allocated="22:00:30"),
    },
    "no size": {
        "23:00": idle(),
        **dict.fromkeys(("23:50", *AFTER, "1 00:15", "2 00:05"), idle(vm_size=None)),
    },
    "absent, then back": {"23:50": idle(), **dict.fromkeys(AFTER, GONE), "1 12:00": idle()},
    "task behind malformed rows": {
        "23:30": with_tasks(BEGUN),
        **dict.fromkeys(("23:50", *AFTER), hidden()),
        **dict.fromkeys(("1 00:15", "2 00:05"), with_tasks(ENDED)),
    },
    "task behind absences": {
        **dict.fromkeys(("23:30", "23:50"), with_tasks(BEGUN)),
        **dict.fromkeys(AFTER, GONE),
        **dict.fromkeys(("1 00:15", "2 00:05"), with_tasks(ENDED)),
    },
    "task that left and returned": {
        "23:50": with_tasks(ENDED),
        **dict.fromkeys(AFTER, with_tasks()),
        "1 12:00": with_tasks(ENDED),
        **dict.fromkeys(("2 00:05", "2 00:10"), with_tasks()),
        "2 12:00": with_tasks(ENDED),
    },
    "task that a row lacked": {
        "23:30": with_tasks(BEGUN),
        **dict.fromkeys(("23:50", "1 00:05"), with_tasks()),
        "1 12:00": with_tasks(ENDED),
    },
    "task of a row without allocation": {
        "23:50": with_tasks(ENDED),
        **dict.fromkeys(("1 12:00", "2 12:00"), with_tasks(ENDED, allocated=None)),
    },
    "known before it went": {"12:00": KNOWN, "23:50": hidden(), **dict.fromkeys(AFTER, GONE)},
    "shown once": {
        **dict.fromkeys(("12:00", "23:50"), FACTS_ONCE),
        **dict.fromkeys((*AFTER, "1 00:15"), hidden()),
        **dict.fromkeys(("1 12:00", "2 00:05"), FACTS_ONCE),
    },
    "error that ended between": {
        "12:00": idle(errors=("DiskFull",)),
        **dict.fromkeys(("23:50", *AFTER), hidden()),
        "1 12:00": idle(),
        **dict.fromkeys(("1 23:50", "2 00:05", "2 00:10"), hidden()),
        "2 12:00": idle(errors=("DiskFull",)),
    },
    "definition behind malformed rows": {
        "23:50": idle(**_OLD),
        **dict.fromkeys((*AFTER, "1 00:15"), hidden()),
        "1 12:00": idle(**_NEW, start_task_start_time="1 00:12"),
    },
    "totals behind rows without": {
        "12:00": idle(total_tasks_run=3),
        **dict.fromkeys(("23:50", *AFTER), idle()),
        **dict.fromkeys(("1 12:00", "2 12:00"), idle(total_tasks_run=8)),
    },
    "start tasks": {
        "06:00": idle(allocated="04:00"),
        "12:00": run("05:00", "failure") | {"allocation_time": at("04:00")},
        "13:00": run("11:00", "failure") | {"allocation_time": at("04:00")},
        "1 12:00": run("1 11:00", "success") | {"allocation_time": at("04:00")},
        "2 12:00": run("2 11:00", "failure") | {"allocation_time": at("04:00")},
    },
}


UNOBSERVED_5_MINUTES = {"unobserved": (0.0833, 0.0)}


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[query.Connection]]:
    """One lake by rows, with its first day compacted, with all days, with their rows expired."""
    root: Path = tmp_path_factory.mktemp("missing")
    lake = Lake(root / "rows")
    for when in sorted({when for shown in SHOWN.values() for when in shown}, key=at):
        pools: dict[str, Any] = {}
        for pool_id, shown in SHOWN.items():
            row = shown.get(when)
            # a moment of another pool only: a listing that failed proves nothing
            pools[pool_id] = FAILED if when not in shown else [] if row is None else [row]
        put(lake, when, pools)
    names = ("rows", "first day", "compacted", "expired")
    for before, name in itertools.pairwise(names):
        shutil.copytree(root / before, root / name)
    service.compact(Lake(root / "first day"), at("1 12:00"))
    for name in names[2:]:
        service.compact(Lake(root / name), at("9 00:00"))
    service.expire(Lake(root / "expired"), at("9 00:00"), date(2026, 11, 24))
    with ExitStack() as stack:
        yield [stack.enter_context(query.connect(root / name)) for name in names]


def answered(lakes: list[query.Connection], sql: str) -> list[tuple[Any, ...]]:
    """What a query answers, the same from every one of the lakes."""
    first, *others = (
        [tuple(row.values()) for row in connection.table(sql).to_pylist()] for connection in lakes
    )
    assert [first] * len(others) == others
    return first


def test_the_lakes_are_what_they_are_called(lakes: list[query.Connection]) -> None:
    """Otherwise the tests below would show less."""
    by_history = "select count(*) as n from history_days"
    rows = "select count(*) as n from nodes"
    assert [each.table(by_history).to_pylist()[0]["n"] for each in lakes] == [0, 1, 3, 3]
    assert [each.table(rows).to_pylist()[0]["n"] > 0 for each in lakes] == [True] * 3 + [False]


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (
            "malformed after midnight",
            {
                16: {
                    "idle": (13.8333, 13.8333),
                    "running": (0.0833, 0.0833),
                    **UNOBSERVED_5_MINUTES,
                },
                17: {"running": (0.25, 0.25)},
            },
        ),
        (
            "malformed since its allocation",
            {16: {"idle": (3.5, 3.5), "unobserved": (0.5, 0.0)}, 17: {"idle": (0.25, 0.25)}},
        ),
        (
            "malformed, then gone",
            {16: {"idle": (2.0, 2.0), "unobserved": (12.0, 0.0)}, 17: UNOBSERVED_5_MINUTES},
        ),
        (
            "no start of its state",
            {16: {"idle": (1.5, 1.5), "unobserved": (0.4917, 0.0)}, 17: {"idle": (0.25, 0.25)}},
        ),
        (
            "no size",
            {
                16: {"idle": (14.0, 14.0)},
                17: {"idle": (24.0, 24.0)},
                18: {"idle": (0.0833, 0.0833)},
            },
        ),
        ("absent, then back", {16: {"idle": (14.0, 14.0)}, 17: {"idle": (12.0, 12.0)}}),
    ],
)
def test_a_day_has_the_hours_of_a_node(
    lakes: list[query.Connection], pool: str, expected: dict[int, dict[str, tuple[float, float]]]
) -> None:
    """Those of each state, and those that no listing shows the state of, under the node's size."""
    sql = f"""
        select date, vm_size, is_dedicated, state, round(hours, 4), round(certain_hours, 4)
        from node_hours where pool_id = '{pool}' order by all
    """
    found: dict[int, dict[str, tuple[float, float]]] = {}
    for day, vm_size, is_dedicated, state, *hours in answered(lakes, sql):
        assert (vm_size, is_dedicated) == ("small", True)
        found.setdefault(day.day, {})[state] = (hours[0], hours[1])
    assert found == expected


@pytest.mark.parametrize("pool", [pool for pool in SHOWN if pool.startswith("task ")])
def test_a_task_that_ended_is_counted_once(lakes: list[query.Connection], pool: str) -> None:
    """In the hour in which it ended, and once among the failures."""
    where = f"where pool_id = '{pool}'"
    by_hour = f"select hour, tasks_finished, tasks_failed from pool_hours {where}"
    found = [row for row in answered(lakes, f"{by_hour} order by all") if row[1]]
    assert found == [(at("23:00"), 1, 1)]
    failures = f"select failure_code, sum(runs) from task_outcomes {where} and is_failed group by 1"
    assert answered(lakes, failures) == [("Bad", 1)]
    for connection in lakes:
        asked = connection.ask("error_codes", pool=pool, source="task").to_pylist()
        assert [row["occurrences"] for row in asked if row["pool_id"] == pool] == [1]


def test_an_incarnation_keeps_what_was_known_of_it(lakes: list[query.Connection]) -> None:
    """Size, kind, image, last state and total, though the last row before midnight shows none."""
    columns = "vm_size, is_dedicated, image_publisher, last_state, total_tasks_run, ended_before"
    for view in ("node_incarnations", "node_lifetimes"):
        found = answered(
            lakes, f"select {columns} from {view} where pool_id = 'known before it went'"
        )
        assert found == [("small", True, "canonical", "running", 7, at("1 00:05"))]


@pytest.mark.parametrize(
    "view", ["node_states", "state_intervals", "node_boots", "node_error_episodes"]
)
def test_malformed_rows_do_not_make_one_thing_two(lakes: list[query.Connection], view: str) -> None:
    """A state, a boot and an error around them are one each."""
    found = answered(lakes, f"select last_observed_at from {view} where pool_id = 'shown once'")
    assert found == [(at("2 00:05"),)]


def test_an_error_that_a_listing_between_does_not_show_is_two(
    lakes: list[query.Connection],
) -> None:
    """That listing is of a day whose window has no listing with the error."""
    sql = """
        select first_observed_at, started_after, ended_before
        from node_error_episodes where pool_id = 'error that ended between' order by all
    """
    assert answered(lakes, sql) == [
        (at("12:00"), None, at("1 12:00")),
        (at("2 12:00"), at("1 12:00"), None),
    ]


@pytest.mark.parametrize("view", ["start_task_runs", "start_task_begins"])
def test_a_definition_that_changed_behind_malformed_rows_is_not_certain(
    lakes: list[query.Connection], view: str
) -> None:
    """The last readable row before the run is another day's; every view says the same."""
    columns = "start_task_definition_id, is_definition_certain"
    where = "pool_id = 'definition behind malformed rows'"
    assert answered(lakes, f"select {columns} from {view} where {where}") == [("new", False)]


def test_tasks_missed_between_the_totals_of_two_days_are_counted(
    lakes: list[query.Connection],
) -> None:
    """Rows around the midnight lack totalTasksRun."""
    columns, where = "after, before, missed", "pool_id = 'totals behind rows without'"
    found = answered(lakes, f"select {columns} from task_gaps where {where}")
    assert found == [(at("12:00"), at("1 12:00"), 5)]


def test_a_failure_rate_is_the_same_once_the_rows_have_expired(
    lakes: list[query.Connection],
) -> None:
    """Of runs since the first listing, over everything and for a range after the first day."""
    expected = [(16, 1, 1), (17, 1, 0), (18, 1, 1)]
    for asked, days in (({}, expected), ({"from": at("1 00:00")}, expected[1:])):
        for connection in lakes:
            found = connection.ask("start_task_failure_rate", pool="start tasks", **asked)
            rates = [(r["day"].day, r["runs"], r["failed_runs"]) for r in found.to_pylist()]
            assert rates == days


def test_a_day_without_listings_is_read_from_rows_once_its_window_has_another(
    tmp_path: Path,
) -> None:
    """Its history was built before the listing that shows what state the node was in."""
    lake = Lake(tmp_path / "lake")
    put(lake, "23:00", {"p": [idle()]})
    put(lake, "2 10:00", {"p": [hidden()]})
    service.compact(lake, at("2 10:01"))
    put(lake, "2 10:05", {"p": [node("a", "running", "1 12:00", allocated="10:00")]})
    hours = "select state, hours from node_hours where date = date '2026-11-17' order by 1"
    for _ in range(2):
        with query.connect(lake) as connection:
            assert answered([connection], hours) == [("running", 12), ("unobserved", 12)]
        service.compact(lake, at("9 00:00"))


def test_history_is_not_used_once_a_listing_shows_the_allocation_of_its_rows(
    tmp_path: Path,
) -> None:
    """That listing lies beyond the window of the day whose rows lacked the allocation."""
    lake = Lake(tmp_path / "lake")
    for when in ("23:00", "23:30", "1 00:05", "1 00:10", "1 00:15", "1 00:20"):
        put(lake, when, {"p": [idle("22:00", allocated=None)]})
    service.compact(lake, at("2 12:00"))
    put(lake, "2 12:05", {"p": [idle("22:00", allocated="21:30")]})
    nodes = "select allocation_time, first_observed_at from node_incarnations"
    hours = "select state, hours from node_hours where date = date '2026-11-16' order by 1"
    for _ in range(2):
        with query.connect(lake) as connection:
            assert answered([connection], nodes) == [(at("21:30"), at("23:00"))]
            assert answered([connection], hours) == [("idle", 2), ("unobserved", 0.5)]
        service.compact(lake, at("9 00:00"))


def test_a_day_without_listings_of_an_account_without_pools_has_history(tmp_path: Path) -> None:
    """Otherwise expiry would take its history for lost."""
    lake = Lake(tmp_path / "lake")
    put(lake, "09:00", {"p": [idle()]})
    for day in (0, 1, 3, 4):  # of a run of listings without the pool only its ends are read
        for hour in range(10, 14):
            put(lake, f"{day} {hour}:00", {})
    service.compact(lake, at("9 00:00"))
    service.expire(lake, at("9 00:00"), date(2026, 11, 24))
    with query.connect(lake) as connection:
        days = answered([connection], "select date from history_days order by 1")
        assert [day.day for (day,) in days] == [16, 17, 18, 19, 20]
        assert len(answered([connection], "from node_incarnations")) == 1


def test_a_node_that_never_showed_a_state_has_hours(tmp_path: Path) -> None:
    """All its time is unobserved, while it is still listed too."""
    lake = Lake(tmp_path / "lake")
    put(lake, "09:00", {"p": []})
    for when in ("10:00", "12:00"):
        put(lake, when, {"p": [node("a", None, None, allocated="09:30")]})
    with query.connect(lake) as connection:
        hours = answered([connection], "select state, hours, certain_hours from node_hours")
        assert hours == [("unobserved", 2.5, 0)]
