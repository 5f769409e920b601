"""More charts of a lake for notebooks, as in ``lake_charts``: what nodes cost, how their tasks went."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import altair as alt
import polars as pl

from pipeline.report import nodes
from pipeline.report.notebook import Time
from pipeline.report.palette import STATES

if TYPE_CHECKING:
    from pipeline.query import Connection

_GROUPS = {"working": "#2c6cb0", "idle": "#ecb93f", "passing": "#8ba3b0", "broken": "#a8123c"}


def costs(
    lake: Connection, start: datetime | None = None, end: datetime | None = None
) -> pl.DataFrame:
    """What node-hours cost by pool and group: pool_id, group, currency, hours, cost.

    Whole UTC days of ``node_hours`` times the prices of the connection; hours of sizes without a
    price are not in it. The groups are working, idle, passing and broken.
    """
    time = Time(lake, start, end)
    free = [state for state, look in STATES.items() if look.group == "gone"]
    size = pl.col("vm_size").str.to_lowercase()
    return (
        lake.scan("node_hours")
        .filter(
            pl.col("date").is_between(time.start.date(), time.end.date()),
            ~pl.col("state").is_in([*free, "unobserved"]),
        )
        .with_columns(vm_size=size, group=nodes.group_of())
        .join(
            lake.scan("prices").with_columns(vm_size=size),
            on=["vm_size", "is_dedicated"],
        )
        .group_by("pool_id", "group", "currency")
        .agg(pl.col("hours").sum(), cost=(pl.col("hours") * pl.col("price_per_hour")).sum())
        .sort("pool_id", pl.col("group").replace_strict({g: n for n, g in enumerate(_GROUPS)}))
        .collect()
    )


def cost_chart(
    lake: Connection, start: datetime | None = None, end: datetime | None = None
) -> alt.LayerChart | alt.FacetChart:
    """What each pool cost, and for what: see ``costs``.

    Raises:
        ValueError: the connection has no prices for any of the sizes.
    """
    money = costs(lake, start, end)
    if money.is_empty():
        raise ValueError("no prices: open the lake with connect(…, prices='prices.csv')")
    share = pl.col("cost") / pl.col("cost").sum().over("pool_id", "currency")
    amount = pl.col("cost").round(0).cast(pl.Int64).cast(pl.String)
    whole = pl.col("cost").sum().over("pool_id", "currency")
    money = money.with_columns(
        share=share,
        whole=whole,
        middle=share.cum_sum().over("pool_id", "currency") - share / 2,
        order=pl.col("group").replace_strict({g: n for n, g in enumerate(_GROUPS)}),
        text=pl.format("{} {}", "group", amount),
        pool=pl.format("{}: {} {}", "pool_id", whole.round(0).cast(pl.Int64), "currency"),
    )
    dearest = money.sort("whole", descending=True)["pool"].unique(maintain_order=True).to_list()
    pools = alt.Y("pool:N", title=None, sort=dearest, axis=alt.Axis(labelLimit=260))
    shares = alt.Axis(format="%")
    bars = (
        alt.Chart(money)
        .mark_bar(height=30)
        .encode(
            alt.X("share:Q", stack="zero", title=None, axis=shares, scale=alt.Scale(domain=[0, 1])),
            pools,
            alt.Color(
                "group:N",
                scale=alt.Scale(domain=[*_GROUPS], range=[*_GROUPS.values()]),
            ),
            alt.Order("order:Q"),
        )
    )
    words = (
        alt.Chart(money.filter(pl.col("share") > 0.08))
        .mark_text(fontWeight="bold")
        .encode(
            alt.X("middle:Q"),
            pools,
            alt.Text("text:N"),
            color=alt.condition("datum.group == 'idle'", alt.value("#202428"), alt.value("white")),
        )
    )
    return alt.layer(bars, words).properties(
        title="What the nodes cost, and for what",
        height=alt.Step(40),
        description=f"Bars: what each pool cost by what its nodes did: {'; '.join(dearest)}",
    )


def task_chart(
    lake: Connection, start: datetime | None = None, end: datetime | None = None
) -> alt.LayerChart | alt.FacetChart:
    """How long the task runs of each node took, and how many of them failed, a dot a node.

    Black holes (the question ``black_hole_nodes``) lie at the top left, with their names.
    """
    time = Time(lake, start, end)
    seconds = (pl.col("end_time") - pl.col("start_time")).dt.total_milliseconds() / 1000
    runs = (
        lake.scan("task_runs")
        .filter(time.within("end_time"))
        .group_by("pool_id", "node_id")
        .agg(
            runs=pl.len(),
            seconds=seconds.median(),
            failed=(pl.col("result") == "failure").fill_null(False).mean(),
        )
        .filter(pl.col("runs") >= 5)
        .sort("pool_id", "node_id")
        .collect()
    )
    asked = lake.ask("black_hole_nodes", **{"from": time.start, "to": time.end})
    holes = pl.DataFrame(pl.from_arrow(asked)).select("node_id")
    names = runs.join(holes, on="node_id").with_columns(
        name=pl.format("{}  {}", "pool_id", pl.col("node_id").str.head(14)),
        failed=pl.col("failed") - 0.07 * pl.int_range(pl.len()),  # one below the other
    )
    dots = (
        alt.Chart(runs)
        .mark_circle(opacity=0.6)
        .encode(
            alt.X(
                "seconds:Q",
                scale=alt.Scale(type="log", domainMin=10),
                title="median seconds of a task run",
            ),
            alt.Y("failed:Q", axis=alt.Axis(format="%"), title="failed"),
            alt.Size(
                "runs:Q",
                scale=alt.Scale(range=[20, 700]),
                legend=alt.Legend(title="task runs", tickCount=3),
            ),
            alt.Color("pool_id:N", scale=alt.Scale(scheme="dark2")),
        )
    )
    labels = (
        alt.Chart(names)
        .mark_text(align="left", dx=24)
        .encode(alt.X("seconds:Q"), alt.Y("failed:Q"), alt.Text("name:N"))
    )
    return alt.layer(dots, labels).properties(
        title="Tasks of each node",
        height=260,
        description=f"Dots: {runs.height} nodes by the median seconds of their task runs and by the "
        f"share that failed; {names.height} are black holes",
    )
