"""Finds the missing or damaged file that makes a query fail, and names it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import duckdb

from pipeline import schema
from pipeline.lake import FACTS_FROM, Lake, LakeError, View
from pipeline.query.parsed import parsed

#: Views of the last complete listings.
FLEET = frozenset({"nodes_as_of", "nodes_at", "nodes_latest"})
#: Errors of queries, not of files.
_USER_ERRORS = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.OutOfMemoryException,
)


def names_read(query: str, facts: Collection[str]) -> set[str]:
    """The tables and facts whose files a query needs: those it names, and the ledger."""
    read = parsed(query)
    named = read.names | ({"nodes", "pools"} if read.names & FLEET else set())
    names = {*facts, *(name for name in schema.TABLES if read.may_read_all or name in named)}
    return names | {"snapshots"} | ({"manifests"} if facts else set()) if names else names


def refuse(missing: Iterable[str]) -> None:
    """Raises LakeError for the first of these files."""
    for file in missing:
        raise LakeError(
            f"{file}: the file is missing, or not the one that was committed: restore it from a "
            "backup; nodelake check missing_files names every such file"
        )


def refuse_damaged(
    lake: Lake, view: View, query: str, facts: Collection[str], error: Exception
) -> None:
    """Raises LakeError for an unreadable file of a query: DuckDB may not name it."""
    if isinstance(error, _USER_ERRORS):
        return
    names = names_read(query, facts) | ({*FACTS_FROM} if facts else set())
    files = [*(view.files.get(name, ()) for name in names), *map(view.history.get, facts)]
    for damage in lake.damage(file for each in files for file in each or ()):
        raise damage from error


def refuse_first(lake: Lake, view: View, error: Exception) -> None:
    """Raises LakeError for the first file of a table that is missing or cannot be read."""
    for found in lake.damage(files[0] for files in view.files.values() if files):
        raise found from error
