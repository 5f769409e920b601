"""What a query names, and whether it only reads, as DuckDB's own parser finds it; nothing is bound.

A view or macro that the caller made is a name like any other: what it reads itself is not seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import duckdb

#: Nodes of a parsed query that only read; others insert, update, delete, merge.
_READING = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
#: Functions that take a name or a query as text.
_OF_TEXT = {"query", "query_table", "json_execute_serialized_sql"}
#: Beginnings of the names of functions and tables that list what there is.
_CATALOGUE = ("duckdb_", "pragma_", "pg_", "sqlite_")
_SCHEMAS = {"information_schema", "pg_catalog"}
#: Statements that name what they read as text, or not at all.
_OPAQUE = {
    duckdb.StatementType.CALL,
    duckdb.StatementType.EXECUTE,
    duckdb.StatementType.EXPORT,
    duckdb.StatementType.PRAGMA,
}


@dataclass(frozen=True)
class Parsed:
    """What is known of a query.

    Args:
        names: of the tables, views and functions that it names, in lower case.
        may_read_all: it asks what tables there are, names one in a text, or runs what was prepared.
        is_repeatable: asked twice it changes nothing twice.
    """

    names: frozenset[str]
    may_read_all: bool
    is_repeatable: bool


@lru_cache(maxsize=1024)
def parsed(query: str) -> Parsed:
    """What a query names; nothing, where DuckDB cannot parse it.

    Of a SELECT the names are exact: a name that a CTE hides, a word in a text, in a comment or of a
    column is none. DuckDB gives no tree for PIVOT and other statements than SELECT: of those every
    word that may be a name counts, and they are not repeatable.
    """
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error:
        return Parsed(frozenset(), may_read_all=False, is_repeatable=False)
    names: set[str] = set()
    may_read_all, is_repeatable = False, True
    for statement in statements:
        tree = _tree(statement.query)
        if tree is None:
            names |= _words(statement.query)
            may_read_all |= statement.type in _OPAQUE
            is_repeatable = False
            continue
        for kind, name in _named(tree, frozenset()):
            if kind == "node":
                is_repeatable &= name in _READING
            elif kind == "all":
                may_read_all = True
            else:
                names.add(name)
    is_repeatable = is_repeatable and not names & (_OF_TEXT | _changing())
    return Parsed(frozenset(names), may_read_all or bool(names & _OF_TEXT), is_repeatable)


def _tree(statement: str) -> Any:
    """The syntax tree of a statement; None where DuckDB gives none."""
    asked = "select json_serialize_sql($q, skip_null := true, skip_empty := true)"
    with _parser().cursor() as cursor:
        (text,) = cursor.execute(asked, {"q": statement}).fetchone() or ("{}",)
    return json.loads(text).get("statements")


def _named(tree: Any, hidden: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Every table, function and query node of a tree; ``hidden`` are the CTEs that it may name."""
    if isinstance(tree, list):
        for each in tree:
            yield from _named(each, hidden)
    if not isinstance(tree, dict):
        return
    kind = tree.get("type")
    for cte in tree.get("cte_map", {}).get("map", []):
        yield from _named(cte["value"], hidden)  # its own name is the table's there
        hidden |= {cte["key"].lower()}
    if isinstance(kind, str) and kind.endswith("_NODE"):  # a cast has a type that is a tree
        yield "node", kind
    elif kind == "SHOW_REF" and "query" not in tree:  # show tables
        yield "all", kind
    elif kind == "BASE_TABLE" or "function_name" in tree:
        *path, name = (part.lower() for part in tree["qualified_name"]["path"])
        if path or kind != "BASE_TABLE" or name not in hidden:
            yield "name", name
        if name.startswith(_CATALOGUE) or _SCHEMAS.intersection(path):
            yield "all", name
    for key, value in tree.items():
        if key != "cte_map":
            own = {tree["cte_name"].lower()} if key == "right" and "cte_name" in tree else set()
            yield from _named(value, hidden | own)


def _words(statement: str) -> set[str]:
    """The words of a statement that are no texts, numbers, comments or operators, in lower case."""
    text = statement.encode()
    tokens = duckdb.tokenize(statement)
    ends = [start for start, _ in tokens[1:]] + [len(text)]
    return {
        text[start:end].decode().strip().strip('"').lower()
        for (start, kind), end in zip(tokens, ends, strict=True)
        if kind in (duckdb.token_type.identifier, duckdb.token_type.keyword)
    }


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """A database without tables; parsing needs one."""
    return duckdb.connect(config={"threads": 1, "autoload_known_extensions": "false"})


@cache
def _changing() -> frozenset[str]:
    """The functions that change something, such as nextval, as DuckDB has them."""
    asked = "select distinct function_name from duckdb_functions() where has_side_effects"
    with _parser().cursor() as cursor:
        return frozenset(name for (name,) in cursor.execute(asked).fetchall())
