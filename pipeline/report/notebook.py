"""The theme of charts in notebooks: one colour for each state, pictures with alternative texts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import altair as alt
import polars as pl

from pipeline.report.palette import STATES, stacked

if TYPE_CHECKING:
    from pipeline.query import Connection

#: The width of the charts of ``lake_charts`` in pixels.
WIDTH = 720
_HOUR = timedelta(hours=1)


def use_pictures(kind: str = "png", scale: float = 1.5) -> None:
    """Draws every chart of the notebook as a picture in it: nothing is fetched to see it later.

    A chart's ``description`` is its alternative text. Frames of any size may be drawn.

    Args:
        kind: ``png`` or ``svg``.
        scale: pixels of a PNG for each of the chart's.
    """
    alt.theme.register("nodelake", enable=True)(theme)
    alt.renderers.register("nodelake", lambda chart, **options: _picture(chart, **options))
    alt.renderers.enable("nodelake", kind=kind, scale=scale)
    alt.data_transformers.disable_max_rows()


def theme() -> alt.theme.ThemeConfig:
    """Plain charts: no frame, light grid, titles to the left."""
    axis = {"gridColor": "#e8e8e8", "domain": False, "tickColor": "#bbb", "labelFontSize": 11}
    header = {"labelFontSize": 13, "labelFontWeight": "bold", "title": None}
    header |= {"labelOrient": "top", "labelAnchor": "start", "labelPadding": 2}
    legend = {"title": None, "labelFontSize": 11, "labelLimit": 220}
    title = {"anchor": "start", "fontSize": 16, "offset": 12}
    view = {"stroke": None, "continuousWidth": WIDTH}
    parts: Any = {"axis": axis, "header": header, "legend": legend, "title": title, "view": view}
    return {"config": parts | {"background": "white"}}


def _picture(chart: dict[str, Any], *, kind: str, scale: float) -> Any:
    import vl_convert

    alternative = {"alt": chart.get("description", "")}
    if kind == "svg":
        drawn: str = vl_convert.vegalite_to_svg(chart, allowed_base_urls=[])
        return {"image/svg+xml": drawn}, {"image/svg+xml": alternative}
    picture: bytes = vl_convert.vegalite_to_png(chart, scale=scale, allowed_base_urls=[])
    width, height = (int.from_bytes(picture[n : n + 4], "big") / scale for n in (16, 20))
    return {"image/png": picture}, {"image/png": alternative | {"width": width, "height": height}}


def colours(states: Iterable[str]) -> alt.Scale:
    """A scale of these states, in the order in which they are stacked."""
    there = set(states)
    shown = [state for state in stacked() if state in there]
    return alt.Scale(domain=shown, range=[STATES[state].light for state in shown])


class Time:
    """The range of a chart, in UTC, and its axis."""

    def __init__(self, lake: Connection, start: datetime | None, end: datetime | None) -> None:
        hours = (
            lake.scan("pool_hours")
            .select(pl.col("hour").min().alias("first"), pl.col("hour").max().alias("last"))
            .collect()
        )
        first, last = hours.row(0)
        if first is None:
            raise ValueError(f"no pool was listed yet in {lake.lake}: there is nothing to draw")
        self.start: datetime = start or first
        self.end: datetime = end or last.replace(minute=0) + _HOUR
        if self.start >= self.end:
            raise ValueError("end must be after start")

    @property
    def hours(self) -> float:
        """The number of hours."""
        return (self.end - self.start) / _HOUR

    def within(self, column: str) -> pl.Expr:
        """Whether a time of a frame is in the range."""
        return pl.col(column).is_between(self.start, self.end, closed="left")

    def axis(self, column: str, **more: Any) -> alt.X:
        """The axis: the same for every chart of the same time."""
        shape = "%H:%M" if self.hours < 72 else "%b %d"
        domain = [1000 * self.start.timestamp(), 1000 * self.end.timestamp()]
        return alt.X(
            column,
            type="temporal",
            scale=alt.Scale(type="utc", domain=domain),
            axis=alt.Axis(title=None, format=shape, tickCount=12),
            **more,
        )

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"
