"""Charts of a lake for notebooks: each takes a connection and returns an Altair chart.

``start`` and ``end`` (exclusive, with a time zone) choose the time; without them it is the whole record.
Every chart has a description, its alternative text.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import altair as alt
import polars as pl

from pipeline.report import nodes, palette
from pipeline.report.notebook import WIDTH, Time, colours
from pipeline.report.palette import stacked
from pipeline.report.span import Span

if TYPE_CHECKING:
    from pipeline.query import Connection

_INCARNATION = ["account", "pool_id", "node_id", "allocation_time"]
_LAYERS = {state: number for number, state in enumerate(stacked())}
_STEPS = {"booted": "#8ba3b0", "start task done": "#ecb93f", "ready for tasks": "#2c6cb0"}
#: Bins of time of ``node_map``, and letters of a node's id in it.
_BINS, _LETTERS = 144, 14


def fleet_chart(
    lake: Connection, start: datetime | None = None, end: datetime | None = None
) -> alt.Chart:
    """Each pool's nodes by state, hour by hour: means of its listings, from ``pool_hours``."""
    time = Time(lake, start, end)
    counts = (
        lake.scan("pool_hours")
        .filter(time.within("hour"))
        .select("pool_id", "hour", "^nodes_.*$")
        .unpivot(index=["pool_id", "hour"], variable_name="state", value_name="nodes")
        .filter(pl.col("nodes") > 0)
        .with_columns(
            pl.col("state").str.strip_prefix("nodes_"),
            middle=pl.col("hour") + pl.duration(minutes=30),
        )
        .with_columns(order=pl.col("state").replace_strict(_LAYERS, default=99))
        .collect()
    )
    pools = ", ".join(sorted(counts["pool_id"].unique()))
    chart: alt.Chart = (
        alt.Chart(
            counts,
            title="Nodes by state",
            height=130,
            description=f"Stacked bars: nodes by state in every hour of {time}, pools {pools}",
        )
        .mark_bar(width=WIDTH / time.hours)
        .encode(
            time.axis("middle"),
            alt.Y("nodes:Q", title=None),
            alt.Color("state:N", scale=colours(counts["state"])),
            alt.Order("order:Q"),
            alt.Row("pool_id:N"),
        )
        .resolve_scale(y="independent")
    )
    return chart


def _states(lake: Connection, time: Time) -> pl.LazyFrame:
    """The states that overlap a range, each until its latest possible end."""
    until = pl.coalesce("ended_before", "ended_after", "last_observed_at")
    return (
        lake.scan("node_states")
        .with_columns(until=until)
        .filter(pl.col("state_transition_time") < time.end, pl.col("until") > time.start)
        .with_columns(
            since=pl.max_horizontal("state_transition_time", pl.lit(time.start)),
            until=pl.min_horizontal("until", pl.lit(time.end)),
        )
    )


def node_map(
    lake: Connection, start: datetime | None = None, end: datetime | None = None
) -> alt.Chart:
    """Every node over time, a line each in the order they came.

    The colour is the most troubling state of each bin of time, or the one that lasted longest.
    """
    time = Time(lake, start, end)
    span = Span(time.start, time.end, (time.end - time.start) / _BINS)
    step = span.step.total_seconds()
    first = pl.lit(time.start)
    begins = (pl.col("since") - first).dt.total_microseconds() / 1e6
    ends = (pl.col("until") - first).dt.total_microseconds() / 1e6
    stretches = (
        _states(lake, time)
        .with_columns(begins=begins, ends=ends)
        .with_columns(
            first_bin=(pl.col("begins") / step).floor().cast(pl.Int32),
            last_bin=(pl.col("ends") / step).ceil().cast(pl.Int32) - 1,
            seconds=pl.col("ends") - pl.col("begins"),
        )
        .with_columns(last_bin=pl.max_horizontal("first_bin", "last_bin"))
        .collect()
    )
    came = pl.struct(pl.col("state_transition_time").min().over(nodes.NODE), "node_id")
    lines = stretches.select(*nodes.NODE, line=came.rank("dense").over("account", "pool_id"))
    at = first + pl.duration(seconds=pl.col("begin") * step)
    until = first + pl.duration(seconds=pl.col("end") * step)
    cells = (
        nodes.runs(nodes.drawn(stretches, span))
        .join(lines.unique(), on=nodes.NODE)
        .select("pool_id", "line", "state", at=at, until=until)
    )
    chart: alt.Chart = (
        alt.Chart(
            cells,
            title="The state of each node",
            height=alt.Step(2),
            description=f"A line for each of {lines.unique().height} nodes over {time}: its state in "
            "colours, in the order in which the nodes of each pool came",
        )
        .mark_rect()
        .encode(
            time.axis("at"),
            alt.X2("until"),
            alt.Y("line:O", axis=None),
            alt.Color("state:N", scale=colours(cells["state"])),
            alt.Row("pool_id:N", spacing=8),
        )
        .resolve_scale(y="independent")
    )
    return chart


def troubled_nodes(
    lake: Connection,
    many: int = 14,
    start: datetime | None = None,
    end: datetime | None = None,
) -> pl.DataFrame:
    """The nodes that fell into trouble most often: account, pool_id, node_id, troubles, hours."""
    time = Time(lake, start, end)
    hours = (pl.col("until") - pl.col("since")).dt.total_seconds() / 3600
    bad = [*palette.BROKEN, "preempted", "rebooting"]
    return (
        _states(lake, time)
        .filter(pl.col("state").is_in(bad))
        .group_by(nodes.NODE)
        .agg(troubles=pl.len(), hours=hours.sum().round(1))
        .sort("troubles", "hours", "node_id", descending=[True, True, False])
        .head(many)
        .collect()
    )


def state_timeline(
    lake: Connection,
    node_ids: Sequence[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> alt.LayerChart | alt.FacetChart:
    """The states of some nodes to the second; ticks are start tasks that failed, diamonds errors.

    Where a state ended between two listings its bar ends with the later of them.

    Args:
        lake: an open lake.
        node_ids: which nodes, from the top; by default the 14 with most trouble.
        start: from when.
        end: until when, exclusive.
    """
    time = Time(lake, start, end)
    if node_ids is None:
        node_ids = troubled_nodes(lake, start=start, end=end)["node_id"].to_list()
    order = pl.LazyFrame({"node_id": list(node_ids)}).with_row_index("place")
    label = pl.format("{}  {}", "pool_id", pl.col("node_id").str.head(_LETTERS))

    def of_nodes(frame: pl.LazyFrame) -> pl.DataFrame:
        return frame.join(order, on="node_id").with_columns(node=label).sort("place").collect()

    bars = of_nodes(_states(lake, time))
    failed = of_nodes(
        lake.scan("start_task_runs").filter(
            pl.col("result") == "failure", time.within("start_time")
        )
    )
    errors = of_nodes(lake.scan("node_error_episodes").filter(time.within("first_observed_at")))
    names = bars["node"].unique(maintain_order=True).to_list()
    y = alt.Y("node:N", title=None, sort=names, axis=alt.Axis(labelLimit=250, grid=False))
    gantt = (
        alt.Chart(bars)
        .mark_bar(height=11)
        .encode(
            time.axis("since"),
            alt.X2("until"),
            y,
            alt.Color("state:N", scale=colours(bars["state"])),
        )
    )
    ticks = (
        alt.Chart(failed)
        .mark_tick(color="black", thickness=2, height=17)
        .encode(time.axis("start_time"), y)
    )
    diamonds = (
        alt.Chart(errors)
        .mark_point(shape="diamond", filled=True, color="black", opacity=1, size=28, yOffset=-9)
        .encode(time.axis("first_observed_at"), y)
    )
    drawn = [gantt, *(chart for chart, of in ((ticks, failed), (diamonds, errors)) if of.height)]
    return alt.layer(*drawn).properties(
        title=f"States of {len(names)} nodes",
        height=alt.Step(22),
        description=f"Bars: the states of {len(names)} nodes over {time}, with {failed.height} start "
        f"tasks that failed and {errors.height} errors: {', '.join(names[:3])}"
        + (" and others" if len(names) > 3 else ""),
    )


def start_task_chart(
    lake: Connection,
    every: timedelta = timedelta(minutes=30),
    start: datetime | None = None,
    end: datetime | None = None,
) -> alt.Chart:
    """Failed start-task runs over time by cause, pool by pool."""
    time = Time(lake, start, end)
    cause = pl.concat_str(
        pl.col("failure_code").fill_null("no code"),
        pl.format(" {}", "exit_code"),
        ignore_nulls=True,
    )
    failures = (
        lake.scan("start_task_runs")
        .filter(pl.col("result") == "failure", time.within("start_time"))
        .group_by("pool_id", cause.alias("cause"), at=pl.col("start_time").dt.truncate(every))
        .agg(runs=pl.len())
        .with_columns(middle=pl.col("at") + every / 2)
        .sort("pool_id", "at", "cause")
        .collect()
    )
    chart: alt.Chart = (
        alt.Chart(
            failures,
            title="Failed start-task runs",
            height=90,
            description=f"Stacked bars: {failures['runs'].sum()} failed start-task runs over {time} "
            f"by cause: {', '.join(sorted(failures['cause'].unique()))}",
        )
        .mark_bar(width=max(WIDTH * (every / timedelta(hours=1)) / time.hours, 1))
        .encode(
            time.axis("middle"),
            alt.Y("runs:Q", stack="zero", title=None, axis=alt.Axis(tickMinStep=1)),
            alt.Color("cause:N", scale=alt.Scale(scheme="tableau10")),
            alt.Row("pool_id:N"),
        )
    )
    return chart


def ready_chart(
    lake: Connection,
    minutes: float = 15,
    start: datetime | None = None,
    end: datetime | None = None,
) -> alt.Chart:
    """The share of new nodes that had booted and become ready, by minutes after allocation.

    Where a line stays below 100 %, the other nodes never got there.
    """
    time = Time(lake, start, end)
    new = lake.scan("node_incarnations").filter(
        time.within("allocation_time"),
        pl.col("first_observed_at") - pl.col("allocation_time") < timedelta(minutes=15),
    )
    moments = {
        "booted": lake.scan("node_boots").select(*_INCARNATION, at="boot_time"),
        "start task done": lake.scan("start_task_runs")
        .filter(pl.col("result") == "success")
        .select(*_INCARNATION, at="end_time"),
        "ready for tasks": lake.scan("node_states")
        .filter(pl.col("state").is_in(["idle", "running"]))
        .select(*_INCARNATION, at="state_transition_time"),
    }
    after = (pl.col("at") - pl.col("allocation_time")).dt.total_seconds() / 60
    reached = pl.concat(
        new.select(_INCARNATION)
        .join(at, on=_INCARNATION, how="left")
        .group_by(_INCARNATION)
        .agg(pl.col("at").min())
        .with_columns(step=pl.lit(step), minutes=after)
        for step, at in moments.items()
    )
    rank = (pl.col("minutes").rank("max") / pl.len()).over("pool_id", "step")
    steps = reached.with_columns(share=rank).drop_nulls("minutes").collect()
    steps = steps.filter(pl.col("minutes") < minutes).select("pool_id", "step", "share", "minutes")
    ends = steps.group_by("pool_id", "step").agg(
        pl.col("share").max(), minutes=pl.lit(float(minutes))
    )
    steps = pl.concat([steps, ends.select(steps.columns)]).sort("pool_id", "step", "minutes")
    share = alt.Axis(format="%", values=[0, 0.5, 1])
    chart: alt.Chart = (
        alt.Chart(
            steps,
            title="Share of new nodes that got so far",
            height=130,
            description="Step lines: the share of new nodes that had booted, had finished their start "
            f"task and were ready for tasks, up to {minutes:g} minutes after their allocation",
        )
        .mark_line(interpolate="step-after", strokeWidth=2.5)
        .encode(
            alt.X(
                "minutes:Q",
                title="minutes after allocation",
                scale=alt.Scale(domain=[0, minutes]),
            ),
            alt.Y("share:Q", title=None, axis=share, scale=alt.Scale(domain=[0, 1.02])),
            alt.Color("step:N", sort=[*_STEPS], scale=alt.Scale(range=[*_STEPS.values()])),
            alt.StrokeDash("step:N", sort=[*_STEPS], legend=None),
            alt.Row("pool_id:N"),
        )
    )
    return chart
