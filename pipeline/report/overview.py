"""The sections about the fleet: over time, pool by pool, and its most eventful nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from pipeline.report import charts, explorer, lines, nodes, palette, tables
from pipeline.report.findings import Bin, Findings
from pipeline.report.frame import Chart, Frame
from pipeline.report.picture import FULL, NARROW, THIRD, Part, Picture, both, left_out
from pipeline.report.svg import draw
from pipeline.report.tables import HtmlTable
from pipeline.report.text import count, cut, duration, each

#: The most nodes in the table of every node.
MOST_NODES = 2000
#: The most pools with a small picture of their own.
_SMALL = 9
#: The height of a node's line in pixels.
_LINE = 14


def fleet_parts(found: Findings) -> Iterator[Part]:
    """The sections about all nodes, nodes in trouble, and each pool."""
    span = found.span
    bins = found.fleet
    step = each(span.step)
    label = f"Nodes by state over time, mean of every {step}: {_in_words(bins)}"
    over_time = Picture(
        *both(
            lambda frame: charts.fleet(bins, span, frame),
            label,
            Frame(FULL, 230),
            Frame(NARROW, 190),
        ),
        title="All nodes",
        note=f"mean of every {step}",
    )
    part = Part(
        "The fleet over time",
        "fleet",
        "Point at a picture to read its numbers; the tables behind it have them too.",
        pictures=[over_time],
    )
    in_trouble = (*palette.BROKEN, "other")
    if any((b.states or {}).get(state) for b in bins for state in in_trouble):
        part.pictures.append(
            Picture(
                *both(
                    lambda frame: charts.fleet(bins, span, frame, in_trouble, 3),
                    "Nodes in trouble over time: at most "
                    + count(max(_in_trouble(b, in_trouble) for b in bins), "node"),
                    Frame(FULL, 84),
                    Frame(NARROW, 84),
                ),
                title="Of those, in trouble",
                note="unusable, start task failed, unknown, offline"
                + (", another state" if any((b.states or {}).get("other") for b in bins) else ""),
            )
        )
    part.tables.append(_bins_table(found))
    if len(found.pools) < 2:
        yield part
        return
    own_tables, part.tables = part.tables, []
    yield part
    small = list(found.pools.items())[:_SMALL]
    yield Part(
        "",
        "pools",
        left_out(len(found.pools), len(small), "pool"),
        "third",
        [
            Picture(
                draw(
                    charts.fleet(pool, span, Frame(THIRD, 96, left=34), ticks=3),
                    f"Nodes of pool {found.name(*key)} by state over time: {_in_words(pool)}",
                ),
                title=found.name(*key),
                note=f"{_mean(pool):,.0f} nodes on average",
            )
            for key, pool in small
        ],
        own_tables,
    )


def _in_trouble(one: Bin, states: Sequence[str]) -> float:
    return sum((one.states or {}).get(state, 0) for state in states)


def _in_words(bins: Sequence[Bin]) -> str:
    """The alternative text of a picture of nodes over time."""
    seen = [one.nodes for one in bins if one.states is not None]
    if not seen:
        return "not watched"
    return f"between {min(seen):,.0f} and {max(seen):,.0f} nodes, {_mean(bins):,.0f} on average"


def _mean(bins: Sequence[Bin]) -> float:
    seen = [one.nodes for one in bins if one.states is not None]
    return sum(seen) / len(seen) if seen else 0


def _bins_table(found: Findings) -> HtmlTable:
    states = [
        state
        for state in (*palette.stacked(), "other")
        if any((one.states or {}).get(state) for one in found.fleet)
    ]
    rows = []
    for place, one in enumerate(found.fleet):
        start, _ = found.span.edges(place)
        nodes = one.nodes if one.states is not None else None
        own = [
            (one.states or {}).get(state, 0.0) if nodes is not None else None for state in states
        ]
        rows.append([start, nodes, *own, one.missing, one.finished, one.failed])
    return tables.of_rows(
        "The fleet, step by step",
        ["from", "nodes", *states, "pools_missing", "tasks_finished", "tasks_failed"],
        rows,
        note="Empty where nothing was watched.",
        most=200,
    )


def node_parts(found: Findings) -> Iterator[Part]:
    """The section with lines of the most eventful nodes by pool, and a table of all nodes."""
    part = Part(
        "The most eventful nodes",
        "nodes",
        shape="full",
        tables=[_nodes_table(found)],
    )
    whole = found.nodes.height
    if not found.drawn.is_empty():
        pools = found.drawn.partition_by("account", "pool_id", maintain_order=True)
        shown = sum(pool["node_id"].n_unique() for pool in pools)
        of_pools = f" in the {len(pools)} most eventful pools"
        where = of_pools if len(pools) < len(found.pools) else ""
        part.note = (
            f"{shown:,} of {whole:,} nodes that were listed{where}, those with the most trouble and "
            "change: a line is a node, a colour the state it was in for most of "
            f"{duration(found.coarse.step)}, or any trouble it was in meanwhile; empty is not in the "
            "pool."
        )
        for pool in pools:
            key = pool["account"][0], pool["pool_id"][0]
            bins = found.pools.get(key, found.fleet)
            part.pictures.append(_nodes_of(found, pool, bins, found.name(*key)))
    if whole:
        yield part


def _nodes_table(found: Findings) -> HtmlTable:
    """The table of every node and its hours, which the script filters, and links lead to."""
    kind = pl.col("is_dedicated").replace_strict(
        {True: "dedicated", False: "spot"}, default="not known", return_dtype=pl.String
    )
    rows = found.nodes.select(
        "node_id",
        found.named.alias("pool"),
        kind.alias("kind"),
        "last_state",
        pl.col("last_observed_at").alias("last_seen"),
        "paid_hours",
        *nodes.GROUPS,
    )
    table = tables.of_frame(
        "Every node and its hours",
        rows,
        note="The most eventful first. Hours by what a state means: broken is unusable, start task "
        "failed, unknown and offline; unobserved is time whose state no listing shows.",
        most=MOST_NODES,
    )
    anchors = [f"node={explorer.anchor(node)}" for node in rows["node_id"].head(MOST_NODES)]
    return replace(table, anchor="every-node", row_anchors=anchors)


def _nodes_of(found: Findings, cells: pl.DataFrame, bins: Sequence[Bin], name: str) -> Picture:
    rows = {
        str(own["node_id"][0]): [*own.select("state", "begin", "end").iter_rows()]
        for own in nodes.runs(cells).partition_by("node_id", maintain_order=True)
    }

    def make(frame: Frame) -> Chart:
        letters = max((frame.left - 8) // 7, 6)
        drawn = [(_short(node, letters), node, states) for node, states in rows.items()]
        return lines.nodes_over_time(drawn, found.coarse, bins, found.span, frame)

    height = _LINE * len(rows)
    of = int(cells["of_nodes"][0])
    wide, narrow = both(
        make,
        f"States over time of the {len(rows)} most eventful nodes of pool {name}",
        Frame(FULL, height, left=170),
        Frame(NARROW, height, left=88),
    )
    return Picture(wide, narrow, name, f"{len(rows):,} of {count(of, 'node')}")


def _short(node_id: str, letters: int) -> str:
    """A node's id without the service's prefix, cut to ``letters``."""
    return cut(node_id.removeprefix("tvmps_").removeprefix("tvm-"), letters)
