"""Every picture's data adds up to the tile it belongs to: one measure, shown in several ways."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl
import pytest

from pipeline import cli
from pipeline.query import connect
from pipeline.report import explorer, figures, losses, nodes, palette
from pipeline.report.findings import Findings, gather
from pipeline.report.span import HOUR
from pipeline.report.text import percent


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """A demo's day: three pools, dedicated and spot nodes, incidents."""
    lake = tmp_path_factory.mktemp("sums") / "lake"
    made = ["demo", "--snapshots", "96", "--day", "2026-11-21", "--lake", str(lake)]
    assert cli.run(made) == 0
    with connect(lake) as connection:
        return gather(connection)


@pytest.fixture(scope="module")
def tiles(found: Findings) -> dict[str, figures.Tile]:
    """The tiles by what they are of."""
    return {tile.what: tile for tile in figures.tiles(found)}


def _number(text: str) -> float:
    return float(re.findall(r"[\d,.]+", text)[0].replace(",", ""))


def _groups(states: dict[str, float]) -> dict[str, float]:
    found = {"Working": 0.0, "Idle": 0.0, "Broken": 0.0}
    for state, hours in states.items():
        group = "trouble" if state not in palette.STATES else palette.STATES[state].group
        name = {"working": "Working", "idle": "Idle", "trouble": "Broken"}.get(group)
        if name and state != "unobserved":
            found[name] += hours
    return found


def test_the_bars_of_pools_add_up_to_the_tiles(
    found: Findings, tiles: dict[str, figures.Tile]
) -> None:
    """Paid hours, and of them working, idle and broken ones: hours and shares."""
    bars: dict[str, float] = {}
    for _, states in losses.pool_hours(found):
        for state, hours in states.items():
            bars[state] = bars.get(state, 0) + hours
    paid = sum(bars.values())
    assert _number(tiles["Paid node-hours"].figure) == round(paid)
    for name, hours in _groups(bars).items():
        assert hours > 0
        assert _number(tiles[name].more) == round(hours)
        assert tiles[name].figure == percent(hours, paid)


def test_small_pools_are_a_bar_too(found: Findings) -> None:
    """Of more pools than there are lines the others are one: nothing is left out of the sum."""
    many = pl.concat(
        found.hours.with_columns(pool_id=pl.format("{}-{}", "pool_id", pl.lit(number)))
        for number in range(9)
    )
    whole = replace(found, hours=many)
    bars = losses.pool_hours(whole)
    assert (len(bars), bars[-1][0]) == (12, "other pools")
    paid = many.filter(figures.is_paid())["hours"].sum()
    assert sum(sum(states.values()) for _, states in bars) == pytest.approx(paid)


def test_the_hours_of_nodes_add_up_to_the_tiles(
    found: Findings, tiles: dict[str, figures.Tile]
) -> None:
    """In the table of every node, and in the data of the script."""
    for name, column in (
        ("Paid node-hours", "paid_hours"),
        ("Working", "working"),
        ("Idle", "idle"),
        ("Broken", "broken"),
    ):
        tile = tiles[name]
        hours = _number(tile.figure if column == "paid_hours" else tile.more)
        assert found.nodes[column].sum() == pytest.approx(hours, abs=0.51)
        if column in nodes.GROUPS:
            place = nodes.GROUPS.index(column)
            given = [node["h"][place] for node in explorer.content(found, 10**6)["nodes"]]
            assert sum(given) == pytest.approx(found.nodes[column].sum(), abs=len(given) * 0.005)


def test_the_cells_of_every_node_add_up_to_its_hours(found: Findings) -> None:
    """A cell is a bin of one state: in all they are the hours, but for what a bin rounds."""
    step = found.fine.step / HOUR
    drawn = found.cells.filter(~pl.col("state").is_in(["preempted", "deallocated", "deallocating"]))
    assert drawn.height * step == pytest.approx(found.nodes["paid_hours"].sum(), rel=0.02)


def test_failures_preemptions_and_tasks_add_up(
    found: Findings, tiles: dict[str, figures.Tile]
) -> None:
    """Of start tasks by cause, in columns and in the legend; preemptions bin by bin."""
    failed = losses.failures(found)["runs"].sum()
    assert failed > 0
    assert _number(tiles["Start failures"].figure) == failed
    assert sum(times for _, times in losses.causes(found)) == failed
    assert (found.starts["result"] == "failure").sum() == failed
    columns = losses.preempted(found)
    assert _number(tiles["Preempted"].figure) == sum(number for _, _, number, _ in columns) > 0
    answers = found.answers
    assert answers == {}


def test_the_fleet_over_time_adds_up_to_the_hours(
    found: Findings, tiles: dict[str, figures.Tile]
) -> None:
    """Its counts are means of listings, a measure of its own: within two parts in a hundred."""
    paid = sum(
        nodes_
        for one in found.fleet
        for state, nodes_ in (one.states or {}).items()
        if state not in ("preempted", "deallocated", "deallocating")
    )
    hours = paid * (found.span.step / HOUR)
    assert hours == pytest.approx(_number(tiles["Paid node-hours"].figure), rel=0.02)
    pools = [sum(one.nodes for one in bins) for bins in found.pools.values()]
    assert sum(pools) == pytest.approx(sum(one.nodes for one in found.fleet))


def test_the_gaps_are_what_the_tile_was_not_watched(found: Findings) -> None:
    """Hatched bins are the time that is missing from the share."""
    tile = next(tile for tile in figures.tiles(found) if tile.what == "Watched")
    dark = sum(end - begin for begin, end in found.gaps)
    assert tile.figure == percent(found.span.bins - dark, found.span.bins)


def _moments(frame: pl.DataFrame) -> Iterator[Any]:
    for name, kind in frame.schema.items():
        if isinstance(kind, pl.Datetime):
            yield from frame[name].drop_nulls()


def test_every_story_has_moments_of_its_range(found: Findings) -> None:
    """What began after the range is not reported."""
    latest: datetime = max(found.stories["began_at"])
    assert latest < found.span.end
    assert all(moment.tzinfo is not None for moment in _moments(found.stories))
