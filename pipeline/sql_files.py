"""The SQL files that ship with nodelake, and what Python adds to SQL: quoting, and DuckDB's types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from pipeline import schema


def sql_directory() -> Path:
    """Where the SQL files are: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_sql"
    return installed if installed.is_dir() else package.parent / "sql"


def split(text: str) -> Iterator[str]:
    """The statements of a file; each ends with a semicolon at the end of a line."""
    return (part.strip() for part in re.split(r";\s*(?:\n|$)", text) if part.strip())


def quoted(text: str) -> str:
    """Text as it stands between single quotes in SQL."""
    return text.replace("'", "''")


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


#: What follows from, to the next clause; and in it what stands where a table does.
_FROM = re.compile(
    r"\b((?:from|join|summarize)\b.*?)"
    r"(?=\b(?:from|select|where|group|order|limit|union)\b|;|\Z)",
    re.DOTALL,
)
_TABLE = re.compile(r"""(?:\b(?:from|join|summarize)\b|,)[\s("]*(?:\w+"?\."?)*(\w+)""")


def tables_named(query: str) -> set[str]:
    """The words of a query that stand where tables do, in lower case; some of them may be columns."""
    clauses = _FROM.findall(re.sub(r"--.*", "", query.lower()))
    return set(_TABLE.findall(" ; ".join(clauses)))


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
    raise ValueError(f"{value!r} is no {kind}")
