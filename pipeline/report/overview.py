"""The sections that show the fleet: over time, pool by pool, and its most eventful nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from pipeline.report import charts, lines, palette, tables
from pipeline.report.frame import Chart, Frame
from pipeline.report.gather import Bin, Findings, Pool, Row
from pipeline.report.picture import FULL, NARROW, THIRD, Part, Picture, both, left_out
from pipeline.report.span import Span
from pipeline.report.svg import draw
from pipeline.report.tables import Table
from pipeline.report.text import count, cut, duration, each

#: So many pools have a small picture of their own.
_SMALL = 9
#: How high the line of a node is, in pixels.
_LINE = 14


def fleet_parts(found: Findings) -> Iterator[Part]:
    """All nodes, those of them in trouble, and each pool's own."""
    span = found.span
    bins = found.fleet
    step = each(span.step)
    label = f"Nodes by state over time, mean of every {step}"
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
                    "Nodes in trouble over time",
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
                    f"Nodes of pool {found.name(*key)} by state over time",
                ),
                title=found.name(*key),
                note=f"{_mean(pool):,.0f} nodes on average",
            )
            for key, pool in small
        ],
        own_tables,
    )


def _mean(bins: Sequence[Bin]) -> float:
    seen = [one.nodes for one in bins if one.states is not None]
    return sum(seen) / len(seen) if seen else 0


def _bins_table(found: Findings) -> Table:
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
    """Lines of the most eventful nodes, those of each pool under its name."""
    by_pool: dict[Pool, list[Row]] = defaultdict(list)
    for row in found.cells:
        by_pool[row["account"], row["pool_id"]].append(row)
    if not by_pool:
        return
    pictures = []
    shown = whole = 0
    for key, rows in sorted(by_pool.items(), key=lambda item: item[1][0]["rank"]):
        nodes = _drawn(rows, found.fine)
        bins = found.pools.get(key, found.fleet)
        pictures.append(_nodes_of(found, nodes, bins, found.name(*key), rows[0]["of_nodes"]))
        shown += len(nodes)
        whole += rows[0]["of_nodes"]
    of_pools = f" in the {len(by_pool)} most eventful pools"
    where = of_pools if len(by_pool) < len(found.pools) else ""
    yield Part(
        "The most eventful nodes",
        "nodes",
        f"{shown:,} of {whole:,} nodes that were there{where}, those with the most trouble and "
        "change: a line is a node, a colour the state it was in for most of "
        f"{duration(found.fine.step)}, or any trouble it was in meanwhile; empty is not in the "
        "pool.",
        pictures=pictures,
    )


def _drawn(rows: Sequence[Row], fine: Span) -> dict[str, dict[int, str]]:
    """Each node's state by bin: the most troubling if any was trouble, else the longest."""
    step = fine.step.total_seconds()
    lasted: dict[str, dict[int, dict[str, float]]] = {}
    for row in rows:
        own = lasted.setdefault(row["node_id"], defaultdict(lambda: defaultdict(float)))
        state = row["state"] or "no state"
        for place in range(max(row["first_bin"], 0), min(row["last_bin"] + 1, fine.bins)):
            inside = min(row["ends"], (place + 1) * step) - max(row["begins"], place * step)
            is_one = row["first_bin"] == row["last_bin"]
            own[place][state] += row["seconds"] if is_one else inside
    return {
        node: {
            place: max(states, key=lambda s: _claim(s, states[s])) for place, states in own.items()
        }
        for node, own in lasted.items()
    }


def _claim(state: str, seconds: float) -> tuple[int, float]:
    is_trouble = palette.look_of(state).group == "trouble"
    return (_RANKS.get(state, 0) if is_trouble else 0), seconds


#: The higher, the more troubling.
_RANKS = {state: len(palette.STATES) - rank for rank, state in enumerate(palette.STATES)}


def _nodes_of(
    found: Findings, nodes: dict[str, dict[int, str]], bins: Sequence[Bin], name: str, of: int
) -> Picture:
    def make(frame: Frame) -> Chart:
        letters = max((frame.left - 8) // 7, 6)
        rows = [(_short(node, letters), node, states) for node, states in nodes.items()]
        return lines.nodes_over_time(rows, found.fine, bins, found.span, frame)

    height = _LINE * len(nodes)
    wide, narrow = both(
        make,
        f"States over time of the {len(nodes)} most eventful nodes of pool {name}",
        Frame(FULL, height, left=170),
        Frame(NARROW, height, left=88),
    )
    return Picture(wide, narrow, name, f"{len(nodes):,} of {count(of, 'node')}")


def _short(node_id: str, letters: int) -> str:
    """What the service puts before and after a node's own digits tells nothing."""
    return cut(node_id.removeprefix("tvmps_").removeprefix("tvm-"), letters)
