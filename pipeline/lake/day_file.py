"""Merges the rows of many snapshots into one sorted stream, and writes day files.

Memory is bounded by ``BUDGET_BYTES``: a day that does not fit is read several times, once for each
range of nodes.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import schema
from pipeline.lake.table_file import TableFile, leaves, read, survey
from pipeline.schema import Column, Table, facts
from pipeline.storage import Entry, LakeError, Over, Storage

#: Arrow memory of one pass over a day; the process needs about twice as much.
BUDGET_BYTES = 900_000_000
#: Rows of a row group of history, whose files are small.
ROWS_PER_GROUP = 65_536
#: Rows of a row group of a day file: four times as many row groups take a twelfth more bytes.
ROWS_OF_A_DAY_FILE = 262_144
#: Files read before their dictionaries are merged, which bounds repeated texts.
_FILES_TOGETHER = 16
_CODED = pa.dictionary(pa.int32(), schema.TEXT)


class Damaged(LakeError):
    """A file is missing, unreadable, or does not match its ledger row."""


def sorted_rows(
    storage: Storage,
    table: Table,
    files: Sequence[tuple[str, int | None]],
    *,
    budget_bytes: int = BUDGET_BYTES,
) -> Iterator[pa.Table]:
    """The rows of a table's files in today's schema, sorted, in tables of one row group.

    Texts are dictionary-encoded.

    Args:
        storage: the lake's storage.
        table: the table.
        files: each file's key, and the rows it must have (None where no ledger says).
        budget_bytes: Arrow memory of one pass.

    Raises:
        Damaged: a file is missing, cannot be read, or has another number of rows.
    """
    try:
        yield from _ahead(_sorted_rows(storage, table, files, budget_bytes))
    except (Damaged, MemoryError):
        raise
    except (LakeError, pa.ArrowException) as error:
        raise Damaged(str(error)) from error


def _ahead(parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Prepares the next part while this one is written: neither uses all cores."""
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
            differ = f"the ledger says {expected} rows, the file has {rows}"
            raise Damaged(f"{storage.url(key)}: {differ}: restore it from a backup")
        total += rows
        values.update(found)
    keys = table.order[:2]
    # At least a fifth of the columns are null in every row of a day: they are not read.
    used = [
        column
        for column in table.stored
        if values[column.name] or column.name in table.order or _is_list(column)
    ]
    size = sum(_size(column, total, values[column.name]) for column in used)
    passes = max(1, -(-size // budget_bytes))
    bounds = _bounds(storage, files, keys, passes) if passes > 1 else []
    for lowest, limit in zip([None, *bounds], [*bounds, None], strict=True):
        yield from _in_order(_gather(storage, used, keys, files, lowest, limit), table)
        pa.default_memory_pool().release_unused()


def _is_list(column: Column | pa.Field) -> bool:
    return bool(pa.types.is_list(column.type))


def _size(column: Column, rows: int, values: int) -> int:
    """The approximate Arrow size of a column in bytes, texts as dictionaries."""
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
    """Bounds of node ranges of about equal size, estimated from a few files."""
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
    """The rows of one range of nodes from every file, with the given columns."""
    names = [column.name for column in columns]
    texts = [column.name for column in columns if column.type == schema.TEXT]
    done: list[pa.Table] = []
    waiting: list[pa.Table] = []
    for key, _ in files:
        rows = _conform(read(storage, key, names, dictionaries=texts), columns)
        if lowest is not None or limit is not None:
            ranged = _range_key(rows, keys)
            chosen = pa.scalar(True)
            if lowest is not None:
                chosen = pc.greater_equal(ranged, lowest)
            if limit is not None:
                chosen = pc.and_(chosen, pc.less(ranged, limit))
            rows = rows.filter(chosen)
        waiting.append(rows)
        if len(waiting) == _FILES_TOGETHER:
            done.append(pa.concat_tables(waiting).unify_dictionaries().combine_chunks())
            waiting = []
    done += waiting
    waiting.clear()  # only ``done`` may reference the rows while they are merged
    return _whole(done, columns)


def _whole(parts: list[pa.Table], columns: Sequence[Column]) -> pa.Table:
    """The parts as one table without chunks, column by column, to avoid two copies of all."""
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
    """A file's rows with today's columns: columns that an older schema lacks are null."""
    arrays, names = [], []
    for column in columns:
        kind = column.type
        if kind == schema.TEXT:
            kind = _CODED
        if column.name in rows.column_names:
            found = rows[column.name]
            arrays.append(found if found.type == kind else found.cast(kind))
        else:
            arrays.append(pa.nulls(rows.num_rows, kind))
        names.append(column.name)
    return pa.table(arrays, names)


def _in_order(rows: pa.Table, table: Table) -> Iterator[pa.Table]:
    keys = table.order
    by = pa.table({name: _ranks(rows[name]) for name in keys})
    order = pc.sort_indices(by, sort_keys=[(name, "ascending") for name in keys])
    del by
    for start in range(0, len(order), ROWS_OF_A_DAY_FILE):
        found = rows.take(order.slice(start, ROWS_OF_A_DAY_FILE))
        yield _conform(found, table.stored)


def _one(values: pa.ChunkedArray) -> pa.Array:
    """The values without chunks."""
    whole = values.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _ranks(values: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Integers that sort like the values: comparing texts row by row takes ten times longer."""
    if not pa.types.is_dictionary(values.type):
        return values
    whole = _one(values)
    return pc.rank(whole.dictionary, sort_keys="ascending").take(whole.indices)


#: Texts that a dictionary makes larger: it has an entry for each task, and an index for each row.
_DISTINCT = frozenset({"task_url", "task_id"})
#: Numbers that grow slowly from row to row.
_GROWING = frozenset({"total_tasks_run", "total_tasks_succeeded"})
#: zstd's levels. Dictionary-encoded columns are small, so that a high level takes little time; for plain
#: texts a higher level gains nothing.
_LEVELS = {None: 17, "DELTA_LENGTH_BYTE_ARRAY": 9, "DELTA_BINARY_PACKED": 12, "PLAIN": 12}
#: A column whose dictionary would be larger is written without one.
_DICTIONARY_BYTES = 8 << 20


def _encoding(field: pa.Field) -> str | None:
    """The encoding of a column in a day file; None: a dictionary."""
    if field.name in _DISTINCT:
        return "DELTA_LENGTH_BYTE_ARRAY"
    if field.name in _GROWING:
        return "DELTA_BINARY_PACKED"
    # zstd stores a repeated time once; a dictionary adds an index for each row
    return "PLAIN" if pa.types.is_timestamp(field.type) else None


class DayFile(TableFile):
    """A compacted file: each table written to it is a row group.

    Dictionary-encoded texts are written without decoding and hashing them again. A reader sees the
    plain types of ``columns``.
    """

    def _open(self, columns: pa.Schema, distinct: Collection[str]) -> pq.ParquetWriter:
        del distinct  # each column's name and type decide its encoding
        self._columns = columns
        encodings = {field.name: _encoding(field) for field in columns}
        self._encoded = {
            name
            for name, encoding in encodings.items()
            if encoding is None and columns.field(name).type == schema.TEXT
        }
        kinds = [
            field.with_type(_CODED) if field.name in self._encoded else field for field in columns
        ]
        paths = {path: encodings[field.name] for field in columns for path in leaves(field)}
        keys = {"account", *(key for table in schema.TABLES.values() for key in table.order)}
        writer = pq.ParquetWriter(
            self._sink.file,
            pa.schema(kinds),
            compression="zstd",
            compression_level={path: _LEVELS[encoding] for path, encoding in paths.items()},
            use_dictionary=[path for path, encoding in paths.items() if encoding is None],
            column_encoding={path: encoding for path, encoding in paths.items() if encoding},
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            # a page ends by its bytes: sorted columns compress by values far above
            max_rows_per_page=ROWS_OF_A_DAY_FILE,
            # bounds of other texts do not help readers
            write_statistics=[
                field.name
                for field in columns
                if field.name in keys or not (field.type == schema.TEXT or _is_list(field))
            ],
            store_schema=False,
            write_page_checksum=True,
        )
        plain = base64.b64encode(columns.serialize().to_pybytes())
        writer.add_key_value_metadata({**(columns.metadata or {}), b"ARROW:schema": plain})
        return writer

    def write(self, rows: pa.Table) -> None:
        """Adds a row group: the columns of the file, texts as dictionaries or plain."""
        self.rows += rows.num_rows
        arrays = [
            _compact(rows[field.name])
            if field.name in self._encoded
            else rows[field.name].cast(field.type)
            for field in self._columns
        ]
        self._write_group([pa.table(arrays, [field.name for field in self._columns])])


def _compact(values: pa.ChunkedArray) -> pa.DictionaryArray:
    """Texts with a minimal dictionary, in order of first occurrence."""
    whole = _one(values)
    if not pa.types.is_dictionary(whole.type):
        return whole.dictionary_encode()
    used = whole.indices.dictionary_encode()
    texts = whole.dictionary.take(used.dictionary).dictionary_encode()
    return pa.DictionaryArray.from_arrays(texts.indices.take(used.indices), texts.dictionary)


#: Columns of facts that are smaller without a dictionary: zstd stores what recurs nearby once.
_NEAR = frozenset({"allocation_time", "incarnation_key", "task_id", "node_id"})
#: Columns of facts whose values hardly recur, and are near those of the row before.
_EXACT = frozenset(
    "ended_before last_message_at start_task_began_at start_task_succeeded_at up_at first_total "
    "total_tasks_run total_tasks_succeeded".split()
)


def _fact_encoding(fact: str, name: str) -> str | None:
    """The encoding of a column of a fact; None: a dictionary, as for times of listings."""
    if name in _NEAR:  # task_outcomes has a group for all nodes
        return None if (fact, name) == ("task_outcomes", "node_id") else "PLAIN"
    return "DELTA_BINARY_PACKED" if name in _EXACT or name.endswith("_time") else None


class FactFile(TableFile):
    """A file of a fact: three quarters of what it takes with dictionaries alone (measured)."""

    def _open(self, columns: pa.Schema, distinct: Collection[str]) -> pq.ParquetWriter:
        del distinct  # each column's name decides its encoding
        fact = self.key.split("/")[1]
        encodings = {name: _fact_encoding(fact, name) for name in columns.names}
        return pq.ParquetWriter(
            self._stream,
            columns,
            compression="zstd",
            # a higher level makes ids of nodes larger
            compression_level={
                name: 1 if name == "node_id" else _LEVELS[encoding]
                for name, encoding in encodings.items()
            },
            use_dictionary=[name for name, encoding in encodings.items() if encoding is None],
            column_encoding={name: encoding for name, encoding in encodings.items() if encoding},
            write_page_checksum=True,
        )


def put_rows(
    storage: Storage,
    key: str,
    rows: pa.RecordBatchReader | pa.Table,
    over: Over,
    check: Callable[[], None],
) -> Entry:
    """Writes the file of one fact; calls ``check`` just before the file gets its name."""
    fact = facts.FACTS.get(key.split("/")[1])
    most = ROWS_PER_GROUP if fact is None else fact.rows_per_group
    file = FactFile(storage, key, rows.schema, over, most)
    try:
        batches = rows.to_batches() if isinstance(rows, pa.Table) else rows
        for batch in batches:
            if batch.num_rows:
                file.write(pa.Table.from_batches([batch]))
        check()
        return file.finish()
    finally:
        file.discard()
