"""The views of the tables and of the fleet, as SQL over the files of a view of the lake."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline import schema
from pipeline.lake import View
from pipeline.query import damage, missing_facts
from pipeline.query import prices as price_files
from pipeline.query.sql_files import duckdb_type, file_list, quoted, rows_of, table_of, views
from pipeline.schema import Table


def variables(view: View) -> Iterator[str]:
    """The SQL that lists the files of every table."""
    for name, files in view.files.items():
        if files:
            yield f"set variable {name}_files = {file_list(files)}"


def tables(view: View) -> Iterator[str]:
    """The views of the tables; and the table of prices, unless it exists."""
    yield price_files.EMPTY
    yield from variables(view)
    yield missing_facts.table(view.missing_facts)
    for table in schema.TABLES.values():
        if view.files.get(table.name):
            # by name plans three times longer: only where a file lacks a column
            by_name = table.name in view.older
            listed = f"getvariable('{table.name}_files')"  # the name is the schema's own
            read = rows_of(listed, view.files[table.name], by_name=by_name)
            source = f"select * from {read}"  # noqa: S608
            if by_name:
                source += f" union all by name select {_typed_nulls(table)} where false"
        else:
            source = "select " + _typed_nulls(table) + " where false"
        yield f"create or replace view {table.name} as {source}"
    yield from _views(fleet=False)


def comments() -> Iterator[str]:
    """The comments on tables and their columns."""
    for table in schema.TABLES.values():
        # all rows: the view of that name has only the latest
        name = "pool_usage_snapshots" if table.name == "pool_usage" else table.name
        yield f"comment on view {name} is '{quoted(table.doc)} Grain: {table.grain}.'"
        for column in table.stored:
            yield f"comment on column {name}.{column.name} is '{quoted(column.doc)}'"


def fleet(view: View) -> Iterator[str]:
    """The views of the fleet, and the tables that name their days."""
    columns = {
        "account": "varchar",
        "date": "date",
        "first_finished_at": "timestamptz",
        "last_finished_at": "timestamptz",
    }
    yield table_of("listing_spans", columns, view.spans)
    yield from _views(fleet=True)


def _views(*, fleet: bool) -> Iterator[str]:
    """The statements of ``sql/views`` that need no history: of the fleet, or the others."""
    for name, made in views(over_facts=False).items():
        if (name in damage.FLEET) == fleet:
            yield from made


def _typed_nulls(table: Table) -> str:
    typed = [
        f"cast(null as {duckdb_type(column.type)}) as {column.name}" for column in table.stored
    ]
    return ", ".join([*typed, "cast(null as date) as date"])
