"""The report: what it says, that nothing of the service steers it, its limits, and its files of SQL."""

from __future__ import annotations

import itertools
import math
import os
import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import cli, schema
from pipeline.lake import Lake
from pipeline.query import connect
from pipeline.report import charts, lines, palette, render
from pipeline.report import span as spans
from pipeline.report.figures import money, watched
from pipeline.report.frame import Frame
from pipeline.report.gather import Bin, Findings, gather
from pipeline.report.svg import colour
from pipeline.report.text import cell, cut, duration, listed, percent, plain, stretch
from tests.conftest import PROJECT
from tests.lakes import MONDAY, at, node, put
from tests.report_lake import EVIL, EVIL_NODE, make

FILES = sorted((PROJECT / "sql" / "report").glob("*.sql"))


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
    assert "Node-hours 17 3 nodes on average, 34 EUR" in text  # 3 x 5.75 hours, at 2 EUR
    assert "Working 33 % 6 h" in text
    assert "Idle 33 % 6 h, 12 EUR" in text  # 5.75 hours: 11.50 EUR
    assert "Broken 33 % 6 h, 12 EUR" in text
    assert "Start failures 1 of 1 start-task run, 100 %" in text
    assert "Watched 67 % of 6 hours" in text


def test_what_was_not_watched_is_told_and_hatched(page: str) -> None:
    """Nothing was listed from 02:00 to 04:00; once the listing of a pool failed."""
    reader = _Reader(page)
    assert "Not watched for 2 hours: 16 Nov 02:00 to 04:00" in reader.text
    assert "Listings that failed or broke off: work (1 time)" in reader.text
    classes = [attributes.get("class") or "" for _, attributes in reader.tags]
    # in both widths of the fleet, of its trouble, of two pools' nodes…
    assert sum(each == "f-gap" for each in classes) > 10
    assert "Not watched: 16 Nov 02:00 to 04:00 UTC" in page


def test_an_account_that_was_never_stored_is_told(lake: Path) -> None:
    """It has no pool that could be missed: its failures stand beside those that were watched."""
    with connect(lake) as connection:
        found = gather(connection)
    runs = {"complete": 0, "partial": 0, "longest_gap_minutes": 0.2}
    rows = [
        {"account": "acc", "snapshots": 3, "failed": 2} | runs,
        {"account": "dark", "snapshots": 2, "failed": 2} | runs,
        {"account": "dark", "snapshots": 1, "failed": 1} | runs,
    ]
    found.answers["coverage"] = pa.Table.from_pylist(rows)
    told = [line.text for line in watched(found)]
    assert "6 snapshots: 5 failed." in told
    dark = "Every snapshot of dark (3 times) failed: nothing of it is on this page."
    assert dark in told
    found.pool = "work"
    assert dark not in [line.text for line in watched(found)]


def test_tasks_that_nobody_saw_are_told(lake: Path) -> None:
    """They are not in the numbers of tasks, so the page says how many more there were."""
    with connect(lake) as connection:
        found = gather(connection)
    rows = [{"tasks_finished": 90, "tasks_missed": 3}, {"tasks_finished": None, "tasks_missed": 7}]
    found.answers["slot_utilisation"] = pa.Table.from_pylist(rows)
    (line,) = [line for line in watched(found) if "came and went" in line.text]
    assert line.text.startswith("10 tasks (10\u00a0%) came and went between two listings")
    assert ("warn", "q-slot_utilisation") == (line.weight, line.anchor)
    found.answers["slot_utilisation"] = pa.Table.from_pylist(
        [{"tasks_finished": 9, "tasks_missed": None}]
    )
    assert not [line for line in watched(found) if "came and went" in line.text]


def test_nothing_of_the_service_is_more_than_text(page: str) -> None:
    """No script, no handler, no address, no style but the page's own: ids and messages are words."""
    reader = _Reader(page)
    assert not {"script", "img", "iframe", "object", "embed", "link", "base", "form", "b"} & {
        tag for tag, _ in reader.tags
    }
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert not {"src", "srcset", "action", "data", "xlink:href"} & attributes.keys(), tag
        assert (attributes.get("href") or "#").startswith("#")
    assert EVIL in reader.text
    assert EVIL not in page
    assert EVIL_NODE in reader.text
    assert "</script>" not in page
    assert "<!--" not in page
    assert not [letter for letter in page if not letter.isprintable() and letter not in "\n\u00a0"]
    assert r"\u2028" in reader.text


def test_the_page_lets_nothing_in_or_out(page: str) -> None:
    """The strictest policy there is: one style sheet by its hash, and nothing else of any kind."""
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert re.fullmatch(
        "default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; base-uri 'none'; "
        "form-action 'none'",
        policy.replace("&#39;", "'"),
    )
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
    """Exit 1 and why; a page that was there stays."""
    file = tmp_path / "page.html"
    file.write_text("the one before")
    assert cli.run(["report", "-o", str(file), "--lake", str(tmp_path / "none")]) == 1
    assert "no pool was listed yet" in capsys.readouterr().err
    given = ["report", "-o", str(file), "--lake", str(lake), "--pool", "nobody"]
    assert cli.run(given) == 1
    assert "no pool nobody was listed yet" in capsys.readouterr().err
    for given in (["--to", "2026-01-01"], ["--from", "2027-01-01"]):
        assert cli.run(["report", "-o", str(file), "--lake", str(lake), *given]) == 1
        assert "no pool was listed then" in capsys.readouterr().err
    assert file.read_text() == "the one before"
    assert [*tmp_path.iterdir()] == [file]


def test_wrong_usage_is_exit_2(tmp_path: Path, lake: Path) -> None:
    """Told before anything is asked."""
    file, of = str(tmp_path / "page.html"), ["--lake", str(lake)]
    prices = tmp_path / "prices.csv"
    prices.write_text("vm_size,price\nsmall,2\n")
    assert cli.run(["report", *of]) == 2
    assert cli.run(["report", "-o", file, "--from", "yesterday", *of]) == 2
    assert cli.run(["report", "-o", file, "--from", "2026-11-17", "--to", "2026-11-16", *of]) == 2
    assert cli.run(["report", "-o", str(tmp_path / "no" / "page.html"), *of]) == 2
    assert cli.run(["report", "-o", file, "--prices", str(prices), *of]) == 2
    assert not Path(file).exists()


def test_hours_of_a_part_of_a_day(lake: Path) -> None:
    """From 01:00 to 05:00 each node has 4 hours; whole days are those of node_hours."""
    with connect(lake) as connection:
        part = gather(connection, at("01:00"), at("05:00"))
        whole = gather(connection, MONDAY, MONDAY + spans.DAY)
        days = connection.ask("node_hours").to_pylist()
    assert {"running": 4.0, "idle": 4.0, "unusable": 4.0} == {
        row["state"]: row["hours"] for row in part.hours
    }
    assert sorted((row["pool_id"], row["state"], row["hours"]) for row in days) == sorted(
        (row["pool_id"], row["state"], row["hours"]) for row in whole.hours
    )


def test_hours_from_states_are_those_of_history(tmp_path: Path) -> None:
    """Over a whole day both ways agree on what is certain and on all: gaps, nodes that come and go."""
    lives: list[tuple[str, list[dict[str, Any]]]] = [
        ("00:10", [node("a", "creating", "00:05", allocated="00:00"), node("b", "idle")]),
        ("00:20", [node("a", "idle", "00:12", allocated="00:00"), node("b", "running", "00:15")]),
        ("02:00", [node("a", "running", "01:30", allocated="00:00"), node("b", "idle", "00:55")]),
        ("02:05", [node("a", "running", "01:30", allocated="00:00")]),
        ("02:10", [node("a", "idle", "02:07", allocated="00:00"), node("b", "starting", "02:08",
            allocated="02:06")]),
        ("05:00", [node("b", "idle", "02:20", allocated="02:06")]),
        ("05:05", [node("b", "idle", "02:20", allocated="02:06")]),
    ]  # fmt: skip
    for when, nodes in lives:
        put(Lake(tmp_path / "lake"), when, {"p": nodes})
    certain: list[dict[str, float]] = []
    whole: list[float] = []
    with connect(tmp_path / "lake") as connection:
        for name in ("node_hours", "state_hours"):
            text = (PROJECT / f"sql/report/{name}.sql").read_text()
            day = {"from": MONDAY, "to": MONDAY + spans.DAY, "pool": None}
            rows = connection.table(text, day).to_pylist()
            certain.append({row["state"]: round(row["certain_hours"], 6) for row in rows})
            whole.append(round(sum(row["hours"] for row in rows), 6))
    assert certain[0] == certain[1]
    assert {"creating", "idle", "running", "starting", "unobserved"} == certain[0].keys()
    assert whole[0] == whole[1]


def test_an_hour_without_a_listing_is_nobody_s(lake: Path) -> None:
    """Where nothing was watched there is no number, and no zero; what lasted is drawn through."""
    with connect(lake) as connection:
        found = gather(connection)
    assert [(2, 4)] == found.gaps
    assert [3, 3, None, None, 3, 3] == [
        None if each.states is None else each.nodes for each in found.fleet
    ]
    assert {0} == {each.missing for each in found.fleet}
    idle = [row for row in found.cells if row["state"] == "idle"]
    assert [(0, 5.75 * 3600)] == [(row["begins"], row["ends"]) for row in idle]


def test_a_day_whose_rows_were_given_up_is_drawn_from_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the last listing itself is told: hours, states, failures."""
    made, file = make(tmp_path / "lake"), tmp_path / "page.html"
    assert cli.run(["compact", "--grace", "0", "--lake", str(made)]) == 0
    assert cli.run(["expire", "--compacted", "1", "--lake", str(made)]) == 0
    assert cli.run(["report", "-o", str(file), "--lake", str(made)]) == 0
    text = _Reader(file.read_text("utf-8")).text
    assert "16 Nov 2026 00:00 to 17 Nov 2026 00:00 UTC, 1 day" in text
    assert "Nodes - no rows of the last listing are left Node-hours 17 1 node on average" in text
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


def test_start_tasks_of_days_whose_rows_were_given_up_are_told(tmp_path: Path) -> None:
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


def test_prices_that_are_missing_are_named() -> None:
    """Hours of a size without a price cost nothing, and that is told; nodes that went are free."""
    import pyarrow as pa

    prices = pa.Table.from_pylist(
        [{"vm_size": "a", "is_dedicated": True, "currency": "EUR", "price_per_hour": 2.0}]
    )
    rows = [
        {"vm_size": size, "is_dedicated": True, "state": state, "hours": 3.0}
        for size, state in (("A", "idle"), ("b", "running"), ("a", "preempted"))
    ]
    found = money(rows, prices)
    assert {"EUR": 6.0} == found.spent
    assert {"b (dedicated)": 3.0} == found.unpriced


def test_a_week_of_a_thousand_nodes_is_under_five_megabytes() -> None:
    """At its worst: every state in every hour of twelve pools, every drawn node another each hour."""
    page = render(_crowd(168))
    assert 300_000 < len(page.encode()) < 5_000_000
    assert "3 smaller pools left out" in page


def _crowd(hours: int) -> Findings:
    """Findings as full as they get: what is capped is at its cap."""
    span = spans.Span(MONDAY, MONDAY + hours * spans.HOUR, spans.HOUR)
    states = [*palette.STATES]
    pools = {
        ("acc", f"pool-{number}"): [
            Bin(
                {
                    state: 1.25 + (place * 7 + rank * number) % 9
                    for rank, state in enumerate(states)
                },
                slots=100,
                busy_slots=place % 100,
                finished=50,
                failed=place % 7,
            )
            for place in range(hours)
        ]
        for number in range(12)
    }
    fleet = [Bin() for _ in range(hours)]
    for bins in pools.values():
        for each, one in zip(fleet, bins, strict=True):
            each.add(one)
    cells: list[dict[str, Any]] = [
        {"account": "acc", "pool_id": f"pool-{node % 12}", "node_id": f"tvmps_{node:064x}_d"}
        | {"rank": node + 1, "of_nodes": 84, "state": states[(place + node) % len(states)]}
        | {"first_bin": place, "last_bin": place, "begins": place * 3600.0}
        | {"ends": place * 3600.0 + 3600, "seconds": 3600.0}
        for node in range(40)
        for place in range(hours)
    ]
    hours_of = [
        {"account": "acc", "pool_id": pool, "vm_size": "standard_d8s_v5", "is_dedicated": True}
        | {"state": state, "hours": 100.5, "certain_hours": 80.25}
        for _, pool in pools
        for state in states
    ]
    failures = [
        {"bin": place, "cause": f"Cause{n} (exit {n})", "is_other": False, "runs": 3, "nodes": 2}
        for place in range(hours)
        for n in range(5)
    ]
    ready = [
        {"account": "acc", "pool_id": pool, "vm_size": "a", "nodes": 84, "boot_p50": 2.0}
        | {"boot_p95": 4.0, "p5": 1.0, "p25": 2.0, "p50": 3.0, "p75": 4.0, "p95": 100.0}
        for _, pool in pools
    ]
    preemptions = [
        {"account": "acc", "pool_id": pool, "bin": place, "preemptions": 2, "nodes": 2}
        for place in range(hours)
        for _, pool in pools
    ]
    now = [
        {"account": "acc", "pool_id": "pool-0", "state": "idle", "nodes": 9, "listed_at": MONDAY}
    ]
    return Findings(
        "lake", span, span, None, ["acc"], pools, fleet, now, hours_of, cells, failures, ready,
        preemptions,
    )  # fmt: skip


def test_every_picture_is_what_vega_lite_takes() -> None:
    """Its schema is checked here: the page leaves that out, for time."""
    found = _crowd(3)
    bins, span = found.fleet, found.span
    frame = Frame(400, 100)
    rows = [("short", "long", {0: "idle", 1: "idle", 2: "who knows"})]
    for chart in (
        charts.fleet(bins, span, frame),
        charts.columns([(0, "running", 3, "told")], ["running"], [True, False, True], span, frame),
        lines.nodes_over_time(rows, span, bins, span, frame),
        lines.shares([("pool", {"idle": 3, "unobserved": 2})], frame),
        lines.use([("pool", bins)], span, frame),
        lines.ready([("pool", found.ready[0])], frame),
    ):
        assert chart.to_dict()["layer"]


def test_every_state_has_a_look_in_each_theme() -> None:
    """One colour a state; those of a group differ from those of any other, for the colour-blind too."""
    assert set(schema.NODE_STATES) == set(palette.STATES)
    assert set(palette.STATES) == set(palette.stacked())
    assert {"unusable", "starttaskfailed", "unknown", "offline"} == set(palette.BROKEN)
    assert colour("other") == colour("a state of next year")
    for theme in ("light", "dark"):
        colours = {state: getattr(look, theme) for state, look in palette.STATES.items()}
        assert len(set(colours.values())) == len(colours)
        leading = ["running", "idle", "waitingforstarttask", "unusable", "preempted"]
        leading += ["starttaskfailed"]
        for see in (_as_deuteranope, _as_protanope, tuple):
            seen = {state: _oklab(see(_linear(colours[state]))) for state in leading}
            for one, other in itertools.combinations(leading, 2):
                if palette.STATES[one].group != palette.STATES[other].group:
                    # four times what can just be told apart
                    assert math.dist(seen[one], seen[other]) > 0.08, (theme, one, other)


def _oklab(rgb: Sequence[float]) -> tuple[float, ...]:
    """Ottosson 2020: a space in which distance is difference as it is seen."""
    cones = _mixed(
        [max(c, 0) for c in rgb],
        (
            (0.4122214708, 0.5363325363, 0.0514459929),
            (0.2119034982, 0.6806995451, 0.1073969566),
            (0.0883024619, 0.2817188376, 0.6299787005),
        ),
    )
    return _mixed(
        [c ** (1 / 3) for c in cones],
        (
            (0.2104542553, 0.7936177850, -0.0040720468),
            (1.9779984951, -2.4285922050, 0.4505937099),
            (0.0259040371, 0.7827717662, -0.8086757660),
        ),
    )


def _linear(colour: str) -> tuple[float, ...]:
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    return tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)


def _mixed(rgb: Sequence[float], matrix: tuple[tuple[float, ...], ...]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, rgb, strict=True)) for row in matrix)


def _as_deuteranope(rgb: Sequence[float]) -> tuple[float, ...]:
    """Machado, Oliveira and Fernandes 2009, table of severity 1.0."""
    return _mixed(
        rgb,
        (
            (0.367322, 0.860646, -0.227968),
            (0.280085, 0.672501, 0.047413),
            (-0.011820, 0.042940, 0.968881),
        ),
    )


def _as_protanope(rgb: Sequence[float]) -> tuple[float, ...]:
    """The same authors' table for protanopia."""
    return _mixed(
        rgb,
        (
            (0.152286, 1.052583, -0.204868),
            (0.114503, 0.786281, 0.099216),
            (-0.003882, -0.048116, 1.051998),
        ),
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_query_gives_the_columns_its_header_names_on_an_empty_lake(
    file: Path, tmp_path: Path
) -> None:
    """Every file of sql/report has a header, and runs where there is nothing."""
    text = file.read_text()
    head = re.search(r"-- columns: +(.*?)\n-- [a-z]+:", text, re.DOTALL)
    assert head
    named = [name.strip() for name in re.sub(r"\n-- +", " ", head[1]).split(",")]
    told = dict(re.findall(r"^-- param: +(\w+) (\w+)", text, re.MULTILINE))
    used = set(re.findall(r"\$(\w+)", re.sub(r"^--.*$", "", text, flags=re.MULTILINE)))
    assert used == told.keys()
    values: dict[str, object] = {
        "timestamptz": MONDAY,
        "double": 3600.0,
        "bigint": 5,
        "varchar": None,
    }
    with connect(tmp_path / "none") as connection:
        answer = connection.table(text, {name: values[told[name]] for name in used})
    assert named == answer.column_names


def test_the_states_that_queries_name_are_the_palette_s() -> None:
    """What counts as broken is told in one place; SQL says it again, so it is compared."""
    cells = (PROJECT / "sql/report/cells.sql").read_text()
    (broken,) = re.findall(r"state in \(('unusable'[^)]*)\)", cells)
    assert [*palette.BROKEN] == [name.strip("' ") for name in broken.split(",")]
    hours = (PROJECT / "sql/report/hours.sql").read_text()
    assert {f"nodes_{state}" for state in (*palette.STATES, "other")} == set(
        re.findall(r"sum\((nodes_\w+)\)", hours)
    )


@pytest.mark.parametrize(
    ("start", "end", "apart", "expected"),
    [
        (None, None, 5, (MONDAY, at("3 06:00"), 1)),
        ("1 06:20", "1 12:01", 5, (at("1 06:00"), at("1 13:00"), 1)),
        (None, "2 00:00", 5, (MONDAY, at("2 00:00"), 1)),
        (None, None, 170, (MONDAY, at("3 06:00"), 3)),
        ("0 00:00", "40 00:00", 5, (MONDAY, at("40 00:00"), 6)),
    ],
)
def test_a_span_is_of_whole_hours(
    start: str | None, end: str | None, apart: int, expected: tuple[datetime, datetime, int]
) -> None:
    """The record goes from Monday 00:00 to Thursday 05:45; bins are as few as a picture can show."""
    chosen = spans.choose(
        at(start) if start else None,
        at(end) if end else None,
        MONDAY,
        at("3 05:45"),
        timedelta(minutes=apart),
    )
    assert expected == (chosen.start, chosen.end, chosen.step / spans.HOUR)
    assert chosen.edges(chosen.bins - 1)[1] == chosen.end
    assert all(chosen.start <= tick <= chosen.end for tick in chosen.ticks(5))


def test_seven_days_are_whole_days_before_the_end() -> None:
    """Without a range: today, as far as it goes, and six days before it."""
    last = datetime(2026, 11, 21, 10, 5, tzinfo=UTC)
    chosen = spans.choose(None, None, datetime(2026, 1, 1, tzinfo=UTC), last, timedelta(minutes=5))
    assert datetime(2026, 11, 15, tzinfo=UTC) == chosen.start
    assert datetime(2026, 11, 21, 11, tzinfo=UTC) == chosen.end


def test_words() -> None:
    """How numbers, times and foreign text stand in sentences."""
    assert "2 days 3 hours" == duration(timedelta(days=2, hours=3, minutes=10))
    assert "0 minutes" == duration(timedelta())
    assert "a, b, c and 2 more" == listed("abcde")
    assert "a and b" == listed("ab")
    assert ["12 %", "0.4 %", "under 0.1 %", "0 %", "-"] == [
        percent(part, whole).replace("\u00a0", " ")
        for part, whole in ((12, 100), (4, 1000), (1, 9999), (0, 5), (0, 0))
    ]
    assert "16 Nov 01:00 to 02:00" == stretch(at("01:00"), at("02:00"))
    assert "16 Nov 23:00 to 17 Nov 00:00" == stretch(at("23:00"), at("1 00:00"))
    assert "abcd…yz" == cut("abcdefghijklmnopqrstuvwxyz", 7)
    assert "a\\u2028b\\x00\\u202e" == plain("a\u2028b\0\u202e")
    assert ["", "yes", "1,234", "1,234", "0.50", "2026-11-16 00:00:00"] == [
        cell(value) for value in (None, True, 1234, 1234.0, 0.5, MONDAY)
    ]
