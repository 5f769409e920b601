"""Pictures with a line for each node or pool: states, hours, use of slots, time to ready."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from pipeline.report import palette
from pipeline.report.findings import Bin, Row, stretches
from pipeline.report.frame import (
    ORDER,
    Chart,
    Frame,
    data,
    fill,
    gaps_of,
    labels_of,
    layer,
    ms,
    rects,
    time_axis,
)
from pipeline.report.span import Span
from pipeline.report.svg import colour
from pipeline.report.text import count, cut, percent, stretch

_MINUTES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1440, 2880, 6000, 12000)


def nodes_over_time(
    rows: Sequence[tuple[str, str, Sequence[tuple[str, int, int]]]],
    fine: Span,
    bins: Sequence[Bin],
    span: Span,
    frame: Frame,
) -> Chart:
    """Nodes x time: one line a node, the colour of a state in each bin.

    Args:
        rows: each node's short label, whole name, and states, each from a bin to another, exclusive.
        fine: the time of those bins.
        bins: the pool's own, for what was not watched.
        span: their time.
        frame: the room, ``frame.height / len(rows)`` a line.
    """
    high = frame.height / max(len(rows), 1)
    cells, labels = [], []
    for line, (label, name, states) in enumerate(rows):
        place = {"y": line * high + 1, "y2": (line + 1) * high - 1}
        labels.append({"y": (line + 0.5) * high, "l": label, "t": name})
        for state, begin, end in states:
            start, until = fine.edges(begin, end)
            tooltip = f"{name}\n{state}, {stretch(start, until)} UTC"
            look = "gap" if state == "unobserved" else state
            look = look if look in (*palette.STATES, "gap") else "other"
            cells.append({**place, "x": ms(start), "x2": ms(until), "c": look, "t": tooltip})
    x = time_axis(span, frame)
    plain = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[frame.height, 0], nice=False))
    layers = [
        rects(gaps_of([each.states is not None for each in bins], span), "gap", x, frame),
        alt.Chart(data(cells))
        .mark_rect()
        .encode(
            x=x,
            x2="x2:Q",
            y=plain,
            y2="y2:Q",
            fill=fill([look for look in (*ORDER, "gap") if any(c["c"] == look for c in cells)]),
            description="t:N",
        ),
        labels_of(labels, plain),
    ]
    return layer(layers, frame)


def shares(rows: Sequence[tuple[str, dict[str, float]]], frame: Frame) -> Chart:
    """Each pool's node-hours as shares of states, its hours at the end of the line."""
    high = frame.height / max(len(rows), 1)
    pieces, names, sums = [], [], []
    for line, (name, hours) in enumerate(rows):
        whole = sum(hours.values())
        low = 0.0
        place = {"y": line * high + 3, "y2": (line + 1) * high - 3}
        for state in (*ORDER, "unobserved"):
            if not hours.get(state):
                continue
            share = 100 * hours[state] / whole
            tooltip = f"{name}\n{state}: {hours[state]:,.1f} node-hours, {percent(share, 100)}"
            look = "gap" if state == "unobserved" else state
            pieces.append({**place, "x": low, "x2": low + share, "c": look, "t": tooltip})
            low += share
        middle = {"y": (line + 0.5) * high, "t": name}
        names.append({**middle, "l": cut(name, max((frame.left - 10) // 6, 4))})
        sums.append({**middle, "l": f"{whole:,.0f} h", "t": f"{whole:,.1f} node-hours"})
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[frame.height, 0], nice=False))
    x = alt.X(
        "x:Q",
        title=None,
        scale=alt.Scale(domain=[0, 100], nice=False),
        axis=alt.Axis(
            # a telephone has room for three
            values=[0, 25, 50, 75, 100] if frame.inner > 300 else [0, 50, 100],
            labelExpr="datum.value + ' %'",
            grid=False,
            tickSize=4,
            labelFlush=True,
            labelOverlap=True,
        ),
    )
    used = [name for name in (*ORDER, "gap") if any(piece["c"] == name for piece in pieces)]
    bars = alt.Chart(data(pieces)).mark_rect()
    layers = [
        bars.encode(x=x, x2="x2:Q", y=y, y2="y2:Q", fill=fill(used), description="t:N"),
        labels_of(names, y),
        labels_of(sums, y, frame.inner + 8, "left"),
    ]
    return layer(layers, frame)


def use(rows: Sequence[tuple[str, Sequence[Bin]]], span: Span, frame: Frame) -> Chart:
    """The use of each pool's task slots: the fuller the line, the busier."""
    high = frame.height / max(len(rows), 1)
    cells, tracks, labels, gaps, means = [], [], [], [], []
    for line, (name, bins) in enumerate(rows):
        place = {"y": line * high + 2, "y2": (line + 1) * high - 2}
        middle = {"y": (line + 0.5) * high, "t": name}
        labels.append({**middle, "l": cut(name, max((frame.left - 10) // 6, 4))})
        busy, slots = sum(b.busy_slots for b in bins), sum(b.slots for b in bins)
        means.append({**middle, "l": percent(busy, slots), "t": f"{name}, all the time"})
        gaps += [{**place, **gap} for gap in gaps_of([b.states is not None for b in bins], span)]
        for number, each in enumerate(bins):
            if each.slots:
                start, until = span.edges(number)
                share = min(each.busy_slots / each.slots, 1)
                top = place["y2"] - share * (place["y2"] - place["y"])
                tooltip = f"{name}, {stretch(start, until)} UTC\n{percent(share, 1)} of "
                tooltip += f"{each.slots:,.0f} slots in use"
                cells.append({**place, "x": ms(start), "x2": ms(until), "y": top, "t": tooltip})
        for begin, end in stretches([each.slots > 0 for each in bins]):
            start, until = span.edges(begin, end)
            tracks.append({**place, "x": ms(start), "x2": ms(until)})
    x = time_axis(span, frame)
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[frame.height, 0], nice=False))
    layers = [
        alt.Chart(data(gaps))
        .mark_rect(color=colour("gap"))
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q", description="t:N"),
        alt.Chart(data(tracks))
        .mark_rect(color=colour("grid"), opacity=0.5, aria=False)
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q"),
        alt.Chart(data(cells))
        .mark_rect(color=colour("use"))
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q", description="t:N"),
        labels_of(labels, y),
        labels_of(means, y, frame.inner + 8, "left"),
    ]
    return layer(layers, frame)


def ready(rows: Sequence[tuple[str, Row]], frame: Frame) -> Chart:
    """Minutes from allocation to ready: 5th to 95th percentile thin, the middle half thick."""
    high = frame.height / max(len(rows), 1)
    thin, thick, middle, labels = [], [], [], []
    for line, (name, row) in enumerate(rows):
        at = (line + 0.5) * high
        tooltip = f"{name}\n{count(row['nodes'], 'node')}: half within {row['p50']:,.1f} minutes, "
        tooltip += f"95 % within {row['p95']:,.1f}"
        p5, p25, p50, p75, p95 = (max(row[f"p{n}"], 0.05) for n in (5, 25, 50, 75, 95))
        thin.append({"y": at - 2, "y2": at + 2, "x": p5, "x2": p95, "t": tooltip})
        thick.append({"y": at - 6, "y2": at + 6, "x": p25, "x2": p75, "t": tooltip})
        middle.append({"y": at - 8, "y2": at + 8, "x": p50, "t": tooltip})
        label = cut(name, max((frame.left - 10) // 6, 4))
        labels.append({"y": at, "l": label, "t": tooltip})
    # boots take minutes, some hours: a logarithmic axis shows both
    low = max(min((row["p5"] for _, row in rows), default=1) * 0.8, 0.05)
    most = max(max((row["p95"] for _, row in rows), default=10) * 1.2, 4 * low)
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[frame.height, 0], nice=False))
    x = alt.X(
        "x:Q",
        title=None,
        scale=alt.Scale(type="log", domain=[low, most], nice=False),
        axis=alt.Axis(
            values=[n for n in _MINUTES if low <= n <= most],
            labelExpr="datum.value < 60 ? datum.value + ' min' : datum.value / 60 + ' h'",
            domain=False,
            labelFlush=True,
            labelOverlap=True,
        ),
    )
    layers = [
        alt.Chart(data(rows))
        .mark_rect(color=colour(name), opacity=opacity)
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q", description="t:N")
        for rows, name, opacity in ((thin, "use", 0.35), (thick, "use", 1))
    ]
    layers.append(
        alt.Chart(data(middle))
        .mark_rule(color=colour("ink"), strokeWidth=2)
        .encode(x=x, y=y, y2="y2:Q", description="t:N")
    )
    layers.append(labels_of(labels, y))
    return layer(layers, frame)
