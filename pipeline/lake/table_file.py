"""Writes and reads one Parquet file of the lake, with its name in every error."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import schema
from pipeline.storage import Entry, LakeError, Missing, Over, Storage

#: Rows of a row group: enough to compress well, few enough that a snapshot's memory does not grow with
#: its fleet.
ROWS_PER_GROUP = 16_384
#: Tables that are gathered before they are copied into one: a few rows may keep a whole page in memory,
#: as nine errors keep a thousand nodes.
_TABLES_HELD = 20
#: Bytes of one write to the storage.
_BUFFERED = 1 << 20


class TableFile:
    """A Parquet file being written; ``finish()`` gives it its name.

    Several threads may add rows: while one writes a row group, others gather the next.

    Args:
        storage: the lake's storage.
        key: the name of the file.
        columns: the schema of the file, with docs.
        over: what the file may replace.
        rows_per_group: rows of a row group.
        distinct: columns whose values hardly recur, which a dictionary makes larger.
    """

    def __init__(
        self,
        storage: Storage,
        key: str,
        columns: pa.Schema,
        over: Over = "anything",
        rows_per_group: int = ROWS_PER_GROUP,
        distinct: Collection[str] = (),
    ) -> None:
        self.storage = storage
        self.key = key
        self.rows = 0
        self._limit = rows_per_group
        self._waiting: list[pa.Table] = []
        self._copied: list[pa.Table] = []
        self._gathering, self._writing = threading.Lock(), threading.Lock()
        self._is_over = False
        self._sink = storage.sink(key, over)
        # Buffered: each of the hundreds of writes of a row group would wait for the GIL.
        self._stream = pa.BufferedOutputStream(pa.PythonFile(self._sink.file, "w"), _BUFFERED)
        self._writer = self._open(columns, distinct)

    def _open(self, columns: pa.Schema, distinct: Collection[str]) -> pq.ParquetWriter:
        recurring = [field for field in columns if field.name not in distinct]
        times = [name for name in distinct if pa.types.is_timestamp(columns.field(name).type)]
        # zstd 1 is as small as zstd 3 on such files and a third cheaper (measured).
        return pq.ParquetWriter(
            self._stream,
            columns,
            compression="zstd",
            compression_level=1,
            use_dictionary=[leaf for field in recurring for leaf in leaves(field)],
            column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
            write_page_checksum=True,
        )

    def write(self, rows: pa.Table) -> None:
        """Adds rows of exactly the file's schema."""
        with self._gathering:
            self._waiting.append(rows)
            self.rows += rows.num_rows
            group = [*self._copied, *self._waiting]
            if sum(rows.num_rows for rows in group) < self._limit:
                if len(self._waiting) >= _TABLES_HELD:
                    self._copied.append(pa.concat_tables(self._waiting).combine_chunks())
                    self._waiting = []
                return
            self._copied, self._waiting = [], []
        self._write_group(group)

    def _write_group(self, group: list[pa.Table]) -> None:
        if group:
            rows = pa.concat_tables(group)
            with self._writing, _write_errors(self):
                if not self._is_over:
                    self._writer.write_table(rows, row_group_size=len(rows))

    def finish(self) -> Entry:
        """Writes the last rows, makes the file durable, then gives it its name."""
        self._write_group([*self._copied, *self._waiting])
        with _write_errors(self):
            self._writer.close()
            self._stream.flush()
        return self._sink.finish()

    def discard(self) -> None:
        """Discards the file; harmless after ``finish()``."""
        with self._writing:  # Arrow crashes if a file is closed while another thread writes it
            self._is_over = True
            for each in (self._writer, self._stream):
                with contextlib.suppress(Exception):  # it may fail like the write did: disk full
                    each.close()
            self._sink.discard()


def leaves(field: pa.Field, within: str = "") -> Iterator[str]:
    """The paths of the Parquet columns of a field."""
    path, kind = within + field.name, field.type
    if pa.types.is_list(kind):
        yield from leaves(kind.value_field, f"{path}.list.")
    elif pa.types.is_struct(kind):
        for each in kind:
            yield from leaves(each, f"{path}.")
    else:
        yield path


@contextlib.contextmanager
def _write_errors(file: TableFile) -> Iterator[None]:
    from pipeline.storage.disk import disk_error

    try:
        yield
    except OSError as error:
        raise disk_error(file.storage.url(file.key), error) from error


P = ParamSpec("P")
T = TypeVar("T")


def _twice(read: Callable[P, T]) -> Callable[P, T]:
    """A decorator: reads again where the file was written again since it was listed.

    Two imports of the same files at once do so.
    """

    @wraps(read)
    def again(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except Missing:
            return read(*args, **kwargs)

    return again


@_twice
def read(
    storage: Storage,
    key: str,
    columns: Sequence[str] | None = None,
    *,
    dictionaries: Sequence[str] = (),
) -> pa.Table:
    """The rows of a file, with those of the requested columns that it has.

    Args:
        storage: the lake's storage.
        key: the name of the file.
        columns: the requested columns; all by default.
        dictionaries: text columns to keep dictionary-encoded, at a tenth of the memory.

    Raises:
        Missing: there is no such file.
        LakeError: it is empty, truncated or not a Parquet file.
    """
    with storage.open(key) as source, _read_errors(storage, key):
        footer = pq.read_metadata(source)
        there = {footer.schema.column(i).path for i in range(footer.num_columns)}
        encoded = [name for name in dictionaries if name in there]  # an older schema lacks some
        file = pq.ParquetFile(
            source, metadata=footer, read_dictionary=encoded, page_checksum_verification=True
        )
        there = set(file.schema_arrow.names)
        wanted = None if columns is None else [name for name in columns if name in there]
        # for a few columns a second thread takes longer to start than to read
        return file.read(columns=wanted, use_threads=wanted is None or len(wanted) > 4)


@_twice
def survey(storage: Storage, key: str) -> tuple[int, Counter[str]]:
    """The number of rows in a file's footer, and of the values of each column that are not null.

    For a list it counts elements; the footer does not record null and empty lists. Raises as ``read``.
    """
    values: Counter[str] = Counter()
    with storage.open(key) as source, _read_errors(storage, key):
        footer = pq.read_metadata(source)
        for group in map(footer.row_group, range(footer.num_row_groups)):
            for part in map(group.column, range(group.num_columns)):
                nulls = part.statistics.null_count if part.statistics else 0
                values[part.path_in_schema.partition(".")[0]] += part.num_values - nulls
        return footer.num_rows, values


def has_columns(storage: Storage, table: str, files: Sequence[Entry]) -> bool:
    """Whether files have every column of a table's schema; the oldest decides for all."""
    if not files:
        return True
    oldest = min(files, key=lambda entry: entry.modified)
    names = {column.name for column in schema.TABLES[table].stored}
    try:
        with storage.open(oldest.key) as source, _read_errors(storage, oldest.key):
            return names <= set(pq.ParquetFile(source).schema_arrow.names)
    except Missing:
        raise
    except LakeError:
        return True  # a query that reads the file names it


def read_metadata(storage: Storage, key: str) -> dict[bytes, bytes]:
    """The footer's key-value pairs. Raises as ``read``."""
    with storage.open(key) as source, _read_errors(storage, key):
        return pq.read_metadata(source).metadata or {}


def verify(storage: Storage, key: str) -> pq.FileMetaData:
    """Reads a whole file, checks the checksums of its pages, and returns its footer.

    Raises as ``read``.
    """
    with storage.open(key) as source, _read_errors(storage, key):
        file = pq.ParquetFile(source, page_checksum_verification=True)
        rows = 0
        for number in range(file.num_row_groups):
            group = file.read_row_group(number)
            _verify_statistics(file.metadata.row_group(number), group)
            rows += group.num_rows
        if rows != file.metadata.num_rows:
            raise pa.ArrowInvalid(f"{rows} rows where the footer says {file.metadata.num_rows}")
        return file.metadata


def _verify_statistics(footer: pq.RowGroupMetaData, rows: pa.Table) -> None:
    """Raises ArrowInvalid where the bounds of a column in the footer do not match its values."""
    for number in range(footer.num_columns):
        part = footer.column(number)
        found = part.statistics
        name = part.path_in_schema
        if found is None or not found.has_min_max or name not in rows.column_names:
            continue
        values = rows[name]
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        bounds = pc.min_max(values).as_py()
        if (found.min, found.max) != (bounds["min"], bounds["max"]):
            raise pa.ArrowInvalid(f"{name}: other values than the footer says")


@contextlib.contextmanager
def _read_errors(storage: Storage, key: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise Missing(f"{storage.url(key)}: the file is missing") from None
        if isinstance(error, MemoryError):
            raise
        detail = str(error).split("\n")[0]
        raise LakeError(
            f"{storage.url(key)}: cannot be read as Parquet ({detail}): restore it from a backup, "
            "or move it out of the lake to go on without it"
        ) from error
