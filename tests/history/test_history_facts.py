"""Tasks, start tasks, boots, errors, configurations and pool hours from hand-made listings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import query, schema
from pipeline.lake import Lake
from pipeline.schema import facts
from tests.lakes import FAILED, Listing, at, node, put, task
from tests.service import one, rows


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def test_every_view_is_typed_and_empty_where_the_lake_is(lake: Lake) -> None:
    """The columns that are declared, their types and docs, and no row."""
    with query.connect(lake) as connection:
        for fact in facts.FACTS.values():
            found = connection.table(f"from {fact.name}")
            assert found.num_rows == 0
            expected = {column.name: column.type for column in fact.shown}
            if fact.is_daily:
                assert found.column_names[0] == "date"
                found = found.drop_columns("date")
            assert {field.name: field.type for field in found.schema} == expected
            docs = connection.table(
                "select column_name, comment from duckdb_columns() "
                f"where table_name = '{fact.name}' and column_name <> 'date'"
            ).to_pylist()
            assert {row["column_name"]: row["comment"] for row in docs} == {
                column.name: column.doc for column in fact.shown
            }


def test_pool_hours_count_every_known_state() -> None:
    """A state that the schema gains needs its column."""
    names = {each.column.name for each in facts.POOL_HOURS.columns}
    assert {f"nodes_{state}" for state in schema.NODE_STATES} <= names


def test_a_task_run_is_harvested_once_and_its_last_observation_wins(lake: Lake) -> None:
    """Running, then completed, then slid out of the window: one row, as it was last seen."""
    put(lake, "10:00", {"p": [node("a", tasks=[task("t", "09:58")])]})
    put(lake, "10:05", {"p": [node("a", tasks=[task("t", "09:58", "10:03", exit_code=3)])]})
    put(lake, "10:10", {"p": [node("a")]})
    found = one(lake, "from task_runs")
    expected = {
        "start_time": at("09:58"),
        "end_time": at("10:03"),
        "exit_code": 3,
        "first_observed_at": at("10:00"),
        "last_observed_at": at("10:05"),
        "first_completed_at": at("10:05"),
        "is_provisional": False,
    }
    assert expected == {key: found[key] for key in expected}


def test_the_last_observation_wins_with_its_nulls_too(lake: Lake) -> None:
    """What it does not say any more is not taken from an earlier one."""
    first = task("t", "09:58", failure_code="TaskLaunchFailed", container_error="no")
    put(lake, "10:00", {"p": [node("a", tasks=[first])]})
    put(lake, "10:05", {"p": [node("a", tasks=[task("t", "09:58", "10:03")])]})
    found = one(lake, "from task_runs")
    assert (found["failure_code"], found["container_error"]) == (None, None)


def test_a_retry_is_a_run_of_its_own(lake: Lake) -> None:
    """The service gives each attempt a start_time; subtasks are runs of their own too."""
    put(lake, "10:00", {"p": [node("a", tasks=[task("t", "09:58", subtask_id=1),
                                               task("t", "09:58", subtask_id=2)])]})  # fmt: skip
    put(lake, "10:05", {"p": [node("a", tasks=[task("t", "10:01", subtask_id=1, retry_count=1)])]})
    found = rows(lake, "select subtask_id, start_time from task_runs order by 1, 2")
    assert [tuple(row.values()) for row in found] == [
        (1, at("09:58")),
        (1, at("10:01")),
        (2, at("09:58")),
    ]


def test_a_task_without_a_start_is_provisional_until_it_was_seen_to_begin(lake: Lake) -> None:
    """Then the run takes its place; one that never began stays, and says so."""
    put(lake, "10:00", {"p": [node("a", tasks=[task("t", None), task("never", None)])]})
    put(lake, "10:05", {"p": [node("a", tasks=[task("t", "10:02")])]})
    found = rows(lake, "select task_id, start_time, is_provisional from task_runs order by 1")
    assert [tuple(row.values()) for row in found] == [
        ("never", None, True),
        ("t", at("10:02"), False),
    ]


def test_the_same_task_on_two_incarnations_is_two_runs(lake: Lake) -> None:
    """A run belongs to the machine it ran on, whatever its id."""
    put(lake, "10:00", {"p": [node("a", allocated="08:00", tasks=[task("t", "09:58")])]})
    put(lake, "10:05", {"p": [node("a", allocated="10:01", tasks=[task("t", "09:58")])]})
    assert one(lake, "select count(*) as n from task_runs")["n"] == 2


def gaps(lake: Lake) -> list[tuple[Any, ...]]:
    """(after, before, missed) of every gap."""
    found = rows(lake, "select after, before, missed from task_gaps order by 1")
    return [tuple(row.values()) for row in found]


def test_runs_that_no_listing_showed_completed_are_counted(lake: Lake) -> None:
    """The total rose by 5, two runs were seen completed: three were missed, between these listings."""
    put(lake, "10:00", {"p": [node("a", total_tasks_run=7, tasks=[task("t", "09:58")])]})
    put(
        lake,
        "10:05",
        {
            "p": [
                node(
                    "a",
                    total_tasks_run=12,
                    tasks=[task("t", "09:58", "10:01"), task("u", "10:02", "10:03")],
                )
            ]
        },
    )
    put(lake, "10:10", {"p": [node("a", total_tasks_run=12, tasks=[task("u", "10:02", "10:03")])]})
    assert gaps(lake) == [(at("10:00"), at("10:05"), 3)]


def test_what_completed_before_the_first_listing_is_no_gap(lake: Lake) -> None:
    """Nor is a total that falls, a total that is missing, a malformed row, or another incarnation."""
    put(lake, "10:00", {"p": [node("a", allocated="08:00", total_tasks_run=100)]})
    put(lake, "10:05", {"p": [node("a", allocated="08:00", total_tasks_run=None)]})
    put(lake, "10:10", {"p": [node("a", allocated="08:00", total_tasks_run=90)]})
    put(lake, "10:15", {"p": [node("a", None, None, allocated=None, is_malformed=True)]})
    put(lake, "10:20", {"p": [node("a", allocated="10:18", total_tasks_run=95)]})
    assert gaps(lake) == []


def test_a_gap_over_a_failed_listing_reaches_from_listing_to_listing(lake: Lake) -> None:
    """after and before are listings that showed the node."""
    put(lake, "10:00", {"p": [node("a", total_tasks_run=1)]})
    put(lake, "10:05", {"p": FAILED})
    put(lake, "10:10", {"p": [node("a", total_tasks_run=3)]})
    assert gaps(lake) == [(at("10:00"), at("10:10"), 2)]


def start_task(definition: str, start: str, **columns: Any) -> dict[str, Any]:
    """The columns of a node whose start task runs."""
    return {
        "start_task_id": f"{definition}-id",
        "start_task_definition_id": definition,
        "start_task_state": "running",
        "start_task_start_time": start,
        **columns,
    }


def test_a_start_task_run_has_the_definition_of_its_first_observation(lake: Lake) -> None:
    """Somebody changes it while the node carries an old run: the run stays that of the old one."""
    old, new = start_task("old", "09:58"), start_task("new", "09:58")
    put(lake, "10:00", {"p": [node("a", **old)]})
    put(lake, "10:05", {"p": [node("a", **new, start_task_end_time="10:03",
                                   start_task_result="failure", start_task_exit_code=9)]})  # fmt: skip
    found = one(lake, "from start_task_runs")
    expected = {
        "start_task_definition_id": "old",
        "start_task_id": "old-id",
        "is_definition_certain": True,
        "end_time": at("10:03"),
        "exit_code": 9,
        "result": "failure",
    }
    assert expected == {key: found[key] for key in expected}


@pytest.mark.parametrize(("before", "certain"), [("new", True), ("old", False), (None, True)])
def test_a_definition_that_changed_just_before_is_not_certain(
    lake: Lake, before: str | None, certain: bool
) -> None:
    """Between two listings both the definition changed and the run began: which came first?"""
    if before is not None:
        put(lake, "10:00", {"p": [node("a", **start_task(before, "09:00"))]})
    put(lake, "10:05", {"p": [node("a", **start_task("new", "10:02"))]})
    found = one(lake, f"from start_task_runs where start_time = '{at('10:02')}'")
    assert found["is_definition_certain"] is certain


def test_each_start_is_a_run(lake: Lake) -> None:
    """startTime is reset on each retry: every one that was seen is there."""
    for minute in (0, 5, 10):
        start = f"09:{55 if minute < 10 else 59}"
        put(lake, f"10:{minute:02}", {"p": [node("a", **start_task("d", start))]})
    found = rows(lake, "select start_time from start_task_runs order by 1")
    assert [row["start_time"] for row in found] == [at("09:55"), at("09:59")]


def test_every_boot_that_was_seen_is_one(lake: Lake) -> None:
    """lastBootTime is absent while a node starts; the boots before and after it are two."""
    put(lake, "10:00", {"p": [node("a", last_boot_time="09:00")]})
    put(lake, "10:05", {"p": [node("a", "starting", "10:04", last_boot_time="09:00")]})
    put(lake, "10:10", {"p": [node("a", "starting", "10:04")]})
    put(lake, "10:15", {"p": [node("a", "idle", "10:14", last_boot_time="10:13")]})
    found = rows(lake, "select boot_time, last_observed_at from node_boots order by 1")
    assert [tuple(row.values()) for row in found] == [
        (at("09:00"), at("10:05")),
        (at("10:13"), at("10:15")),
    ]


def episodes(lake: Lake) -> list[tuple[Any, ...]]:
    """(code, started_after, first, last, ended_before) of every episode."""
    found = rows(
        lake,
        "select code, started_after, first_observed_at, last_observed_at, ended_before "
        "from node_error_episodes order by 1, 3",
    )
    return [tuple(row.values()) for row in found]


def test_an_error_that_comes_again_is_two_episodes(lake: Lake) -> None:
    """A listing of the node without it lies between; failed listings do not part it."""
    put(lake, "10:00", {"p": [node("a")]})
    put(lake, "10:05", {"p": [node("a", errors=["DiskFull"])]})
    put(lake, "10:10", {"p": FAILED})
    put(lake, "10:15", {"p": [node("a", None, None, is_malformed=True)]})
    put(lake, "10:20", {"p": [node("a", errors=["DiskFull", "Other"])]})
    put(lake, "10:25", {"p": [node("a")]})
    put(lake, "10:30", {"p": [node("a", errors=["DiskFull"])]})
    assert episodes(lake) == [
        ("DiskFull", at("10:00"), at("10:05"), at("10:20"), at("10:25")),
        ("DiskFull", at("10:25"), at("10:30"), at("10:30"), None),
        ("Other", at("10:05"), at("10:20"), at("10:20"), at("10:25")),
    ]


@pytest.mark.parametrize("between", [(), ("1 12:00",)], ids=["unseen", "seen without"])
def test_an_error_is_joined_over_days_unless_a_listing_shows_otherwise(
    lake: Lake, between: tuple[str, ...]
) -> None:
    """Days are made apart and joined as gaps and islands."""
    for when in ("23:50", "23:55", "1 00:00", "1 00:05", "1 00:10"):
        put(lake, when, {"p": [node("a", errors=["DiskFull"])]})
    for when in between:
        put(lake, when, {"p": [node("a")]})
    put(lake, "2 12:00", {"p": [node("a", errors=["DiskFull"])]})
    whole = ("DiskFull", None, at("23:50"), at("2 12:00"), None)
    parts = [
        ("DiskFull", None, at("23:50"), at("1 00:10"), at("1 12:00")),
        ("DiskFull", at("1 12:00"), at("2 12:00"), at("2 12:00"), None),
    ]
    assert episodes(lake) == (parts if between else [whole])


def test_a_configuration_lasts_until_a_listing_shows_another(lake: Lake) -> None:
    """Over midnight too; a value that comes back makes a new interval."""
    for when, version in (
        ("23:50", "1"),
        ("23:55", "1"),
        ("1 00:00", "2"),
        ("1 00:05", "2"),
        ("1 00:10", "1"),
        ("2 00:10", "1"),
    ):
        put(lake, when, {"p": [node("a", node_agent_version=version)]})
    found = rows(
        lake,
        "select node_agent_version, started_after, first_observed_at, last_observed_at, "
        "ended_before from node_config_intervals order by 3",
    )
    assert [tuple(row.values()) for row in found] == [
        ("1", None, at("23:50"), at("23:55"), at("1 00:00")),
        ("2", at("23:55"), at("1 00:00"), at("1 00:05"), at("1 00:10")),
        ("1", at("1 00:05"), at("1 00:10"), at("2 00:10"), None),
    ]


@pytest.mark.parametrize(
    "column",
    [
        "node_agent_version",
        "image_publisher",
        "image_offer",
        "image_sku",
        "image_exact_version",
        "image_virtual_machine_image_id",
        "start_task_id",
        "scheduling_state",
    ],
)
def test_each_value_of_a_configuration_makes_an_interval(lake: Lake, column: str) -> None:
    """A change of any of them, null included, is a change."""
    for minute, value in ((0, None), (5, "x"), (10, "y")):
        put(lake, f"10:{minute:02}", {"p": [node("a", **{column: value})]})
    found = rows(lake, f"select {column} from node_config_intervals order by first_observed_at")
    assert [row[column] for row in found] == [None, "x", "y"]


def test_pool_hours_are_means_over_the_complete_listings_of_the_hour(lake: Lake) -> None:
    """Nodes by state, slots and running slots; a partial listing has no part in them."""
    busy = node("b", "running", "09:00", running_task_slots_count=2)
    put(lake, "10:00", {"p": Listing([node("a"), busy], columns={"task_slots_per_node": 4})})
    put(lake, "10:30", {"p": Listing([busy], columns={"task_slots_per_node": 4})})
    put(lake, "10:45", {"p": Listing([], "partial")})
    found = one(lake, "from pool_hours")
    expected = {
        "hour": at("10:00"),
        "listings": 2,
        "nodes": 1.5,
        "nodes_idle": 0.5,
        "nodes_running": 1.0,
        "nodes_other": 0.0,
        "slots": 6.0,
        "running_slots": 2.0,
        "tasks_finished": 0,
    }
    assert expected == {key: found[key] for key in expected}


def test_a_task_counts_in_the_hour_it_ended(lake: Lake) -> None:
    """Seen an hour or a day later, it counts where it ended, and once."""
    put(lake, "22:30", {"p": [node("a")]})
    ended = [
        task("t", "22:00", "22:40"),
        task("u", "22:00", "23:10", result="failure", exit_code=1),
    ]
    put(lake, "1 00:30", {"p": [node("a", tasks=ended)]})
    put(lake, "1 00:35", {"p": [node("a", tasks=ended)]})
    found = rows(
        lake,
        "select date, hour, listings, nodes, tasks_finished, tasks_failed from pool_hours "
        "order by hour",
    )
    assert [tuple(row.values()) for row in found] == [
        (at("00:00").date(), at("22:00"), 1, 1.0, 1, 0),
        (at("00:00").date(), at("23:00"), 0, None, 1, 1),
        (at("1 00:00").date(), at("1 00:00"), 2, 1.0, 0, 0),
    ]


def test_an_empty_pool_has_its_hours(lake: Lake) -> None:
    """No node listed is zero nodes, not an hour without a listing."""
    put(lake, "10:00", {"p": []})
    found = one(lake, "select listings, nodes, slots from pool_hours")
    assert tuple(found.values()) == (1, 0.0, 0.0)
