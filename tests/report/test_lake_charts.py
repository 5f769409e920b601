"""The charts of notebooks: Vega-Lite takes them, and their data is what SQL counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import altair as alt
import pytest

from pipeline import cli, report
from pipeline.query import Connection, connect
from pipeline.report.notebook import colours, theme, use_pictures
from pipeline.report.palette import STATES
from tests.conftest import PROJECT

CHARTS = [name for name in report.__all__ if name.endswith(("_chart", "_map", "_timeline"))]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A demo's day, of few snapshots, with prices."""
    made = tmp_path_factory.mktemp("charts") / "lake"
    given = ["demo", "--snapshots", "48", "--day", "2026-11-21", "--lake", str(made)]
    assert cli.run(given) == 0
    with connect(made, prices=PROJECT / "data" / "prices.csv") as connection:
        yield connection


def _rows(chart: alt.TopLevelMixin, layer: int | None = None) -> list[dict[str, Any]]:
    """The data of a chart, or of one of its layers."""
    made = chart.to_dict()
    of = made if layer is None else made["layer"][layer]
    name = of.get("data", made.get("data", {})).get("name")
    rows: list[dict[str, Any]] = made["datasets"][name]
    return rows


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_valid_and_has_an_alternative_text(lake: Connection, name: str) -> None:
    """Checked against Vega-Lite's schema; of a part of the day too."""
    start = datetime(2026, 11, 21, 6, tzinfo=UTC)
    for given in ({}, {"start": start, "end": start + timedelta(hours=6)}):
        made = getattr(report, name)(lake, **given).to_dict()
        assert len(made["description"]) > 40
        assert made["title"]


def test_the_fleet_and_its_costs_are_those_of_sql(lake: Connection) -> None:
    """Node by state and hour, and money by pool and group."""
    rows = _rows(report.fleet_chart(lake))
    (total,) = lake.sql("select sum(nodes) from pool_hours").fetchall()[0]
    assert sum(row["nodes"] for row in rows) == pytest.approx(total)
    priced = lake.sql(
        "select pool_id, sum(hours * price_per_hour) from node_hours "
        "join prices using (vm_size, is_dedicated) "
        "where state not in ('preempted', 'deallocated', 'deallocating', 'unobserved') "
        "group by pool_id order by pool_id"
    ).fetchall()
    found: dict[str, float] = {}
    for row in report.costs(lake).to_dicts():
        found[row["pool_id"]] = found.get(row["pool_id"], 0) + row["cost"]
    assert [*found.items()] == [(pool, pytest.approx(cost)) for pool, cost in priced]


def test_failed_start_tasks_and_tasks_are_those_of_sql(lake: Connection) -> None:
    """As many failed runs, and as many nodes with their tasks."""
    (failed,) = lake.sql(
        "select count(*) from start_task_runs where result = 'failure' "
        "and start_time >= timestamptz '2026-11-21' and start_time < timestamptz '2026-11-22'"
    ).fetchall()[0]
    assert sum(row["runs"] for row in _rows(report.start_task_chart(lake))) == failed > 0
    (nodes,) = lake.sql(
        "select count(*) from (select 1 from task_runs where end_time >= timestamptz '2026-11-21' "
        "and end_time < timestamptz '2026-11-22' group by pool_id, node_id having count(*) >= 5)"
    ).fetchall()[0]
    assert len(_rows(report.task_chart(lake), 0)) == nodes > 0


def test_a_timeline_is_of_the_nodes_that_were_asked_for(lake: Connection) -> None:
    """In their order; by default those with most trouble."""
    troubled = report.troubled_nodes(lake, 3)["node_id"].to_list()
    rows = _rows(report.state_timeline(lake, troubled[::-1]), 0)
    assert [*dict.fromkeys(row["node_id"] for row in rows)] == troubled[::-1]
    assert len({row["node_id"] for row in _rows(report.state_timeline(lake), 0)}) == 14


def test_every_node_has_a_line_of_cells(lake: Connection) -> None:
    """And the colours are those of the palette, in one order."""
    rows = _rows(report.node_map(lake))
    (nodes,) = lake.sql("select count(distinct (pool_id, node_id)) from node_states").fetchall()[0]
    assert len({(row["pool_id"], row["line"]) for row in rows}) == nodes
    scale = colours(["idle", "running"]).to_dict()
    assert scale == {
        "domain": ["running", "idle"],
        "range": [STATES["running"].light, STATES["idle"].light],
    }


def test_a_lake_without_listings_or_prices_says_so(lake: Connection, tmp_path: Path) -> None:
    """Instead of an empty picture."""
    with connect(tmp_path / "none") as empty, pytest.raises(ValueError, match="nothing to draw"):
        report.fleet_chart(empty)
    with (
        connect(lake.lake) as unpriced,
        pytest.raises(ValueError, match="no prices: open the lake with"),
    ):
        report.cost_chart(unpriced)


def test_a_picture_carries_its_text(lake: Connection) -> None:
    """The renderer of notebooks gives each picture its alternative text and its size."""
    names, active = alt.renderers.names(), alt.renderers.active
    assert "nodelake" not in names
    use_pictures(kind="svg")
    try:
        assert theme()["config"]["background"] == "white"
        chart = report.cost_chart(lake)
        bundle, metadata = alt.renderers.get()(chart.to_dict())
        assert bundle["image/svg+xml"].startswith("<svg")
        assert metadata["image/svg+xml"]["alt"].startswith("Bars: what each pool cost")
        alt.renderers.enable("nodelake", kind="png", scale=1)
        bundle, metadata = alt.renderers.get()(chart.to_dict())
        assert bundle["image/png"].startswith(b"\x89PNG")
        assert metadata["image/png"]["width"] > 600
        assert json.dumps(metadata)
    finally:
        alt.renderers.enable(active)
        alt.theme.enable("default")
