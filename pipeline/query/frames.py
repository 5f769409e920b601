"""Tables and facts as polars frames, lazily: polars reads the files of tables, DuckDB makes facts.

A fact comes from DuckDB, by the views of ``sql/views``, with polars' predicates and columns pushed down.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import date
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

    def days_of(self, fact: str, since: date, through: date) -> duckdb.DuckDBPyConnection:
        """A session in which the view of a fact has the rows of these days alone."""


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
#: Views of the lake as a whole.
_WITHOUT_DAYS = ("nodes_latest", "prices")
_DATE = {"date": pl.Date()}


def scan(
    connection: Source, name: str, *, since: date | None = None, through: date | None = None
) -> pl.LazyFrame:
    """The rows of a table, a fact or a view: those that ``connection.sql(f"from {name}")`` answers.

    Of a table, and of a fact's days (``daily_node_states``), a predicate on ``date`` chooses files,
    one on another column chooses row groups, and only the columns that are used are read. A fact
    whose rows span days (``node_states``) merges the files of all days, whatever the predicate.

    With ``since`` and ``through``, both included, only the files of these days are read. Of tables
    and of a fact's days these are the rows with such a ``date``. A fact has the rows that these days
    alone recorded: a day's file holds what was listed on it, and in the listings around it. A row whose
    ``first_observed_at`` and ``last_observed_at`` fall on these days is whole. One that goes beyond
    them is there too, with what these days show of it: a state that began weeks before has its exact
    ``state_transition_time``, and is first observed just before ``since``. A node that went on these
    days is gone, though a later day may have it again. Days that history does not cover yet are made
    from the rows of the listings around them, which takes the ledger and the pools of all days.

    Collect before ``refresh()`` and ``close()``: the answer is of the lake as the connection saw it.

    Raises:
        LakeError: there is no such table, fact or view, or it has no days to choose; or a file is
            missing that the ledger has rows for.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 3, 0.4) or sorted(schema.TABLES)
        raise LakeError(f"no table, fact or view {name!r}; near: {', '.join(near)}")
    if since is None and through is None:
        return _whole(connection, name)
    if name in _WITHOUT_DAYS:
        raise LakeError(f"{name} has no days to choose: leave out since and through")
    first, last = since or date.min, through or date.max
    if first > last:
        raise LakeError(f"since ({first}) is later than through ({last})")
    if name in (*facts.FACTS, *DAILY):
        return _lazy(connection.days_of(name, first, last), name)
    return _whole(connection, name).filter(pl.col("date").is_between(first, last))


def _whole(connection: Source, name: str) -> pl.LazyFrame:
    connection.refuse_missing(f"from {name}")
    is_plain = name in schema.TABLES and not _has_own_view(name)
    if is_plain and not _has_odd_folders(connection):
        files = connection.view.files.get(name, ())
        return _from_files(connection, files, schema.TABLES[name].schema)
    # a separate session: polars may collect several frames at once
    return _lazy(connection.cursor(), name)


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


def _lazy(session: duckdb.DuckDBPyConnection, name: str) -> pl.LazyFrame:
    frame: pl.LazyFrame = session.sql(f"from {name}").pl(lazy=True)
    return frame
