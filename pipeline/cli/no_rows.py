"""Why an answer has no rows: the range, the pools, the thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline.cli.options import pools_like

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.query import Connection, Parameter, Question

#: How a parameter's meaning begins that rows have to reach, or must not exceed; and what all do.
_WIDEST = {"at least": 0, "at most": 1_000_000_000}


def reasons(
    connection: Connection, name: str, given: Mapping[str, object], *, is_alarm: bool = False
) -> Iterator[str]:
    """Sentences that say why an answer has no rows, the likeliest first; none where no reason is known.

    Args:
        connection: to the lake.
        name: of the question.
        given: its parameters, as they were given.
        is_alarm: no rows are the good answer, so only reasons that make it void are given.
    """
    from pipeline.query import question

    if connection.view.is_empty:
        return  # reported already
    asked = question(name)
    pool = given.get("pool")
    if pool is not None:
        near = pools_like(connection, str(pool))
        if str(pool) not in near:
            there = ", ".join(near) or "none was ever listed"
            yield f"no pool {pool} in {connection.lake}; there are: {there}"
            return
    if (outside := _outside(connection, asked, given)) is not None:
        yield outside
        return
    if partial := _never_complete(connection, pool):
        yield (
            f"no listing of {', '.join(partial)} is complete (imported without --complete, or cut "
            "short): nodes_latest and history leave their nodes out"
        )
    if not is_alarm:
        yield from _thresholds(connection, asked, given)


def _outside(connection: Connection, asked: Question, given: Mapping[str, object]) -> str | None:
    """The sentence about a range without snapshots."""
    names = [each for each in ("from", "to") if given.get(each) is not None]
    if not names:
        return None
    span = connection.table(
        "select min(snapshot_at) as first, max(snapshot_at) as last, count(*) filter ("
        "(cast($from as timestamptz) is null or snapshot_at >= cast($from as timestamptz)) and "
        "(cast($to as timestamptz) is null or snapshot_at < cast($to as timestamptz))) as within "
        "from snapshots",
        {"from": given.get("from"), "to": given.get("to")},
    ).to_pylist()[0]
    if span["within"] or span["first"] is None:
        return None
    range_ = " ".join(f"{each} {given[each]}" for each in names)
    return (
        f"no snapshot lies in the range {range_}; the lake has snapshots from "
        f"{span['first']:%Y-%m-%d %H:%M} to {span['last']:%Y-%m-%d %H:%M} UTC"
    )


def _never_complete(connection: Connection, pool: object) -> list[str]:
    """At most five pools with nodes but without a complete listing."""
    found = connection.table(
        "select pool_id from pools where $pool is null or pool_id = $pool group by pool_id "
        "having not bool_or(listing = 'complete') and sum(nodes_listed) > 0 order by 1 limit 5",
        {"pool": None if pool is None else str(pool)},
    )
    names: list[str] = found["pool_id"].to_pylist()
    return names


def _thresholds(
    connection: Connection, asked: Question, given: Mapping[str, object]
) -> Iterator[str]:
    """For each threshold that alone excludes all rows: its value, and the nearest value."""
    for each in asked.parameters:
        widest = next((v for words, v in _WIDEST.items() if words in each.doc), None)
        if widest is None or each.type not in ("double", "int", "bigint"):
            continue
        rows = connection.ask(asked.name, **{**given, each.name: widest})
        if rows.num_rows:
            value = given.get(each.name, each.default)
            yield (
                f"nothing reached {each.name} = {value} ({each.doc}); "
                f"{_nearest(rows, each, widest == 0)}--param {each.name}={widest} "
                f"answers {rows.num_rows:,} rows"
            )


def _nearest(rows: pa.Table, parameter: Parameter, is_least: bool) -> str:
    """The value nearest to a threshold, where only one column can be meant."""
    import pyarrow.compute as pc

    own = [
        name
        for name in rows.column_names
        if name == parameter.name or name.endswith(f"_{parameter.name}")
    ]
    if len(own) != 1:
        return ""
    value = (pc.max if is_least else pc.min)(rows[own[0]]).as_py()
    return "" if value is None else f"the nearest {own[0]} is {value:g}; "
