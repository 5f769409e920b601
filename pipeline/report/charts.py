"""Stacked pictures of the fleet and of events over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import altair as alt

from pipeline.report.findings import Bin, Row, stretches
from pipeline.report.frame import (
    ORDER,
    Chart,
    Frame,
    data,
    fill,
    gaps_of,
    layer,
    ms,
    rects,
    time_axis,
    y_axis,
)
from pipeline.report.span import Span
from pipeline.report.svg import colour
from pipeline.report.text import count, stretch


def fleet(
    bins: Sequence[Bin], span: Span, frame: Frame, only: Sequence[str] = (), ticks: int = 4
) -> Chart:
    """Nodes by state over time, stacked; times without listings are hatched.

    Args:
        bins: of a pool, or of the fleet.
        span: their time.
        frame: the size.
        only: only these states.
        ticks: the approximate number of grid lines.
    """
    states = [state for state in ORDER if not only or state in only]
    areas: list[Row] = []
    top = 0.0
    for begin, end in stretches([each.states is not None for each in bins]):
        lows = [0.0] * (end - begin)
        for state in states:
            nodes = [(each.states or {}).get(state, 0.0) for each in bins[begin:end]]
            highs = [low + more for low, more in zip(lows, nodes, strict=True)]
            if any(nodes):
                of = {"c": state, "s": f"{begin} {state}"}
                points = [*zip(range(begin, end), lows, highs, strict=True)]
                points.append((end, lows[-1], highs[-1]))
                areas += [
                    {**of, "x": ms(_edge(span, place)), "y": round(low, 3), "y2": round(high, 3)}
                    for place, low, high in points
                ]
            lows = highs
        top = max([top, *lows])
    x = time_axis(span, frame)
    shown = [state for state in states if any(row["c"] == state for row in areas)]
    layers = [
        rects(gaps_of([each.states is not None for each in bins], span), "gap", x, frame),
        alt.Chart(data(areas))
        .mark_area(interpolate="step-after", line=False, aria=False)
        .encode(x=x, y=y_axis(top, ticks=ticks), y2="y2:Q", fill=fill(shown), detail="s:N"),
    ]
    missing = [
        {"x": ms(_edge(span, place)), "x2": ms(_edge(span, place + 1)), "t": _lacks(each)}
        for place, each in enumerate(bins)
        if each.missing and each.states is not None
    ]
    if missing:
        layers.append(
            alt.Chart(data(missing))
            .mark_rect(color=colour("partial"))
            .encode(x=x, x2="x2:Q", y=alt.value(-7), y2=alt.value(-3), description="t:N")
        )
    tooltips = [
        {
            "x": ms(_edge(span, place)),
            "x2": ms(_edge(span, place + 1)),
            "t": _tooltip(each, states, stretch(*span.edges(place))),
        }
        for place, each in enumerate(bins)
        if each.states is not None
    ]
    layers.append(rects(tooltips, "hover", x, frame))
    return layer(layers, frame)


def _edge(span: Span, place: int) -> datetime:
    return min(span.start + place * span.step, span.end)


def _lacks(each: Bin) -> str:
    return f"{count(each.missing, 'pool')} not watched: not in the sum"


def _tooltip(each: Bin, states: Sequence[str], when: str) -> str:
    given = each.states or {}
    lines = [f"{when} UTC"]
    lines += [f"{given[s]:,.1f} {s}" for s in reversed(states) if given.get(s, 0) >= 0.05]
    if each.missing:
        lines.append(_lacks(each))
    return "\n".join(lines)


def columns(
    rows: Sequence[tuple[int, str, float, str]],
    order: Sequence[str],
    watched: Sequence[bool],
    span: Span,
    frame: Frame,
) -> Chart:
    """Stacked columns over time.

    Args:
        rows: bin, colour, number and its tooltip.
        order: the colours from the bottom up.
        watched: of each bin, whether anything was.
        span: their time.
        frame: the room.
    """
    heights: dict[int, float] = defaultdict(float)
    pieces = []
    for place, name, number, tooltip in sorted(rows, key=lambda row: (row[0], order.index(row[1]))):
        if not number or place >= span.bins:
            continue
        start, until = (ms(at) for at in span.edges(place))
        room = (until - start) * 0.08
        low = heights[place]
        heights[place] += number
        when = stretch(*span.edges(place))
        pieces.append(
            {"x": start + room, "x2": until - room, "y": low, "y2": low + number, "c": name}
            | {"t": f"{when} UTC\n{tooltip}"}
        )
    x = time_axis(span, frame)
    layers = [
        rects(gaps_of(watched, span), "gap", x, frame),
        alt.Chart(data(pieces))
        .mark_rect()
        .encode(
            x=x,
            x2="x2:Q",
            y=y_axis(max(heights.values(), default=1)),
            y2="y2:Q",
            fill=fill(order),
            description="t:N",
        ),
    ]
    return layer(layers, frame)
