"""Computes hours, eventfulness and states by bin of every node of the report.

Frames go in and out: ``by_state`` is the answer of ``sql/report/nodes.sql``, ``stretches`` that of
``cells.sql``.
"""

from __future__ import annotations

import polars as pl

from pipeline.report import palette
from pipeline.report.span import Span

NODE = ["account", "pool_id", "node_id"]
#: Columns of ``summed``: hours by what a state means to the payer.
GROUPS = ("working", "idle", "passing", "broken", "unobserved", "not_paid")
_GROUP_OF = {
    state: {"trouble": "broken", "gone": "not_paid"}.get(look.group, look.group)
    for state, look in palette.STATES.items()
} | {"unobserved": "unobserved"}
_RANK = {state: len(palette.STATES) - rank for rank, state in enumerate(palette.STATES)}
_TROUBLE = [*palette.BROKEN]


def group_of(column: str = "state") -> pl.Expr:
    """The group of a state, one of ``GROUPS``; an unknown state counts as broken."""
    return pl.col(column).replace_strict(_GROUP_OF, default="broken", return_dtype=pl.String)


def summed(by_state: pl.DataFrame, span: Span) -> pl.DataFrame:
    """A row a node, the most eventful first.

    Columns: account, pool_id, node_id, vm_size, is_dedicated, first_at, last_at, last_state,
    last_observed_at, paid_hours, the hours of each of ``GROUPS``, and score: hours of trouble count
    most, then changes of state, those between idle and running little.
    """
    step = span.step.total_seconds()
    last = pl.col("last_observed_at").arg_max()
    is_work = pl.col("state").is_in(["idle", "running", "unobserved"])
    stays = pl.col("stays").sum().clip(0, span.bins)
    groups = [
        pl.col("hours").filter(pl.col("group") == group).sum().alias(group) for group in GROUPS
    ]
    return (
        by_state.with_columns(group=group_of())
        .group_by(NODE)
        .agg(
            pl.col("vm_size").get(last, null_on_oob=True),
            pl.col("is_dedicated").get(last, null_on_oob=True),
            pl.col("first_at").min(),
            pl.col("last_at").max(),
            pl.col("state").get(last, null_on_oob=True).alias("last_state"),
            pl.col("last_observed_at").max(),
            *groups,
            changes=pl.col("stays").filter(~is_work).sum().clip(0, span.bins),
            stays=stays,
        )
        .with_columns(
            paid_hours=pl.sum_horizontal(*(group for group in GROUPS if group != "not_paid")),
            score=3 * pl.col("broken") * 3600 / step
            + 2 * pl.col("changes")
            + 0.1 * pl.col("stays"),
        )
        .drop("changes", "stays")
        .sort("score", *NODE, descending=[True, False, False, False])
    )


def most_eventful(nodes: pl.DataFrame, many: int, of_pools: int) -> pl.DataFrame:
    """The most eventful nodes, best first: account, pool_id, node_id, rank, of_nodes.

    Pools take turns, so that one bad pool does not hide the others.
    """
    pool = ["account", "pool_id"]
    return (
        nodes.with_columns(
            place=pl.int_range(pl.len()).over(pool),
            of_nodes=pl.len().over(pool),
            pool_score=pl.col("score").max().over(pool),
        )
        .sort("pool_score", *pool, descending=[True, False, False])
        .with_columns(pool_place=pl.struct(pool).rle_id())
        .filter(pl.col("pool_place") < of_pools)
        .sort("place", "score", *NODE, descending=[False, True, False, False, False])
        .head(many)
        .with_row_index("rank", 1)
        .select(*NODE, "rank", "of_nodes")
    )


def drawn(stretches: pl.DataFrame, span: Span) -> pl.DataFrame:
    """The state of each node in each bin: account, pool_id, node_id, bin, state; sorted.

    It is the most troubling one if any was trouble, else the one that lasted longest.
    """
    step = span.step.total_seconds()
    is_one = pl.col("first_bin") == pl.col("last_bin")
    starts, ends = pl.col("bin") * step, (pl.col("bin") + 1) * step
    inside = pl.min_horizontal("ends", ends) - pl.max_horizontal("begins", starts)
    rank = pl.col("state").replace_strict(
        {state: _RANK[state] for state in _TROUBLE}, default=0, return_dtype=pl.Int32
    )
    return (
        stretches.lazy()
        .with_columns(pl.col("last_bin").clip(None, span.bins - 1))
        .with_columns(bin=pl.int_ranges("first_bin", pl.col("last_bin") + 1))
        .explode("bin")
        .drop_nulls("bin")
        .with_columns(seconds=pl.when(is_one).then("seconds").otherwise(inside))
        .group_by(*NODE, "bin", "state")
        .agg(pl.col("seconds").sum())
        .with_columns(rank=rank)
        .sort(
            *NODE, "bin", "rank", "seconds", "state", descending=[False] * 4 + [True, True, False]
        )
        .unique([*NODE, "bin"], keep="first", maintain_order=True)
        .select(*NODE, pl.col("bin").cast(pl.Int32), "state")
        .collect()
    )


def runs(cells: pl.DataFrame) -> pl.DataFrame:
    """Stretches of bins of one state: account, pool_id, node_id, state, begin, end (exclusive)."""
    is_new = (
        (pl.struct(*NODE, "state") != pl.struct(*NODE, "state").shift())
        | (pl.col("bin") != pl.col("bin").shift() + 1)
    ).fill_null(True)
    return (
        cells.with_columns(run=is_new.cum_sum())
        .group_by("run", maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in (*NODE, "state")),
            begin=pl.col("bin").first(),
            end=pl.col("bin").last() + 1,
        )
        .drop("run")
    )
