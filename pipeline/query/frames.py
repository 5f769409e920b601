"""Tables and facts as polars frames, lazily: polars reads the files of tables, DuckDB makes facts.

A fact comes from DuckDB, by the views of ``sql/views``, with polars' predicates and columns pushed down.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Protocol

import duckdb
import polars as pl
import pyarrow as pa

from pipeline import schema
from pipeline.lake import Lake, View
from pipeline.query.sql_files import sql_directory
from pipeline.schema import facts
from pipeline.storage import LakeError


class Source(Protocol):
    """The source of a frame: a connection to a lake."""

    lake: Lake
    view: View

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A separate session over the views."""

    def refuse_missing(self, query: str) -> None:
        """Raises LakeError where a file that the query needs is missing."""


#: A fact's rows as each day recorded them, with ``date``: a predicate on it chooses files.
DAILY = tuple(f"daily_{name}" for name in facts.FACTS)
#: Every name that can be scanned.
NAMES = (
    *schema.TABLES,
    *facts.FACTS,
    *DAILY,
    "nodes_latest",
    "pool_usage_snapshots",
    "prices",
)
_DATE = {"date": pl.Date()}


def scan(connection: Source, name: str) -> pl.LazyFrame:
    """The rows of a table, a fact or a view: those that ``connection.sql(f"from {name}")`` answers.

    Of a table, and of a fact's days (``daily_node_states``), a predicate on ``date`` chooses files,
    one on another column chooses row groups, and only the columns that are used are read. A fact
    whose rows span days (``node_states``) merges all days: it reads every history file of the fact,
    whatever the predicate. Collect before ``refresh()`` and ``close()``: the answer is of the lake as
    the connection saw it.

    Raises:
        LakeError: there is no such table, fact or view; or a file is missing that the ledger has rows
            for.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 3, 0.4) or sorted(schema.TABLES)
        raise LakeError(f"no table, fact or view {name!r}; near: {', '.join(near)}")
    connection.refuse_missing(f"from {name}")
    is_plain = name in schema.TABLES and not _has_own_view(name)
    if is_plain and not _has_odd_folders(connection):
        files = connection.view.files.get(name, ())
        return _from_files(connection, files, schema.TABLES[name].schema)
    return _from_duckdb(connection, name)


def _has_odd_folders(connection: Source) -> bool:
    """Whether a folder above the tables looks like a column to polars: env=prod, account=x."""
    return "=" in connection.lake.storage.url("")


def _has_own_view(name: str) -> bool:
    """Whether ``sql/views`` makes other rows than the files hold, such as the latest ones only."""
    files = (sql_directory() / "views").glob("*.sql")
    return name in {file.stem.partition("_")[2] for file in files}


def _from_files(connection: Source, files: Sequence[str], rows: pa.Schema) -> pl.LazyFrame:
    columns: dict[str, pl.DataType] = dict(pl.DataFrame(rows.empty_table()).schema)
    if not files:
        return pl.LazyFrame(schema={**columns, **_DATE})
    return pl.scan_parquet(
        list(files),
        schema=columns,
        hive_partitioning=True,
        hive_schema=_DATE,
        glob=False,
        missing_columns="insert",  # a file that an older version wrote may lack one
        extra_columns="ignore",
        **connection.lake.storage.polars_options(),
    )


def _from_duckdb(connection: Source, name: str) -> pl.LazyFrame:
    # a separate session: polars may collect several frames at once
    cursor = connection.cursor()
    relation = cursor.sql(f"from {name}")
    frame: pl.LazyFrame = relation.pl(lazy=True)
    return frame
