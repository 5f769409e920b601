"""The commands ``sql``, ``shell``, ``init-sql`` and ``schema``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.console import escape, say
from pipeline.cli.options import connect, warn_if_empty
from pipeline.cli.output import ROWS_ON_TERMINAL, format_option, plain, show

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from pipeline.query import Connection

_read_only_option = click.option(
    "--read-only-files",
    "is_read_only",
    is_flag=True,
    help="Let queries read the lake's files only and write none, load nothing and change no "
    "setting: for queries of others.",
)


@click.command(
    epilog="""\b
Examples:
  nodelake sql 'select state, count(*) from nodes_latest group by all'
  nodelake sql --format csv "from nodes_at('2026-11-21 12:00Z')" > fleet.csv
  nodelake sql --read-only-files "$UNTRUSTED_QUERY"
"""
)
@click.argument("query", metavar="QUERY")
@_read_only_option
@format_option
def sql(query: str, is_read_only: bool, form: str | None) -> None:
    """Answer a DuckDB SQL query from the lake.

    A query may read and write any file that you may (read_csv, COPY TO, ATTACH): run only those
    you trust, or give --read-only-files. On a terminal at most 1,000 rows are printed. Of several
    statements only the last may answer rows: nodelake shell prints all that are piped in.
    """
    import duckdb

    answers = [duckdb.ExpectedResultType.QUERY_RESULT]
    asked = duckdb.extract_statements(query)
    if not asked:
        raise click.UsageError("there is no query in it")
    if any(each.expected_result_type == answers for each in asked[:-1]):
        raise click.UsageError(
            f"{len(asked)} statements, and one answer is printed, the last one's: ask one by one, or "
            "pipe them into nodelake shell"
        )
    with connect() as connection:
        warn_if_empty(connection)
        if is_read_only:
            connection.lock_down()
            query = _only_reading(asked)
        rows, total = _answer(connection, query)
        show(rows, form, total)


def _answer(connection: Connection, query: str) -> tuple[pa.Table, int | None]:
    """The rows to print, and the number of all rows where a terminal gets only the first."""
    import duckdb

    asked = duckdb.extract_statements(query)
    is_short = sys.stdout is None or not sys.stdout.isatty()
    if is_short or len(asked) != 1 or asked[0].type != duckdb.StatementType.SELECT:
        return table_of(connection, query), None
    try:  # reads no more than it prints
        rows = table_of(connection, _within(query, f"limit {ROWS_ON_TERMINAL + 1}"))
    except (duckdb.BinderException, duckdb.ParserException):
        return table_of(connection, query), None  # a statement that is not allowed in parentheses
    if rows.num_rows <= ROWS_ON_TERMINAL:
        return rows, None
    counted = table_of(connection, f"select count(*) as n from ({_within(query)})")  # noqa: S608
    return rows, counted["n"][0].as_py()


def _within(query: str, more: str = "") -> str:
    """A query around this one, which gets a line of its own: it may end in a comment."""
    return f"select * from (\n{query.strip().rstrip(';')}\n) {more}"  # noqa: S608 - the user's own


def table_of(connection: Connection, query: str) -> pa.Table:
    """A query's answer; the error about a missing table names the nearest ones."""
    import duckdb

    try:
        return connection.table(query)
    except duckdb.CatalogException as error:
        raise click.UsageError(_with_nearest(connection, str(error))) from None


def _with_nearest(connection: Connection, message: str) -> str:
    """DuckDB's message about an unknown table, with our own suggestion: it does not know every view."""
    import re

    from pipeline.query.nearest import nearest

    unknown = re.search(r"Table with name (\S+) does not exist", message)
    if unknown is None:
        return message
    near = nearest(unknown[1], _views(connection))
    advice = f"did you mean {', '.join(near)}?" if near else "nodelake shell and .tables lists them"
    return f"no table or view {unknown[1]}; {advice}"


def _views(connection: Connection) -> list[str]:
    names: list[str] = connection.table(VIEWS)["view"].to_pylist()
    return names


def _only_reading(asked: list[duckdb.Statement]) -> str:
    """The only query, in parentheses, where no statement that writes is allowed.

    Raises:
        click.UsageError: there are several statements, or one that is not a SELECT.
    """
    import duckdb

    if len(asked) != 1 or asked[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(str(each.type).rpartition(".")[2].replace("_", " ") for each in asked)
        raise click.UsageError(f"--read-only-files answers one SELECT, and this is {kinds}")
    return _within(asked[0].query)


@click.command(
    epilog="""\b
Examples:
  nodelake shell --lake /srv/lake
  nodelake shell < queries.sql"""
)
@_read_only_option
def shell(is_read_only: bool) -> int:
    """Type SQL, see answers; end a query with a semicolon.

    .tables lists the views, .refresh loads snapshots that came since, .quit ends. Like nodelake
    sql, queries may read and write any file that you may. Of queries that are piped in all are
    answered; exit 1 if one failed.
    """
    import duckdb

    code = 0
    with connect() as connection:
        if sys.stdin.isatty():
            import readline  # noqa: F401 - its import gives input() history and editing

            click.echo(f"{connection.view.count} snapshots in {escape(str(connection.lake))}")
        if is_read_only:
            connection.lock_down()
        for text in _typed():
            if text in (".quit", ".exit"):
                break
            if text.startswith("."):
                _dot(connection, text)
                continue
            try:
                for each in duckdb.extract_statements(text):
                    asked = _only_reading([each]) if is_read_only else each.query
                    rows, total = _answer(connection, asked)
                    show(rows, "table", total)
            except (duckdb.Error, click.UsageError) as error:
                say(error.format_message() if isinstance(error, click.UsageError) else str(error))
                code = 1
    return 0 if sys.stdin.isatty() else code


def _typed() -> Iterator[str]:
    """The input: dot commands, and queries up to a semicolon or the end."""
    is_asking = sys.stdin.isatty()
    lines: list[str] = []
    while True:
        try:
            line = input("     …> " if lines else "nodelake> ") if is_asking else input()
        except EOFError:
            break
        word = line.strip()
        if not lines and word.startswith("."):
            yield word
            continue
        lines.append(line)
        if word.endswith(";"):
            yield "\n".join(lines)
            lines = []
    if any(line.strip() for line in lines):
        yield "\n".join(lines)


def _dot(connection: Connection, word: str) -> None:
    if word == ".refresh":
        connection.refresh()
        click.echo(f"{connection.view.count} snapshots")
    elif word == ".tables":
        show(connection.table(VIEWS), "table")
    else:
        say(f"{word}: unknown; there are .tables, .refresh, .quit")


#: Views for users have comments; views that facts are merged from have none.
VIEWS = """
select
    view_name as view,
    coalesce(
        comment,
        case view_name
            when 'nodes_latest' then 'The fleet now: each pool''s last complete listing; '
                || 'nodes_at(''2026-11-21 12:00:00Z'') is the fleet at a moment. Grain: node.'
            else 'Core-hours as the service counts them, the latest of each half hour. '
                || 'Grain: account x pool x vm_size x start_time.'
        end
    ) as holds
from duckdb_views()
where not internal
    and (comment is not null or view_name in ('nodes_latest', 'pool_usage'))
order by 1
"""


@click.command(
    "init-sql",
    epilog="""\b
Example:
  nodelake init-sql > lake.sql; duckdb -init lake.sql""",
)
def init_sql() -> None:
    """Print the SQL that opens the lake in any DuckDB.

    It names the files that the lake has now: print it again after a snapshot or a compaction.
    """
    from pipeline.query import missing_facts, statements
    from pipeline.schema.facts import FACTS

    with connect() as connection:
        # no query of that DuckDB can warn of them
        missing_facts.warn(connection.view.missing_facts, FACTS, None, set())
        click.echo(f"-- {escape(str(connection.lake))}: {connection.view.count} snapshots")
        click.echo("set TimeZone = 'UTC';")
        for statement in statements(connection.view):
            click.echo(f"{statement};")


@click.command(
    epilog="""\b
Examples:
  nodelake schema
  nodelake schema nodes --format csv"""
)
@click.argument("table", required=False)
@format_option
def schema(table: str | None, form: str | None) -> None:
    """Print every column of every table, or of one.

    Of each: its name, type and JSON path, what it means, and whether it may hold a secret.
    """
    import pyarrow as pa

    from pipeline import schema as tables
    from pipeline.query.nearest import did_you_mean

    if table is not None and table not in tables.TABLES:
        near = did_you_mean(table, tables.TABLES)
        known = "" if near else f"; there are: {', '.join(tables.TABLES)}"
        raise click.BadParameter(f"no table {table!r}{near}{known}", param_hint="TABLE")
    chosen = [tables.TABLES[table]] if table else list(tables.TABLES.values())
    rows = [
        {
            "table": each.name,
            "column": column.name,
            "type": str(column.type) if not column.fields else "list<struct>",
            "path": column.path or "",
            "secret": column.secret,
            "doc": column.doc,
        }
        for each in chosen
        for top in each.columns
        for column in (top, *(_member(top, field) for field in top.fields))
    ]
    show(pa.Table.from_pylist(plain(rows)), form)


def _member(parent: Any, field: Any) -> Any:
    """A member of a list column, with its name in SQL."""
    from dataclasses import replace

    path = f"{parent.path}[].{field.path}" if field.path and parent.path else field.path
    return replace(field, name=f"{parent.name}[].{field.name}", path=path)


COMMANDS = (sql, shell, init_sql, schema)
