"""Tables and facts as polars frames, lazily: committed files are read by polars, the rest by DuckDB.

A day of a fact that history does not cover, a fact that is merged over days, and a view that is more
than its files come from DuckDB, which takes polars' predicates and columns too.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from pipeline import schema
from pipeline.query import record
from pipeline.query.sql_files import quoted, sql_directory
from pipeline.schema import facts
from pipeline.storage import LakeError

if TYPE_CHECKING:
    from pipeline.query.connection import Connection

#: Everything that can be scanned.
NAMES = (*schema.TABLES, *facts.FACTS, "nodes_latest", "pool_usage_snapshots", "prices")
_DATE = {"date": pl.Date()}


def scan(connection: Connection, name: str) -> pl.LazyFrame:
    """The rows of a table, a fact or a view: those that ``connection.sql(f"from {name}")`` answers.

    A predicate on ``date`` chooses files, one on another column chooses row groups, and only the
    columns that are used are read. It answers from the lake as the connection saw it now: collect it
    before ``refresh()`` and ``close()``.

    Raises:
        LakeError: there is no such table, fact or view; or a file is missing that the ledger has rows
            for.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 3, 0.4) or sorted(schema.TABLES)
        raise LakeError(f"no table, fact or view {name!r}; near: {', '.join(near)}")
    connection.refuse_missing(f"from {name}")
    if _has_odd_folders(connection) or _has_own_view(name):
        return _from_duckdb(connection, name)
    if name in schema.TABLES:
        files = connection.view.files.get(name, ())
        return _from_files(connection, files, schema.TABLES[name].schema)
    fact = facts.FACTS.get(name)
    if fact is not None and fact.is_daily:
        return _daily(connection, fact)
    return _from_duckdb(connection, name)


def _has_odd_folders(connection: Connection) -> bool:
    """Whether a folder above the tables looks like a column to polars: env=prod, account=x."""
    return "=" in connection.lake.storage.url("")


def _has_own_view(name: str) -> bool:
    """Whether ``sql/views`` makes other rows than the files hold, such as the latest ones only."""
    return any((sql_directory() / "views").glob(f"*_{name}.sql"))


def _from_files(connection: Connection, files: Sequence[str], rows: pa.Schema) -> pl.LazyFrame:
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


def _daily(connection: Connection, fact: facts.Fact) -> pl.LazyFrame:
    """A fact whose rows are of one day each: from history where that is current, else from rows."""
    wanted = {
        (row["account"], row["date"])
        for row in connection.table("select account, date from wanted_days").to_pylist()
    }
    files = [
        file
        for file in connection.view.history.get(fact.name, ())
        if record.account_day_of(file) not in wanted
    ]
    frame = _from_files(connection, files, fact.schema)
    frame = frame.select("date", *fact.schema.names)
    if not wanted:
        return frame
    days = " or ".join(
        f"(account = '{quoted(account)}' and date = date '{day}')"
        for account, day in sorted(wanted)
    )
    made = _from_duckdb(connection, fact.name, f"where {days}")
    return pl.concat([frame, made]) if files else made


def _from_duckdb(connection: Connection, name: str, condition: str = "") -> pl.LazyFrame:
    # a session of its own: polars may collect several frames at once
    cursor = connection.cursor()
    relation = cursor.sql(f"from {name} {condition}")
    frame: pl.LazyFrame = relation.pl(lazy=True)
    return frame
