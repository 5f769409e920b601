"""The SQL files that ship with nodelake, and what Python adds to SQL: quoting, and DuckDB's types."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa

from pipeline import schema


def sql_directory() -> Path:
    """Where the SQL files are: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_sql"
    return installed if installed.is_dir() else package.parent / "sql"


def split(text: str) -> Iterator[str]:
    """The statements of a file; each ends with a semicolon at the end of a line, not of a comment."""
    parts = re.split(r"^(?!\s*--)(.*);\s*$", text, flags=re.MULTILINE)
    for before, last in itertools.zip_longest(parts[::2], parts[1::2], fillvalue=""):
        if re.sub(r"--.*", "", before + last).strip():
            yield (before + last).strip()


@cache
def views(*, over_facts: bool) -> dict[str, tuple[str, ...]]:
    """The statements of the files of ``sql/views`` by name: of those over facts, or of the others.

    A file's number orders it: it reads files of smaller ones. From 30 on they are over facts.
    """
    found = {}
    for path in sorted((sql_directory() / "views").glob("*.sql")):
        number, _, name = path.stem.partition("_")
        if (int(number) >= 30) == over_facts:
            found[name] = tuple(split(path.read_text("utf-8")))
    return found


def body(statement: str) -> str:
    """The query of a statement of ours that makes a view or a table macro.

    Raises:
        ValueError: it is none.
    """
    made = _MADE.fullmatch(statement)
    if made is None:
        raise ValueError(f"this makes no view: {statement[:60]}")
    return made[1]


_MADE = re.compile(
    r"(?:\s*--[^\n]*\n)*create or replace (?:view \w+ as|macro \w+\([\w, ]*\) as table)\s(.*)",
    re.DOTALL,
)


def quoted(text: str) -> str:
    """Text as it stands between single quotes in SQL."""
    return text.replace("'", "''")


def file_list(files: Iterable[str]) -> str:
    """Files as a list in SQL; a path on disk stands for itself, whatever of a pattern is in it."""
    named = (
        each if "://" in each else re.sub(r"([*?\[])", r"[\1]", each)  # a blob's is never a pattern
        for each in files
    )
    return "[" + ", ".join(f"'{quoted(each)}'" for each in named) + "]"


def rows_of(listed: str, files: Iterable[str], *, by_name: bool = False) -> str:
    """What reads Parquet files, and their ``date`` from the folder they lie in.

    Args:
        listed: the files, as SQL.
        files: the same, or some of them.
        by_name: some lack a column that others have.
    """
    more = ", union_by_name = true" if by_name else ""
    above = next(iter(files), "").rpartition("/date=")[0]
    if "=" not in above:
        options = f"hive_partitioning = true, hive_types = {{'date': date}}{more}"
        return f"read_parquet({listed}, {options})"
    # DuckDB takes each folder of that form for a column, above the lake too: env=prod, account=x
    date = "cast(regexp_extract(filename, '/date=([0-9-]+)/[^/]*$', 1) as date)"
    return (
        f"(select * exclude (filename), {date} as date "  # noqa: S608
        f"from read_parquet({listed}, hive_partitioning = false, filename = true{more})) as files"
    )


def table_of(name: str, columns: Mapping[str, str], rows: Iterable[Iterable[object]]) -> str:
    """The statement that makes a table of values.

    Args:
        name: of the table.
        columns: their DuckDB types by name.
        rows: their values, None for null; as texts DuckDB can cast.
    """
    given = [
        "(" + ", ".join("null" if v is None else f"'{quoted(str(v))}'" for v in row) + ")"
        for row in rows
    ]
    source = (
        f"values {', '.join(given)}"
        if given
        else f"select {', '.join('null' for _ in columns)} where false"
    )
    typed = ", ".join(f"cast({each} as {kind}) as {each}" for each, kind in columns.items())
    return (
        f"create or replace table {name} as select {typed} "  # noqa: S608
        f"from ({source}) as given ({', '.join(columns)})"
    )


def duckdb_type(kind: pa.DataType) -> str:
    """The DuckDB type that a column's Arrow type reads as."""
    if pa.types.is_list(kind):
        return f"{duckdb_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        members = (
            f'"{kind.field(i).name}" {duckdb_type(kind.field(i).type)}'
            for i in range(kind.num_fields)
        )
        return f"struct({', '.join(members)})"
    return {
        schema.TIME: "timestamp with time zone",
        schema.INT: "integer",
        schema.COUNT: "bigint",
        schema.REAL: "double",
        schema.FLAG: "boolean",
        schema.TEXT: "varchar",
    }[kind]


def read_as(connection: duckdb.DuckDBPyConnection, value: object, kind: str) -> object:
    """A value as DuckDB reads it for one of its types: text becomes a time or a number.

    Raises:
        ValueError: it is none of that type.
    """
    # DuckDB would round 1.5 to an int
    if kind not in ("int", "bigint") or float(str(value)).is_integer():
        try:
            found = connection.execute(
                f"select cast($value as {kind})", {"value": value}
            ).fetchone()
        except duckdb.ConversionException:
            pass
        else:
            return found[0] if found else None
    raise ValueError(f"{value!r} is not a valid {kind}")
