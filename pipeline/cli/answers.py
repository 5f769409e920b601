"""The commands that ask a lake, or the schema: sql, shell, ask, schema."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import completion
from pipeline.cli.console import say
from pipeline.cli.options import connect, lake_option, pools_like, warn_of_nothing
from pipeline.cli.output import format_option, plain, show

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.query import Connection


log = logging.getLogger("nodelake")


@click.command(
    epilog="""\b
Examples:
  nodelake sql 'select state, count(*) from nodes_latest group by all'
  nodelake sql --format csv "select * from nodes_at('2026-11-21 12:00:00Z')" > fleet.csv"""
)
@click.argument("query", metavar="'SELECT …'")
@format_option
@lake_option
def sql(query: str, form: str | None, lake: str | None) -> None:
    """Answer a DuckDB SQL query from the lake.

    Of several statements only the last may answer rows: nodelake shell prints all that are piped
    in.
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
    with connect(lake) as connection:
        warn_of_nothing(connection)
        show(connection.table(query), form)


@click.command(epilog="Example: nodelake shell --lake /srv/lake")
@lake_option
def shell(lake: str | None) -> int:
    """Type SQL, see answers; end a query with a semicolon.

    .tables lists the views, .refresh looks at the lake anew, .quit ends. Of queries that are piped
    in, all are asked; exit 1 if one failed.
    """
    import duckdb

    code = 0
    with connect(lake) as connection:
        if sys.stdin.isatty():
            import readline  # noqa: F401 - its import gives input() history and editing

            click.echo(f"{connection.view.count} snapshots in {connection.lake}")
        for text in _typed():
            if text in (".quit", ".exit"):
                break
            if text.startswith("."):
                _dot(connection, text)
                continue
            try:
                for each in duckdb.extract_statements(text):
                    show(connection.table(each.query), "table")
            except duckdb.Error as error:
                say(str(error))
                code = 1
    return 0 if sys.stdin.isatty() else code


def _typed() -> Iterator[str]:
    """What is typed or piped: dot commands, and queries up to their semicolon or the end."""
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


#: Those that are for people: what facts are merged from has no comment.
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


@click.command("init-sql", epilog="Example: nodelake init-sql > lake.sql; duckdb -init lake.sql")
@lake_option
def init_sql(lake: str | None) -> None:
    """Print the SQL that opens the lake as it stands, for any DuckDB."""
    from pipeline.query import statements

    with connect(lake) as connection:
        click.echo(f"-- {connection.lake}: {connection.view.count} snapshots")
        click.echo("set TimeZone = 'UTC';")
        for statement in statements(connection.view):
            click.echo(f"{statement};")


@click.command(
    epilog="""\b
Examples:
  nodelake ask latest_states
  nodelake ask start_task_failures --param pool=render --from 2026-11-20
  nodelake ask idle_cost --from 2026-11-01 --to 2026-12-01 --prices prices.csv
  nodelake ask black_hole_nodes --columns pool_id,node_id,exit_code,short_failures
  nodelake ask node_hours --engine spark --spark-master spark://head:7077"""
)
@click.argument("name", shell_complete=completion.questions)
@click.option(
    "--param", "parameters", multiple=True, metavar="K=V", help="A parameter; repeatable."
)
@click.option("--from", "start", metavar="TIME", help="Short for --param from=TIME.")
@click.option("--to", "end", metavar="TIME", help="Short for --param to=TIME.")
@click.option(
    "--prices",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="CSV: vm_size, kind (dedicated or spot), price_per_hour, currency [no money, hours only].",
)
@click.option("--columns", metavar="c,c", help="Only these columns, in this order [all].")
@click.option(
    "--engine",
    type=click.Choice(("duckdb", "spark")),
    default="duckdb",
    help="What answers [duckdb]; spark needs pip install 'nodelake[spark]' and Java 17.",
)
@click.option(
    "--spark-master",
    "master",
    metavar="URL",
    help="With --engine spark: spark://HOST:7077 [local[*], this machine].",
)
@format_option
@lake_option
def ask(
    name: str,
    parameters: tuple[str, ...],
    start: str | None,
    end: str | None,
    prices: str | None,
    columns: str | None,
    engine: str,
    master: str | None,
    form: str | None,
    lake: str | None,
) -> None:
    """Answer a named question; `nodelake questions` lists them."""
    given: dict[str, object] = {}
    for each in parameters:
        key, equals, value = each.partition("=")
        if not equals:
            raise click.BadParameter(f"{each!r} is not K=V", param_hint="--param")
        given[key] = value
    given |= {key: value for key, value in (("from", start), ("to", end)) if value is not None}
    wanted = _columns(name, columns)
    with connect(lake) as connection:
        check_values(connection, name, given)
        warn_of_nothing(connection)
        if prices is not None:
            _use(connection, prices)
        if master is not None and engine != "spark":
            raise click.UsageError("--spark-master goes with --engine spark")
        if engine == "spark":
            rows = _on_spark(connection, master, name, given)
        else:
            rows = connection.ask(name, **given)
        if not rows.num_rows and given.get("pool") is not None:
            _warn_of_no_pool(connection, str(given["pool"]))
        show(rows.select(wanted), form)


def _warn_of_no_pool(connection: Connection, pool: str) -> None:
    """Says so where no pool of that id was ever listed, and which are called much like it."""
    near = pools_like(connection, pool)
    if pool not in near:
        there = ", ".join(near) or "none was ever listed"
        log.warning("no pool %s in %s; there are: %s", pool, connection.lake, there)


def _columns(name: str, listed: str | None) -> list[str]:
    """The columns wanted of a question's answer.

    Raises:
        click.BadParameter: it does not have one of them.
    """
    from pipeline.query import question

    there = question(name).columns
    wanted = [each.strip() for each in listed.split(",")] if listed is not None else [*there]
    for each in wanted:
        if each not in there:
            problem = f"{name} has no column {each!r}; it has: {', '.join(there)}"
            raise click.BadParameter(problem, param_hint="--columns")
    return wanted


def _on_spark(
    connection: Connection, master: str | None, name: str, given: Mapping[str, object]
) -> pa.Table:
    """The same question, asked by Spark; the connection has checked the values and the prices."""
    from pipeline import spark

    with spark.connect(connection.lake, master or spark.LOCAL) as session:
        session.add("prices", connection.table("from prices"))
        return session.ask(name, **given)


def _use(connection: Connection, prices: str) -> None:
    from pipeline.query.prices import PriceError

    try:
        connection.use_prices(prices)
    except PriceError as error:
        raise click.BadParameter(str(error), param_hint="--prices") from None


#: What a parameter's type is called, and what a value of it looks like.
_KINDS = {
    "timestamptz": ("time", "2026-11-21 or 2026-11-21T12:00Z"),
    "date": ("day", "2026-11-21"),
    "double": ("number", "1.5"),
    "int": ("whole number", "30"),
    "bigint": ("whole number", "30"),
    "boolean": ("yes or no", "true"),
}


def check_values(connection: Connection, name: str, given: Mapping[str, object]) -> None:
    """Checks that values fit the parameters of a question, before it is asked.

    Raises:
        click.BadParameter: names the parameter, its type and an example of a value.
        click.UsageError: a range that ends before it begins.
    """
    from pipeline.query import question
    from pipeline.query.sql_files import read_as

    with connection.cursor() as cursor:
        for each in question(name).parameters:
            value = given.get(each.name)
            if value is None:
                continue
            try:
                read_as(cursor, value, each.type)
            except ValueError:
                kind, example = _KINDS.get(each.type, (each.type, "x"))
                problem = f"{value!r} is no {kind}, such as {example}"
                hint = f"--{each.name}" if each.name in ("from", "to") else f"--param {each.name}"
                raise click.BadParameter(problem, param_hint=hint) from None
    span = {name: given.get(name) for name in ("from", "to")}
    if None not in span.values():
        later = "select cast($from as timestamptz) < cast($to as timestamptz) as is_later"
        if not connection.table(later, span)["is_later"][0].as_py():
            raise click.UsageError("--to must be after --from")


@click.command(epilog="Example: nodelake schema nodes --format csv")
@click.argument("table", required=False)
@format_option
def schema(table: str | None, form: str | None) -> None:
    """Print every column of every table: name, type, JSON path, meaning, whether it may be secret."""
    import pyarrow as pa

    from pipeline import schema as tables

    if table is not None and table not in tables.TABLES:
        raise click.BadParameter(f"no table {table!r}; there are: {', '.join(tables.TABLES)}")
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
    """A member of a list column, named as SQL would reach it."""
    from dataclasses import replace

    path = f"{parent.path}[].{field.path}" if field.path and parent.path else field.path
    return replace(field, name=f"{parent.name}[].{field.name}", path=path)


COMMANDS = (sql, shell, init_sql, ask, schema)
