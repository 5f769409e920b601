"""The rows of many snapshots as one sorted stream: what a day file is written from.

Memory is bounded by ``BUDGET_BYTES``: a day that does not fit is read several times, each time for one
range of its nodes. Texts stay dictionary-encoded until they are written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.schema import Column, Table
from pipeline.storage import LakeError, Storage
from pipeline.tablefile import read, survey

#: Arrow memory that one pass over a day may take; a process needs about twice that in all.
BUDGET_BYTES = 900_000_000
#: Rows of a row group of a day file. Measured, bytes a row of nodes: 3.0 so, 2.9 with twice as many;
#: default dictionaries; delta encodings made sorted files larger (tests/bench/bench_compact.py).
ROWS_PER_GROUP = 65_536
#: Files read before their dictionaries are made one: what bounds their repeated texts.
_FILES_TOGETHER = 16

#: What a day file is sorted by: equal values lie together, and a node's history in one place.
ORDER: dict[str, tuple[str, ...]] = {
    "snapshots": ("snapshot_id",),
    "pools": ("pool_id", "snapshot_id"),
    "nodes": ("pool_id", "node_id", "observed_at", "snapshot_id"),
    "start_tasks": ("pool_id", "start_task_id", "snapshot_id"),
    "recent_tasks": ("pool_id", "node_id", "snapshot_id", "position"),
    "node_errors": ("pool_id", "node_id", "snapshot_id", "position"),
    "pool_usage": ("pool_id", "vm_size", "start_time", "snapshot_id"),
}


class Damaged(LakeError):
    """A file is missing, cannot be read, or does not hold what its ledger row says."""


def sorted_rows(
    storage: Storage,
    table: Table,
    files: Sequence[tuple[str, int | None]],
    *,
    budget_bytes: int = BUDGET_BYTES,
) -> Iterator[pa.Table]:
    """The rows of a table's files under today's schema, sorted, in tables of one row group.

    Args:
        storage: where the files are.
        table: which one.
        files: each file's key, and the rows it must have (None where no ledger tells).
        budget_bytes: Arrow memory of one pass.

    Raises:
        Damaged: a file is missing, cannot be read, or has another number of rows.
    """
    try:
        yield from _ahead(_sorted_rows(storage, table, files, budget_bytes))
    except Damaged:
        raise
    except (LakeError, pa.ArrowException) as error:
        raise Damaged(str(error)) from error


def _ahead(parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Makes the next part while this one is written: both leave one core idle."""
    with ThreadPoolExecutor(1) as other:
        coming = other.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = other.submit(next, parts, None)
            yield part


def _sorted_rows(
    storage: Storage,
    table: Table,
    files: Sequence[tuple[str, int | None]],
    budget_bytes: int,
) -> Iterator[pa.Table]:
    total = 0
    values: Counter[str] = Counter()
    for key, expected in files:
        rows, found = survey(storage, key)
        if expected is not None and rows != expected:
            told = f"the ledger says {expected} rows, the file has {rows}"
            raise Damaged(f"{storage.url(key)}: {told}")
        total += rows
        values.update(found)
    keys = ORDER[table.name][:2]
    # A fifth of the columns and more are null in every row of a day: those are not read.
    used = [
        column
        for column in table.stored
        if values[column.name] or column.name in ORDER[table.name] or _is_list(column)
    ]
    size = sum(_size(column, total, values[column.name]) for column in used)
    passes = max(1, -(-size // budget_bytes))
    bounds = _bounds(storage, files, keys, passes) if passes > 1 else []
    for lowest, limit in zip([None, *bounds], [*bounds, None], strict=True):
        yield from _in_order(_gather(storage, used, keys, files, lowest, limit), table)
        pa.default_memory_pool().release_unused()


def _is_list(column: Column) -> bool:
    return bool(pa.types.is_list(column.type))


def _size(column: Column, rows: int, values: int) -> int:
    """About how many bytes of Arrow a column takes, texts as dictionaries."""
    if _is_list(column):
        return 5 * rows + 20 * values
    bits = 32 if column.type == schema.TEXT else column.type.bit_width
    return rows * (bits + 1) // 8


def _range_key(rows: pa.Table, keys: Sequence[str]) -> pa.ChunkedArray:
    texts = [pc.fill_null(rows[name].cast(pa.string()), "") for name in keys]
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, "\x00")


def _bounds(
    storage: Storage, files: Sequence[tuple[str, int | None]], keys: Sequence[str], passes: int
) -> list[str]:
    """Where to cut the nodes into ranges of about equal size, from a few of the files."""
    sample = files[:: max(1, len(files) // 8)]
    found = [_range_key(read(storage, key, keys), keys) for key, _ in sample]
    values = sorted(value for part in found for value in part.to_pylist())
    cuts = {values[len(values) * number // passes] for number in range(1, passes)}
    return sorted(cuts)


def _gather(
    storage: Storage,
    columns: Sequence[Column],
    keys: Sequence[str],
    files: Sequence[tuple[str, int | None]],
    lowest: str | None,
    limit: str | None,
) -> pa.Table:
    """The rows of one range of nodes, of every file; of the columns, those given."""
    names = [column.name for column in columns]
    texts = [column.name for column in columns if column.type == schema.TEXT]
    done: list[pa.Table] = []
    waiting: list[pa.Table] = []
    for key, _ in files:
        rows = _conform(read(storage, key, names, dictionaries=texts), columns)
        if lowest is not None or limit is not None:
            place = _range_key(rows, keys)
            chosen = pa.scalar(True)
            if lowest is not None:
                chosen = pc.greater_equal(place, lowest)
            if limit is not None:
                chosen = pc.and_(chosen, pc.less(place, limit))
            rows = rows.filter(chosen)
        waiting.append(rows)
        if len(waiting) == _FILES_TOGETHER:
            done.append(pa.concat_tables(waiting).unify_dictionaries().combine_chunks())
            waiting = []
    done += waiting
    waiting.clear()  # nothing but ``done`` may hold the rows while they are made one
    return _whole(done, columns)


def _whole(parts: list[pa.Table], columns: Sequence[Column]) -> pa.Table:
    """The parts as one table without chunks, column by column: never two copies of all of them."""
    arrays = []
    for column in columns:
        chunks = [chunk for part in parts for chunk in part[column.name].chunks]
        parts[:] = [part.drop_columns([column.name]) for part in parts]
        kind = chunks[0].type if chunks else column.type
        arrays.append(pa.chunked_array(chunks, kind).unify_dictionaries().combine_chunks())
        del chunks
    pa.default_memory_pool().release_unused()
    return pa.table(arrays, [column.name for column in columns])


def _conform(rows: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """A file's rows under today's columns: what an older schema did not have is null."""
    arrays, names = [], []
    for column in columns:
        kind = column.type
        if kind == schema.TEXT:
            kind = pa.dictionary(pa.int32(), schema.TEXT)
        if column.name in rows.column_names:
            found = rows[column.name]
            arrays.append(found if found.type == kind else found.cast(kind))
        else:
            arrays.append(pa.nulls(rows.num_rows, kind))
        names.append(column.name)
    return pa.table(arrays, names)


def _in_order(rows: pa.Table, table: Table) -> Iterator[pa.Table]:
    keys = ORDER[table.name]
    by = pa.table({name: _ranks(rows[name]) for name in keys})
    order = pc.sort_indices(by, sort_keys=[(name, "ascending") for name in keys])
    del by
    for start in range(0, len(order), ROWS_PER_GROUP):
        found = rows.take(order.slice(start, ROWS_PER_GROUP))
        yield pa.table(
            [
                found[field.name].cast(field.type)
                if field.name in found.column_names
                else pa.nulls(found.num_rows, field.type)
                for field in table.schema
            ],
            table.schema,
        )


def _ranks(values: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Integers that sort as the values do: comparing texts row by row would take ten times longer."""
    if not pa.types.is_dictionary(values.type):
        return values
    whole = values.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0)
    return pc.rank(whole.dictionary, sort_keys="ascending").take(whole.indices)
