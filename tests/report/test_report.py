"""The report: what it says, and that nothing of the service steers it."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline import cli, maintain
from pipeline.lake import Lake, View
from pipeline.maintain import build_facts
from pipeline.query import connect, question
from pipeline.report import findings, nodes
from pipeline.report import span as spans
from pipeline.report.figures import watched
from pipeline.report.findings import gather
from pipeline.report.standing_out import standing_out
from tests.lakes import MONDAY, at, node, put, task
from tests.report_lake import EVIL, EVIL_NODE, make


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six hours of two pools, two hours of them not watched, with what must not be believed."""
    return make(tmp_path_factory.mktemp("report") / "lake")


@pytest.fixture(scope="module")
def page(lake: Path) -> str:
    """The report of that lake, as the command writes it, with prices."""
    prices = lake.parent / "prices.csv"
    prices.write_text("vm_size,kind,price_per_hour,currency\nsmall,dedicated,2,EUR\n")
    file = lake.parent / "page.html"
    made = ["report", "-o", str(file), "--lake", str(lake), "--prices", str(prices)]
    assert cli.run(made) == 0
    return file.read_text("utf-8")


class _Reader(HTMLParser):
    """Every tag with its attributes, and the text of the page as a person reads it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_it_names_its_range_and_its_lake_and_the_figures_are_those_of_the_fleet(
    page: str, lake: Path
) -> None:
    """Three nodes, one works, one idles, one is broken, each from 00:00 to 05:45: 5.75 hours."""
    text = _Reader(page).text
    assert "16 Nov 2026 00:00 to 16 Nov 2026 06:00 UTC, 6 hours" in text
    assert f"Lake {lake}" in text
    assert "Nodes 3 at 16 Nov 05:45" in text
    assert "Paid node-hours 17 3 nodes on average, 34 EUR" in text  # 3 x 5.75 hours, at 2 EUR
    assert "Working 33 % 6 h, 12 EUR" in text
    assert "Idle 33 % 6 h, 12 EUR" in text  # 5.75 hours: 11.50 EUR
    assert "Broken 33 % 6 h, 12 EUR" in text
    assert "Start failures 1 of 1 start-task run, 100 %" in text
    assert "Watched 67 % of 6 hours" in text


def test_what_was_not_watched_is_named_and_hatched(page: str) -> None:
    """Nothing was listed from 02:00 to 04:00; once the listing of a pool failed."""
    reader = _Reader(page)
    assert "Not watched for 2 hours: 16 Nov 02:00 to 04:00" in reader.text
    assert "Listings that failed or broke off: work (1 time)" in reader.text
    classes = [attributes.get("class") or "" for _, attributes in reader.tags]
    # in both widths of the fleet, of its trouble, of two pools' nodes…
    assert sum(each == "f-gap" for each in classes) > 10
    assert "Not watched: 16 Nov 02:00 to 04:00 UTC" in page


def test_an_account_that_was_never_stored_is_reported(lake: Path) -> None:
    """It has no pool that could be missed: its failures are beside those that were watched."""
    with connect(lake) as connection:
        found = gather(connection)
    runs = {"complete": 0, "partial": 0, "longest_gap_minutes": 0.2}
    rows = [
        {"account": "acc", "snapshots": 3, "failed": 2} | runs,
        {"account": "dark", "snapshots": 2, "failed": 2} | runs,
        {"account": "dark", "snapshots": 1, "failed": 1} | runs,
    ]
    found.answers["coverage"] = pl.DataFrame(rows)
    told = [line.text for line in watched(found)]
    assert "6 snapshots: 5 failed." in told
    dark = "Every snapshot of dark (3 times) failed: nothing of it is on this page."
    assert dark in told
    found.pool = "work"
    assert dark not in [line.text for line in watched(found)]


def test_tasks_that_no_one_saw_are_reported(lake: Path) -> None:
    """They are not in the numbers of tasks, so the page says how many more there were."""
    with connect(lake) as connection:
        found = gather(connection)
    rows = [{"tasks_finished": 90, "tasks_missed": 3}, {"tasks_finished": None, "tasks_missed": 7}]
    found.answers["slot_utilisation"] = pl.DataFrame(rows)
    (line,) = [line for line in watched(found) if "came and went" in line.text]
    assert line.text.startswith("10 tasks (10\u00a0%) came and went between two listings")
    assert ("warn", "q-slot_utilisation") == (line.weight, line.anchor)
    found.answers["slot_utilisation"] = pl.DataFrame(
        [{"tasks_finished": 9, "tasks_missed": None}], {"tasks_finished": int, "tasks_missed": int}
    )
    assert not [line for line in watched(found) if "came and went" in line.text]


def test_nothing_of_the_service_is_more_than_text(page: str) -> None:
    """No handler, no address, no style or script but the page's own: ids and messages are words."""
    reader = _Reader(page)
    assert not {"img", "iframe", "object", "embed", "link", "base", "b"} & {
        tag for tag, _ in reader.tags
    }
    scripts = [attributes for tag, attributes in reader.tags if tag == "script"]
    assert [{"type": "application/json", "id": "data"}, {}] == scripts
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert not {"src", "srcset", "action", "data", "xlink:href"} & attributes.keys(), tag
        assert (attributes.get("href") or "#").startswith("#")
    assert EVIL in reader.text
    assert EVIL not in page
    assert EVIL_NODE in reader.text
    assert page.count("</script>") == 2
    assert "<!--" not in page
    assert not [letter for letter in page if not letter.isprintable() and letter not in "\n\u00a0"]
    assert r"\u2028" in reader.text


def test_the_page_lets_nothing_in_or_out(page: str) -> None:
    """The strictest policy there is: one style sheet and one script by their hashes, nothing else."""
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    found = re.fullmatch(
        "default-src 'none'; style-src 'sha256-([A-Za-z0-9+/]{43}=)'; "
        "script-src 'sha256-([A-Za-z0-9+/]{43}=)'; base-uri 'none'; form-action 'none'",
        policy.replace("&#39;", "'"),
    )
    assert found
    for tag, digest in (("style", found[1]), ("script", found[2])):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() == digest
    assert "http://" not in page
    assert "https://" not in page


def test_pictures_have_the_colours_of_the_page_alone(page: str) -> None:
    """Else one theme could not be read: marks have classes, and no colour of their own."""
    pictures = re.findall(r"<svg viewBox.*?</svg>", page, re.DOTALL)
    assert len(pictures) > 10
    for picture in pictures:
        assert {"none"} >= set(re.findall(r'(?:fill|stroke)="([^"]*)"', picture))
    used = set(re.findall(r'class="[^"]*\b[fs]-([a-z0-9]+)', page))
    assert {"running", "idle", "unusable", "gap"} <= used
    for name in used - {"gap", "hover"}:
        assert f".f-{name}{{fill:var(--{name})}}" in page


def test_a_lake_with_nothing_listed_gives_no_page(
    tmp_path: Path, lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1 and why, 2 where there is no lake; a page that was there stays."""
    file = tmp_path / "page.html"
    file.write_text("the one before")
    assert cli.run(["report", "-o", str(file), "--lake", str(tmp_path / "none")]) == 2
    assert "no lake" in capsys.readouterr().err
    given = ["report", "-o", str(file), "--lake", str(lake), "--pool", "nobody"]
    assert cli.run(given) == 1
    assert "no pool nobody was listed yet" in capsys.readouterr().err
    for given in (["--to", "2026-01-01"], ["--from", "2027-01-01"]):
        assert cli.run(["report", "-o", str(file), "--lake", str(lake), *given]) == 1
        assert "no pool was listed then" in capsys.readouterr().err
    assert file.read_text() == "the one before"
    assert [*tmp_path.iterdir()] == [file]


def test_wrong_usage_is_exit_2(tmp_path: Path, lake: Path) -> None:
    """Reported before anything is asked."""
    file, of = str(tmp_path / "page.html"), ["--lake", str(lake)]
    prices = tmp_path / "prices.csv"
    prices.write_text("vm_size,price\nsmall,2\n")
    assert cli.run(["report", *of]) == 2
    assert cli.run(["report", "-o", file, "--from", "yesterday", *of]) == 2
    assert cli.run(["report", "-o", file, "--from", "2026-11-17", "--to", "2026-11-16", *of]) == 2
    assert cli.run(["report", "-o", str(tmp_path / "no" / "page.html"), *of]) == 2
    assert cli.run(["report", "-o", file, "--prices", str(prices), *of]) == 2
    assert not Path(file).exists()


def _by_state(hours: pl.DataFrame, column: str = "hours") -> dict[str, float]:
    summed = hours.group_by("state").agg(pl.col(column).sum().round(6))
    return dict(summed.iter_rows())


def test_hours_of_a_part_of_a_day(lake: Path) -> None:
    """From 01:00 to 05:00 each node has 4 hours; whole days are those of node_hours."""
    with connect(lake) as connection:
        part = gather(connection, at("01:00"), at("05:00"))
        whole = gather(connection, MONDAY, MONDAY + spans.DAY)
        days = pl.DataFrame(pl.from_arrow(connection.ask("node_hours")))
    assert {"running": 4.0, "idle": 4.0, "unusable": 4.0} == _by_state(part.hours)
    assert _by_state(days) == _by_state(whole.hours)


def test_hours_of_nodes_are_those_of_history(tmp_path: Path) -> None:
    """Node by node they add up to node_hours: gaps, nodes that come and go, ids used again."""
    lives: list[tuple[str, list[dict[str, Any]]]] = [
        ("00:10", [node("a", "creating", "00:05", allocated="00:00"), node("b", "idle")]),
        ("00:20", [node("a", "idle", "00:12", allocated="00:00"), node("b", "running", "00:15")]),
        ("02:00", [node("a", "running", "01:30", allocated="00:00"), node("b", "idle", "00:55")]),
        ("02:05", [node("a", "running", "01:30", allocated="00:00")]),
        ("02:10", [node("a", "idle", "02:07", allocated="00:00"), node("b", "starting", "02:08",
            allocated="02:06")]),
        ("05:00", [node("b", "idle", "02:20", allocated="02:06")]),
        ("05:05", [node("b", "idle", "02:20", allocated="02:06")]),
        ("1 01:00", [node("b", "running", "1 00:20", allocated="02:06")]),
        ("1 01:05", [node("b", "running", "1 00:20", allocated="02:06")]),
    ]  # fmt: skip
    for when, nodes_then in lives:
        put(Lake(tmp_path / "lake"), when, {"p": nodes_then})
    with connect(tmp_path / "lake") as connection:
        found = gather(connection)
        days = pl.DataFrame(pl.from_arrow(connection.ask("node_hours")))
        part = gather(connection, MONDAY, at("1 00:30"))
    states = {"creating", "idle", "running", "starting", "unobserved"}
    assert states == _by_state(days).keys()
    for column in ("hours", "certain_hours"):
        assert _by_state(found.hours, column) == _by_state(days, column)
    assert found.nodes["paid_hours"].sum() == pytest.approx(sum(_by_state(days).values()))
    # of a day that the range cuts (by whole hours), the same states up to there
    assert part.nodes["paid_hours"].sum() == pytest.approx(part.hours["hours"].sum())
    assert _by_state(part.hours)["running"] == pytest.approx((5 + 37 + 40) / 60)


def test_an_hour_without_a_listing_is_unobserved(lake: Path) -> None:
    """Where nothing was watched there is no number, and no zero; what lasted is drawn through."""
    with connect(lake) as connection:
        found = gather(connection)
    assert [(2, 4)] == found.gaps
    assert [3, 3, None, None, 3, 3] == [
        None if each.states is None else each.nodes for each in found.fleet
    ]
    assert {0} == {each.missing for each in found.fleet}
    idle = nodes.runs(found.cells.filter(pl.col("state") == "idle"))
    assert [(0, 23)] == [*idle.select("begin", "end").iter_rows()]  # quarters of an hour


def test_a_day_whose_rows_were_given_up_is_drawn_from_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the last listing itself is shown: hours, states, failures."""
    made, file = make(tmp_path / "lake"), tmp_path / "page.html"
    assert cli.run(["compact", "--grace", "0", "--lake", str(made)]) == 0
    assert cli.run(["expire", "--compacted", "1", "--lake", str(made)]) == 0
    assert cli.run(["report", "-o", str(file), "--lake", str(made)]) == 0
    text = _Reader(file.read_text("utf-8")).text
    assert "16 Nov 2026 00:00 to 17 Nov 2026 00:00 UTC, 1 day" in text
    assert (
        "Nodes - no rows of the last listing are left Paid node-hours 17 1 node on average" in text
    )
    assert "Not watched for 20 hours: 16 Nov 02:00 to 04:00 and 16 Nov 06:00 to" in text
    given = ["report", "-o", str(file), "--lake", str(made), "--pool", "nobody"]
    assert cli.run(given) == 1
    assert "no pool nobody was listed yet" in capsys.readouterr().err


def test_what_is_no_plain_file_is_written_to(
    tmp_path: Path, lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe, as /dev/stdout may be, gets the page alone; a link keeps leading to it."""
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    made = ["report", "--lake", str(lake), "-o"]
    assert cli.run([*made, str(pipe)]) == 0
    reader.join()
    assert pipe.is_fifo()
    assert read[0].startswith(b"<!doctype html>")
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{pipe}: 6 hours to " in err
    link, page = tmp_path / "link.html", tmp_path / "page.html"
    page.write_bytes(b"old")
    link.symlink_to(page)
    assert cli.run([*made, str(link)]) == 0
    assert link.is_symlink()
    assert page.read_bytes().startswith(b"<!doctype html>")
    assert {pipe, link, page} == {*tmp_path.iterdir()}


def test_start_tasks_of_days_whose_rows_were_given_up_are_reported(tmp_path: Path) -> None:
    """Their snapshots are gone, but not when the record began: history has that too."""
    made = make(tmp_path / "lake")
    with connect(made) as connection:
        before = connection.ask("start_task_failure_rate").to_pylist()
    assert [1] == [row["failed_runs"] for row in before]
    assert cli.run(["compact", "--grace", "0", "--lake", str(made)]) == 0
    assert cli.run(["expire", "--compacted", "1", "--lake", str(made)]) == 0
    with connect(made) as connection:
        assert connection.ask("coverage").num_rows == 0
        assert before == connection.ask("start_task_failure_rate").to_pylist()


def test_pools_that_could_not_scale_stand_out(lake: Path) -> None:
    """Which pools, the mix of codes by how often, and where it is still so."""
    with connect(lake) as connection:
        found = gather(connection)
    rows = [
        {"account": "acc", "pool_id": pool, "code": code, "episodes": times, flag: is_now}
        for flag in ("is_short_now", "is_failing_now")
        for pool, code, times, is_now in (
            ("work", "AllocationTimedOut", 3, True),
            ("work", "QuotaExceeded", 1, False),
            ("b", None, 2, False),
        )
    ]
    found.answers["resize_errors"] = pl.DataFrame(rows[:3])
    found.answers["autoscale_errors"] = pl.DataFrame(rows[4:5])
    resize, scale = standing_out(found)
    told = (
        "Pools that could not be resized: work (2) and b (1). Why: AllocationTimedOut (3 times), "
    )
    assert resize.text == f"{told}no code (2 times) and QuotaExceeded (1 time). Still so in work."
    assert (resize.weight, resize.anchor) == ("bad", "q-resize_errors")
    assert "could not scale by their formula: work. Why: QuotaExceeded" in scale.text
    assert (scale.weight, scale.anchor) == ("warn", "q-autoscale_errors")


def test_the_mix_of_a_black_hole_s_exits_is_said(lake: Path) -> None:
    """The commonest exit code with its part, never as if it were all of them."""
    with connect(lake) as connection:
        found = gather(connection)
    row = {"account": "acc", "pool_id": "work", "node_id": "n", "exit_code": 1, "ended_runs": 1000}
    row |= {"exit_code_runs": 302, "short_failures": 996, "others_rate": 0.01}
    found.answers["black_hole_nodes"] = pl.DataFrame([row])
    (line,) = standing_out(found)
    assert "failed 996 short runs of 1,000 (mostly exit 1: 302 of 996)" in line.text
    found.answers["black_hole_nodes"] = pl.DataFrame([row | {"exit_code_runs": 996}])
    (line,) = standing_out(found)
    assert "(all exit 1)" in line.text


@pytest.mark.parametrize("is_compacted", [True, False])
def test_stories_of_a_long_record_are_those_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_compacted: bool
) -> None:
    """Young nodes' stories come from the last days alone, and say what the whole record says."""
    lake = Lake(tmp_path / "lake")
    for day in range(12):
        for hour in (1, 9, 17):
            now = f"{day} {hour:02}:00"
            pool = [node("old", "running", f"{day} 00:30", errors=["Disk"] if day > 3 else [])]
            if day in (2, 10, 11):  # two machines, one id
                pool.append(node("again", "idle", allocated="2 00:00" if day == 2 else "10 00:00"))
            if day > 8:
                begun = f"{day} {hour:02}:10" if hour < 17 else f"{day} 08:10"
                run = task(f"t{day}", f"{day} 00:40", f"{day} 00:50", exit_code=hour)
                young = node("young", "unusable", begun, allocated="9 00:10", tasks=[run])
                pool.append(young | {"_errors": ["Boot"] if hour == 9 else []})
            put(lake, now, {"p": pool})
    if is_compacted:
        maintain.compact(lake, clock=lambda: at("11 12:00"), grace=timedelta(), history=build_facts)
    monkeypatch.setattr(findings, "_STORY_DAYS", 6)
    asked, opened = question("node_story"), []
    since = View.since
    monkeypatch.setattr(
        View, "since", lambda view, day: opened.append(since(view, day)) or opened[-1]
    )
    with connect(lake) as connection:
        found = gather(connection, at("8 00:00"), at("12 00:00"))
        given = {"from": found.span.start, "to": found.span.end}
        whole = findings.printable(connection.table(asked.sql, asked.bind(given)))
    assert {"old", "again", "young"} == set(whole["node_id"])
    assert set(whole.rows()) == set(found.stories.rows())
    assert whole.height == found.stories.height
    (view,) = opened
    names = [
        file for each in (view.files, view.history) for files in each.values() for file in files
    ]
    assert min(re.findall(r"date=(\S{10})", " ".join(names))) == "2026-11-22"
    assert bool(view.history_days) == is_compacted

    monkeypatch.setattr(findings, "_STORIES", 1)
    with connect(lake) as connection:
        few = gather(connection, at("8 00:00"), at("12 00:00")).stories
    assert {"young"} < set(few["node_id"]) < {"old", "again", "young"}
