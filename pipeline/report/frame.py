"""Shared by all pictures: their size, their axes, and the hatching of times without listings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import altair as alt

from pipeline.report import palette
from pipeline.report.findings import Row, stretches
from pipeline.report.span import Span
from pipeline.report.svg import colour
from pipeline.report.text import stretch

Chart = alt.LayerChart
#: The states and all others, from the bottom up.
ORDER = (*palette.stacked(), "other")
_TEXT = 11
#: Pixels between two labels of an axis, so that none needs an angle.
_TICK_WIDTH = 74


@dataclass(frozen=True)
class Frame:
    """The size of a picture in pixels: total ``width``, and ``height`` within the axes."""

    width: int
    height: int
    left: int = 44
    right: int = 12
    top: int = 8
    bottom: int = 22

    @property
    def inner(self) -> int:
        """The width within the axes."""
        return self.width - self.left - self.right


def ms(at: datetime) -> int:
    """A time for Vega: milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def layer(layers: list[alt.Chart], frame: Frame) -> Chart:
    """A chart of layers, the first at the bottom, with this size and the colours of the page."""
    chart: Chart = (
        alt.layer(*layers)
        .properties(
            width=frame.inner,
            height=frame.height,
            autosize=alt.AutoSizeParams(type="none"),
            padding={
                "left": frame.left,
                "right": frame.right,
                "top": frame.top,
                "bottom": frame.bottom,
            },
        )
        .configure_view(strokeWidth=0)
        .configure_axis(
            labelFontSize=_TEXT,
            labelColor=colour("muted"),
            tickColor=colour("grid"),
            domainColor=colour("grid"),
            gridColor=colour("grid"),
            labelPadding=6,
        )
    )
    return chart


def time_axis(span: Span, frame: Frame) -> alt.X:
    """The axis of time, UTC: midnights show the date."""
    ticks = [ms(at) for at in span.ticks(max(frame.inner // _TICK_WIDTH, 2))]
    label = "utcFormat(datum.value, utchours(datum.value) == 0 ? '%-d %b' : '%H:%M')"
    return alt.X(
        "x:Q",
        title=None,
        scale=alt.Scale(domain=[ms(span.start), ms(span.end)], nice=False, zero=False),
        axis=alt.Axis(
            values=ticks,
            labelExpr=label,
            grid=False,
            tickSize=4,
            labelFlush=True,
            labelOverlap=True,
        ),
    )


def y_axis(top: float, *, ticks: int = 4) -> alt.Y:
    """An axis of integers, from 0 to at least ``top``."""
    form = "~s" if top >= 10_000 else ",~r"
    return alt.Y(
        "y:Q",
        title=None,
        scale=alt.Scale(domain=[0, top or 1], nice=True),
        axis=alt.Axis(tickCount=ticks, domain=False, ticks=False, format=form, tickMinStep=1),
    )


def data(rows: Sequence[Row]) -> alt.InlineData:
    """Rows as they are: nothing is fetched, or guessed from a name."""
    return alt.InlineData(values=list(rows))


def fill(names: Sequence[str], by: str = "c") -> alt.Fill:
    """The colours of the page by name; the page has the legend."""
    scale = alt.Scale(domain=list(names), range=[colour(name) for name in names])
    return alt.Fill(f"{by}:N", scale=scale, legend=None)


def rects(rows: Sequence[Row], name: str, x: alt.X, frame: Frame) -> alt.Chart:
    """Columns of one colour, from top to bottom; ``t`` is the tooltip."""
    chart: alt.Chart = (
        alt.Chart(data(rows))
        .mark_rect(color=colour(name))
        .encode(
            x=x,
            x2="x2:Q",
            y=alt.value(0),
            y2=alt.value(frame.height),
            description="t:N",
        )
    )
    return chart


def gaps_of(watched: Sequence[bool], span: Span) -> list[Row]:
    """Times without listings, as columns."""
    found = []
    for begin, end in stretches([not each for each in watched]):
        start, until = span.edges(begin, end)
        tooltip = f"Not watched: {stretch(start, until)} UTC"
        found.append({"x": ms(start), "x2": ms(until), "t": tooltip})
    return found


def labels_of(rows: Sequence[Row], y: alt.Y, at: float = -8, align: str = "right") -> alt.Chart:
    """Texts beside the lines of a picture: ``l`` is shown, ``t`` is its tooltip."""
    mark: dict[str, Any] = {"align": align, "baseline": "middle", "fontSize": _TEXT}
    chart: alt.Chart = (
        alt.Chart(data(rows))
        .mark_text(color=colour("muted"), **mark)
        .encode(x=alt.value(at), y=y, text="l:N", description="t:N")
    )
    return chart
