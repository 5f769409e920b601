"""A node's story against the emulator's truth, on handwritten lakes, and as the command prints it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli, query
from pipeline.cli import story
from pipeline.emulator import Emulator, Fleet
from pipeline.lake import Lake
from tests.lakes import FAILED, MONDAY, at, node, partial, put, task
from tests.score import fleet_config
from tests.service import Service

START = datetime(2026, 11, 16, 3, 0, 0, 400_000, tzinfo=UTC)
POLL = timedelta(minutes=5)
ALLOWED = timedelta(seconds=2)  # a Date header is cut to the second
Key = tuple[Any, ...]
Row = dict[str, Any]


@dataclass
class Watched:
    """A fleet that was polled without a fault: its truth, its lake, and when it was looked at."""

    fleet: Fleet
    lake: Lake
    polls: list[datetime] = field(default_factory=list)
    shown_tasks: set[Key] = field(default_factory=set)
    """Task runs that a node's JSON showed: (pool, node, job, task, subtask, start)."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Nine hours of a small fleet whose nodes fail, go and come back under the same id."""
    fleet = Fleet(fleet_config(0.5), seed=5, start=START)
    service = Service(Emulator(fleet, page_limit=50))
    made = Watched(fleet, Lake(tmp_path_factory.mktemp("watched")))
    for number in range(9 * 12):
        fleet.advance(START + number * POLL)
        made.polls.append(fleet.now)
        service.run(made.lake)
        with service.client() as client:
            for pool in _pools(client):
                for page in client.nodes(pool):
                    for each in json.loads(page.body)["value"]:
                        made.shown_tasks |= {
                            _task(pool, each, x) for x in each.get("recentTasks", ())
                        }
    return made


def _pools(client: Any) -> list[str]:
    return [each["id"] for page in client.pools() for each in json.loads(page.body)["value"]]


def _task(pool: str, document: Row, shown: Row) -> Key:
    info = shown["executionInfo"]
    began = datetime.fromisoformat(info["startTime"])
    name = f"{shown['jobId']}/{shown['taskId']}"
    name += f"/{shown['subtaskId']}" if "subtaskId" in shown else ""
    return pool, document["id"], name, began


@pytest.fixture(scope="module")
def stories(watched: Watched) -> list[Row]:
    """The story of every node, each task by itself."""
    with query.connect(watched.lake) as connection:
        rows: list[Row] = connection.ask("node_story", tasks=True).to_pylist()
    return rows


def told(rows: list[Row], kind: str) -> Counter[Key]:
    """How often each event of a kind is shown: pool, node, what, when it began."""
    return Counter(
        (row["pool_id"], row["node_id"], row["what"], row["began_at"])
        for row in rows
        if row["kind"] == kind
    )


def test_every_story_is_in_order(stories: list[Row]) -> None:
    """Machine after machine, and each in order of time."""
    assert stories
    by_node = defaultdict(list)
    for row in stories:
        by_node[row["pool_id"], row["node_id"]].append((row["life"], row["began_at"]))
    for events in by_node.values():
        assert events == sorted(events)


def test_every_state_that_a_poll_met_is_shown_once(watched: Watched, stories: list[Row]) -> None:
    """Its start exact, its end inside the bounds; and no state that was not."""
    truth = {}
    for each in watched.fleet.truth.states:
        end = each.ended_at or watched.polls[-1]
        if any(each.started_at <= poll <= end and poll != each.ended_at for poll in watched.polls):
            truth[each.pool_id, each.node_id, each.state, each.started_at] = each
    found = told(stories, "state")
    assert set(found) == set(truth)
    assert set(found.values()) == {1}
    for row in stories:
        if row["kind"] == "state":
            key = row["pool_id"], row["node_id"], row["what"], row["began_at"]
            end = truth[key].ended_at
            assert end is None or row["ended_after"] - ALLOWED <= end
            if row["ended_before"] is not None:
                assert end is not None
                assert end <= row["ended_before"] + ALLOWED


def test_every_life_is_shown_from_end_to_end(watched: Watched, stories: list[Row]) -> None:
    """Allocated when it was, once; gone within the bounds; a number for each machine of an id."""
    truth = {}
    for each in watched.fleet.truth.memberships:
        end = each.ended_at or watched.polls[-1] + POLL
        if any(each.started_at <= poll < end for poll in watched.polls):
            truth[each.pool_id, each.node_id, each.allocation_time] = each
    lives = [row for row in stories if row["kind"] == "life"]
    keys = {
        what: Counter(
            (row["pool_id"], row["node_id"], row["allocation_time"])
            for row in lives
            if row["what"] == what
        )
        for what in ("allocated", "gone", "last seen")
    }
    assert keys["allocated"] == Counter(truth.keys())
    assert keys["gone"] + keys["last seen"] == Counter(truth.keys())
    left = {key: each.ended_at for key, each in truth.items() if each.ended_at is not None}
    # what left after the poll before the last one may not be proven yet
    assert {key for key, end in left.items() if end < watched.polls[-2]} <= set(keys["gone"])
    for row in lives:
        if row["what"] == "gone":
            end = left[row["pool_id"], row["node_id"], row["allocation_time"]]
            assert row["began_after"] - ALLOWED <= end <= row["began_at"] + ALLOWED
        elif row["what"] == "allocated":
            assert (row["began_after"], row["began_at"]) == (None, row["allocation_time"])
    assert max(row["life"] for row in stories) > 1


def test_every_boot_and_start_task_that_a_poll_met_is_shown_once(
    watched: Watched, stories: list[Row]
) -> None:
    """Those of before the record too, where they still show; with the exit code they had."""
    truth = watched.fleet.truth
    boots = {(each.pool_id, each.node_id, "booted", each.started_at) for each in truth.boots}
    found = told(stories, "boot")
    assert set(found.values()) == {1}
    assert {key for key in found if key[3] >= START} <= boots
    runs = {(each.pool_id, each.node_id, each.started_at): each for each in truth.start_task_runs}
    seen = Counter()
    for row in stories:
        key = row["pool_id"], row["node_id"], row["began_at"]
        if row["kind"] != "start task" or key not in runs:
            continue
        seen[key] += 1
        run = runs[key]
        if row["what"] in ("succeeded", "failed"):
            assert (run.ended_at, run.outcome) == (
                row["ended_before"],
                {"succeeded": "success", "failed": "failure"}[row["what"]],
            )
            code = re.match(r"exit code (\d+)", row["detail"])
            assert run.exit_code == (int(code[1]) if code else None)
    assert set(seen.values()) == {1}
    # one that was going on at a poll was seen
    going_on = {
        key
        for key, run in runs.items()
        if any(run.started_at <= poll < (run.ended_at or poll) for poll in watched.polls)
    }
    assert going_on
    assert going_on <= set(seen)
    # and a boot that was the last one at a poll
    last = {
        max((b for b in boots if b[:2] == (each.pool_id, each.node_id) and b[3] <= each.started_at),
            key=lambda b: b[3], default=None)
        for each in truth.states
        if each.state == "running" and any(
            each.started_at <= poll < (each.ended_at or poll) for poll in watched.polls
        )
    }  # fmt: skip
    assert last - {None} <= set(found)


def test_every_task_that_a_nodes_json_showed_is_shown_once(
    watched: Watched, stories: list[Row]
) -> None:
    """By job, task and start, and with how it really ended."""
    found = {key: n for key, n in told(stories, "task").items() if not key[2].endswith(" more")}
    assert set(found) == watched.shown_tasks
    assert set(found.values()) == {1}
    runs = {
        (e.pool_id, e.node_id, e.job_id, e.task_id, e.subtask_id, e.started_at): e
        for e in watched.fleet.truth.task_runs
    }
    ended = 0
    for row in stories:
        if row["kind"] != "task" or not re.match("succeeded|failed", row["detail"]):
            continue
        job, name, *subtask = row["what"].split("/")
        number = int(subtask[0]) if subtask else None
        key = row["pool_id"], row["node_id"], job, name, number, row["began_at"]
        if key in runs:  # what began before the truth log is not in it
            ended += 1
            outcome = {"success": "succeeded", "failure": "failed"}[str(runs[key].outcome)]
            assert row["detail"].startswith(outcome)
            assert row["ended_after"] == row["ended_before"] == runs[key].ended_at
    assert ended > 100


def test_every_error_that_a_poll_met_is_reported(watched: Watched, stories: list[Row]) -> None:
    """It began and ended within the bounds; one that a poll met is in the story."""
    truth = watched.fleet.truth.errors
    rows = [row for row in stories if row["kind"] == "error"]
    assert rows
    for row in rows:
        assert any(
            each.pool_id == row["pool_id"]
            and each.node_id == row["node_id"]
            and each.code == row["what"]
            and (row["began_after"] or START - timedelta(days=90)) - ALLOWED <= each.started_at
            and each.started_at <= row["began_at"] + ALLOWED
            for each in truth
        )
    for each in truth:
        met = [p for p in watched.polls if each.started_at <= p < (each.ended_at or p + POLL)]
        if met:
            (row,) = (
                row
                for row in rows
                if (row["pool_id"], row["node_id"], row["what"])
                == (each.pool_id, each.node_id, each.code)
                and row["began_at"] - ALLOWED <= met[0] <= row["ended_after"] + ALLOWED
            )


def test_a_short_story_shows_the_same(watched: Watched, stories: list[Row]) -> None:
    """Stretches of work hold every task once, and every event that is none is as it was."""
    with query.connect(watched.lake) as connection:
        short = connection.ask("node_story").to_pylist()
    assert len(short) < len(stories) / 2

    def is_ordinary(row: Row) -> bool:
        return row["kind"] in ("task", "work") or row["what"] in ("idle", "running")

    assert [row for row in short if not is_ordinary(row)] == [
        row for row in stories if not is_ordinary(row)
    ]
    succeeded = sum(row["detail"] == "succeeded" for row in stories if row["kind"] == "task")
    counted = sum(
        int(match[1]) for row in short if (match := re.search(r"tasks?, (\d+) succ", row["what"]))
    ) + sum(row["kind"] == "task" and row["detail"] == "succeeded" for row in short)
    assert counted == succeeded
    assert counted > 100


# By hand: what a fault-free fleet does not show.


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def asked(lake: Lake, **given: object) -> list[tuple[Any, ...]]:
    """The story of node n: kind, what, detail, and its four times, in hours and minutes."""
    with query.connect(lake) as connection:
        rows = connection.ask("node_story", pool="p", node="n", **given).to_pylist()

    def clock(time: datetime | None) -> str | None:
        return time and f"{(time - MONDAY) // timedelta(hours=1)}:{time:%M}"

    names = ("began_after", "began_at", "ended_after", "ended_before")
    return [(r["kind"], r["what"], r["detail"], *(clock(r[name]) for name in names)) for r in rows]


def test_a_time_without_a_listing_is_a_gap(lake: Lake) -> None:
    """It says why: no snapshot, listings that failed, broke off, or did not have the node."""
    for minute in ("00:00", "00:05", "01:00"):
        put(lake, minute, {"p": [node("n")]})
    put(lake, "01:10", {"p": FAILED})
    put(lake, "01:20", {"p": partial()})
    put(lake, "01:30", {"p": [node("m")]})
    put(lake, "01:40", {})
    put(lake, "02:00", {"p": [node("n")]})
    gaps = [row for row in asked(lake, gap_minutes=15) if row[0] == "gap"]
    assert gaps == [
        ("gap", "not seen", "no snapshot was taken", None, "0:05", "1:00", "1:00"),
        (
            "gap",
            "not seen",
            "1 listings failed, 1 broke off, 1 did not have it, 1 snapshots without its pool",
            None,
            "1:00",
            "2:00",
            "2:00",
        ),
    ]  # fmt: skip
    assert [row for row in asked(lake, gap_minutes=60) if row[0] == "gap"] == []


def test_rare_polls_are_no_gaps(lake: Lake) -> None:
    """Where listings are an hour apart, an hour is no gap; five are."""
    for hour in (0, 1, 2, 3, 8, 9, 10):
        put(lake, f"{hour:02}:00", {"p": [node("n")]})
    gaps = [row[1:] for row in asked(lake) if row[0] == "gap"]
    assert gaps == [("not seen", "no snapshot was taken", None, "3:00", "8:00", "8:00")]


def test_changes_of_its_setup_are_shown_one_by_one(lake: Lake) -> None:
    """Agent, image, scheduling, start task: each between the listings that show it."""
    put(lake, "00:00", {"p": [node("n", node_agent_version="1", scheduling_state="enabled")]})
    # absent while it starts: no change
    put(lake, "00:05", {"p": [node("n", scheduling_state="enabled")]})
    put(lake, "00:10", {"p": [node("n", node_agent_version="1", scheduling_state="disabled")]})
    put(lake, "00:15", {"p": [node("n", node_agent_version="2", scheduling_state="disabled")]})
    assert [row for row in asked(lake) if row[0] == "config"] == [
        ("config", "scheduling", "enabled -> disabled", "0:05", "0:10", None, None),
        ("config", "node agent", "1 -> 2", "0:10", "0:15", None, None),
    ]


def test_work_is_summed_up(lake: Lake) -> None:
    """Failures by cause, what was not seen to end, and what was missed between two listings."""
    tasks = [
        task("a", "01:00", "01:10"),
        task("b", "01:10", "01:20", exit_code=3, result="failure", failure_code="FailureExitCode"),
        task("c", "01:20", "01:30", exit_code=3, result="failure", failure_code="FailureExitCode"),
        task("d", "01:30"),
    ]
    put(lake, "00:00", {"p": [node("n", total_tasks_run=0)]})
    running = node("n", "running", "01:00", tasks=tasks, total_tasks_run=5)
    put(lake, "01:40", {"p": [running]})
    put(lake, "01:45", {"p": [running]})
    (work,) = (row for row in asked(lake, gap_minutes=200) if row[0] == "work")
    assert work == (
        "work",
        "3 tasks, 1 succeeded",
        "exit code 3: 2, not seen: 2, still running: 1, running 0.75 h, idle 1.0 h",
        None,
        "0:00",
        "1:45",
        None,
    )


def test_a_window_keeps_what_overlaps_it(lake: Lake) -> None:
    """From a moment on, and before another one."""
    put(lake, "00:00", {"p": [node("n", "creating", "00:00")]})
    put(lake, "00:05", {"p": [node("n", "starting", "00:04")]})
    put(lake, "00:10", {"p": [node("n", "idle", "00:08")]})
    first = [row[1] for row in asked(lake, to=at("00:04"))]
    assert first == ["allocated", "creating"]
    later = [row[1] for row in asked(lake, **{"from": at("00:09")})]
    assert later == ["idle", "last seen"]


def test_two_machines_of_one_id_are_two_lives(lake: Lake) -> None:
    """The first had gone when the second was allocated."""
    put(lake, "00:00", {"p": [node("n")]})
    put(lake, "00:10", {"p": [node("n", since="00:07", allocated="00:06")]})
    put(lake, "00:15", {"p": []})
    put(lake, "00:20", {"p": []})
    assert [(row[1], *row[3:5]) for row in asked(lake) if row[0] == "life"] == [
        ("allocated", None, "0:00"),
        ("gone", "0:00", "0:06"),
        ("allocated", None, "0:06"),
        ("gone", "0:10", "0:15"),
    ]


# The command.


@pytest.fixture
def told_lake(lake: Lake, nowhere: None) -> str:
    """Two nodes of two accounts in pool p; one has an error that would steer a terminal."""
    bad = node("n-one", "unusable", "00:03", errors=["E\x1b[31m"])
    put(lake, "00:00", {"p": [node("n-one"), node("n-two")]})
    put(lake, "00:05", {"p": [bad, node("n-two")]})
    put(lake, "00:05", {"p": [node("n-one")], "q": [node("other")]}, account="b.eastus")
    return str(lake.root)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """What a command prints on stdout and stderr, ending with that code."""
    ended = cli.run(["node", *arguments])
    out, err = capsys.readouterr()
    assert ended == code, err
    return out, err


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_story_fits_the_terminal_and_reads_without_colour(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    told_lake: str,
    columns: str,
) -> None:
    """Trouble is marked with a sign, bounded times too; what the service says is escaped."""
    monkeypatch.setenv("COLUMNS", columns)
    out, _ = run(capsys, "p", "n-one", "--account", "acc", "--format", "table", "--lake", told_lake)
    lines = out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert lines[0] == "n-one of pool p (acc)"
    assert lines[1] == "2026-11-16"
    assert any(re.match(r"! 00:03:00 +>2m +state +unusable", line) for line in lines)
    assert any(re.match(r"!~00:05:00 +>0s +error +E\\x1b\[31m", line) for line in lines)
    assert "\x1b" not in out


def test_a_story_as_rows(capsys: pytest.CaptureFixture[str], told_lake: str) -> None:
    """json where no one watches, csv for a sheet: the question's columns."""
    out, _ = run(capsys, "p", "n-two", "--lake", told_lake)
    rows = json.loads(out)
    assert tuple(rows[0]) == query.questions()["node_story"].columns
    assert [row["what"] for row in rows] == ["allocated", "idle", "last seen"]
    out, _ = run(capsys, "p", "n-two", "--lake", told_lake, "--format", "csv")
    assert len([*csv.reader(io.StringIO(out))]) == 4


@pytest.mark.parametrize("part", ["N-tw", "two", "TW", "wo"])
def test_any_unique_part_of_an_id_will_do(
    capsys: pytest.CaptureFixture[str], told_lake: str, part: str
) -> None:
    """Its beginning, middle or end, in any case; a part of several is wrong usage, they are named."""
    out, _ = run(capsys, "P", part, "--lake", told_lake)
    assert {row["node_id"] for row in json.loads(out)} == {"n-two"}
    _, err = run(capsys, "p", "n-", "--lake", told_lake, code=2)
    assert "n-one, n-two" in err


def test_a_node_of_two_accounts(capsys: pytest.CaptureFixture[str], told_lake: str) -> None:
    """Both stories, or that of the account which --account names, by its label or its name."""
    out, _ = run(capsys, "p", "n-one", "--lake", told_lake)
    assert {row["account"] for row in json.loads(out)} == {"acc", "b.eastus"}
    for name in ("b", "b.eastus"):
        out, _ = run(capsys, "p", "n-one", "--lake", told_lake, "--account", name)
        assert {row["account"] for row in json.loads(out)} == {"b.eastus"}


def test_a_node_that_is_not_there(capsys: pytest.CaptureFixture[str], told_lake: str) -> None:
    """Exit 1; names that are near are shown, or the pools there are."""
    _, err = run(capsys, "p", "x-one", "--lake", told_lake, code=1)
    assert "near: n-one" in err
    _, err = run(capsys, "p", "n-on", "--lake", told_lake, "--account", "nobody", code=1)
    assert "of nobody; pools with nodes: none was ever listed" in err
    _, err = run(capsys, "r", "n-one", "--lake", told_lake, code=1)
    assert "pools with nodes: p, q" in err
    _, err = run(capsys, "p", "n-one", "--lake", "no-lake", code=2)
    assert "no lake at " in err


def test_wrong_times_and_flags(capsys: pytest.CaptureFixture[str], told_lake: str) -> None:
    """A time that is none, and flags of the story beside --live: exit 2."""
    _, err = run(capsys, "p", "n-one", "--from", "soon", "--lake", told_lake, code=2)
    assert "--from" in err
    run(capsys, "p", "n-one", "--live", "--tasks", code=2)
    run(capsys, "p", "n-one", "--select", "id", "--lake", told_lake, code=2)


@pytest.mark.parametrize("width", [80, 120])
def test_a_long_id_is_wrapped(lake: Lake, width: int) -> None:
    """The service's own ids have 70 letters: whole, so that they can be copied, and no line too long."""
    name = f"tvmps_{'0123456789abcdef' * 4}_d"
    put(lake, "00:00", {"a-pool-with-a-name": [node(name, errors=["x" * 200])]})
    with query.connect(lake) as connection:
        lines = [
            line.plain for line in story.lines(connection.ask("node_story").to_pylist(), width)
        ]
    assert max(map(len, lines)) <= width
    assert lines[1].startswith(name)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (61, "1m01s"), (601, "10m"), (3600, "1h00m"),
     (47 * 3600 + 59 * 60, "47h59m"), (49 * 3600, "2d01h"), (-5, "0s")],
)  # fmt: skip
def test_lengths_of_time(seconds: int, text: str) -> None:
    """Short, and with as much of it as one wants to know."""
    assert story.span(timedelta(seconds=seconds)) == text
