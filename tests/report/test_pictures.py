"""Colours, words, spans of time, and the SQL files that the report is made from."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline import schema
from pipeline.query import connect
from pipeline.report import charts, lines, page, palette
from pipeline.report import span as spans
from pipeline.report.figures import priced, spent, unpriced
from pipeline.report.frame import Frame
from pipeline.report.svg import colour
from pipeline.report.text import cell, cut, duration, listed, percent, plain, stretch
from tests.conftest import PROJECT
from tests.lakes import MONDAY, at
from tests.report.crowd import crowd

FILES = sorted((PROJECT / "sql" / "report").glob("*.sql"))


def test_prices_that_are_missing_are_named() -> None:
    """Hours of a size without a price cost nothing, and that is said; nodes that went are free."""
    prices = pl.DataFrame(
        [{"vm_size": "a", "is_dedicated": True, "currency": "EUR", "price_per_hour": 2.0}]
    )
    rows = pl.DataFrame(
        [
            {"vm_size": size, "is_dedicated": True, "state": state, "hours": 3.0}
            for size, state in (("A", "idle"), ("b", "running"), ("a", "preempted"))
        ]
    )
    costs = priced(rows, prices)
    assert spent(costs) == "6 EUR"
    assert spent(costs, ["running"]) == "-"
    assert ["b (dedicated, 3 h)"] == unpriced(costs)


def test_every_picture_is_what_vega_lite_takes() -> None:
    """Its schema is checked here: the page leaves that out, for time."""
    found = crowd(3)
    bins, span = found.fleet, found.span
    frame = Frame(400, 100)
    rows = [("short", "long", [("idle", 0, 2), ("who knows", 2, 3)])]
    for chart in (
        charts.fleet(bins, span, frame),
        charts.columns([(0, "running", 3, "told")], ["running"], [True, False, True], span, frame),
        lines.nodes_over_time(rows, span, bins, span, frame),
        lines.shares([("pool", {"idle": 3, "unobserved": 2})], frame),
        lines.use([("pool", bins)], span, frame),
        lines.ready([("pool", found.ready.row(0, named=True))], frame),
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
                    # four times what can just be distinguished
                    assert math.dist(seen[one], seen[other]) > 0.08, (theme, one, other)


def test_causes_can_be_distinguished() -> None:
    """The colours of start-task failures, in each theme, for the colour-blind too; and from the page."""
    for theme in ("light", "dark"):
        inks = page.inks(theme)
        colours = [inks["paper"], *(inks[f"cause{place}"] for place in range(6))]
        for see in (_as_deuteranope, _as_protanope, tuple):
            seen = [_oklab(see(_linear(each))) for each in colours]
            for one, other in itertools.combinations(range(7), 2):
                assert math.dist(seen[one], seen[other]) > 0.1, (theme, see, one, other)


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
        if "report_pieces" in re.sub(r"^--.*$", "", text, flags=re.MULTILINE):
            pieces = (file.parent / "pieces.sql").read_text()
            of_pieces = {"from": MONDAY, "to": MONDAY, "pool": None}
            connection.table(f"create temp table report_pieces as {pieces}", of_pieces)
        if file.stem == "output" and "start_task_output" not in schema.TABLES:
            connection.duckdb.execute(_OUTPUT)
        answer = connection.table(text, {name: values[told[name]] for name in used})
    assert named == answer.column_names


#: The table as it is designed, for as long as the schema does not have it.
_OUTPUT = """
    create view start_task_output as select 'a' as account, 's' as snapshot_id,
        timestamptz '2026-11-16' as snapshot_at, 'p' as pool_id, 'n' as node_id,
        timestamptz '2026-11-16' as start_time, 1 as exit_code, 'stderr' as file, 't' as text,
        1 as bytes, false as is_truncated, null::varchar as error_code
"""


def test_the_states_that_queries_name_are_the_palette_s() -> None:
    """The states are listed in one place; SQL lists them again, so it is compared."""
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
    """How sentences show numbers, times and foreign text."""
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
