"""One Parquet file of the lake, written row group by row group and read with its name in every error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage import Entry, LakeError, Missing, Over, Storage

#: Rows a table gathers before they are written as one row group: large enough to compress well,
#: small enough that a snapshot's memory does not grow with its fleet.
ROWS_PER_GROUP = 16_384


class TableFile:
    """A Parquet file being written; it has its name from ``finish()`` on.

    Args:
        storage: where to.
        key: under which name.
        columns: the schema of the file, docs included.
        over: what the file may replace.
        rows_per_group: rows of a row group.
    """

    def __init__(
        self,
        storage: Storage,
        key: str,
        columns: pa.Schema,
        over: Over = "anything",
        rows_per_group: int = ROWS_PER_GROUP,
    ) -> None:
        self.storage = storage
        self.key = key
        self.rows = 0
        self._limit = rows_per_group
        self._waiting: list[pa.Table] = []
        self._sink = storage.sink(key, over)
        # zstd 1 is as small as zstd 3 on such files and a third cheaper (measured).
        self._writer = pq.ParquetWriter(
            self._sink.file, columns, compression="zstd", compression_level=1
        )

    def write(self, rows: pa.Table) -> None:
        """Adds rows of exactly the file's schema."""
        self._waiting.append(rows)
        self.rows += rows.num_rows
        if sum(rows.num_rows for rows in self._waiting) >= self._limit:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            rows = pa.concat_tables(self._waiting).combine_chunks()
            self._waiting = []
            with _write_errors(self):
                self._writer.write_table(rows, row_group_size=len(rows))

    def finish(self) -> Entry:
        """Writes the last rows, makes the file durable, then gives it its name."""
        self._flush()
        with _write_errors(self):
            self._writer.close()
        return self._sink.finish()

    def discard(self) -> None:
        """Forgets the file; harmless after ``finish()``."""
        with contextlib.suppress(Exception):  # closing may fail as the writing did: disk full
            self._writer.close()
        self._sink.discard()


@contextlib.contextmanager
def _write_errors(file: TableFile) -> Iterator[None]:
    from pipeline.storage.disk import disk_error

    try:
        yield
    except OSError as error:
        raise disk_error(file.storage.url(file.key), error) from error


def read(
    storage: Storage,
    key: str,
    columns: Sequence[str] | None = None,
    *,
    dictionaries: Sequence[str] = (),
) -> pa.Table:
    """The rows of a file; of the columns asked for, those that it has.

    Args:
        storage: where from.
        key: its name.
        columns: all, unless named.
        dictionaries: text columns to keep dictionary-encoded, a tenth of the memory.

    Raises:
        Missing: there is no such file.
        LakeError: it is empty, truncated or no Parquet file.
    """
    with storage.open(key) as source, _read_errors(storage, key):
        footer = pq.read_metadata(source)
        there = {footer.schema.column(i).path for i in range(footer.num_columns)}
        encoded = [name for name in dictionaries if name in there]  # an older schema lacks some
        file = pq.ParquetFile(source, metadata=footer, read_dictionary=encoded)
        there = set(file.schema_arrow.names)
        wanted = None if columns is None else [name for name in columns if name in there]
        return file.read(columns=wanted)


def count_rows(storage: Storage, key: str) -> int:
    """The rows of a file by its footer. Raises as ``read``."""
    with storage.open(key) as source, _read_errors(storage, key):
        rows: int = pq.ParquetFile(source).metadata.num_rows
        return rows


def read_names(storage: Storage, key: str) -> set[str]:
    """The columns a file has. Raises as ``read``."""
    with storage.open(key) as source, _read_errors(storage, key):
        return set(pq.ParquetFile(source).schema_arrow.names)


@contextlib.contextmanager
def _read_errors(storage: Storage, key: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise Missing(f"{storage.url(key)}: the file is missing") from None
        told = str(error).split("\n")[0]
        raise LakeError(
            f"{storage.url(key)}: cannot be read as Parquet ({told}): bring it back from a backup, "
            "or move it out of the lake to go on without it"
        ) from error
