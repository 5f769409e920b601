"""The command ``ask``, which answers a named question."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import completion
from pipeline.cli.options import connect, prices_option, use_prices, warn_if_empty
from pipeline.cli.output import format_option, show

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.query import Connection


log = logging.getLogger("nodelake")

#: The exit code of --fail-if-rows where the answer has rows.
HAS_ROWS = 5


@click.command(
    epilog="""\b
Examples:
  nodelake ask latest_states
  nodelake ask start_task_failures --param pool=render --from 2026-11-20
  nodelake ask idle_cost --from 2026-11-01 --prices prices.csv
  nodelake ask black_hole_nodes --columns pool_id,node_id,short_failures
  nodelake ask stuck_nodes --fail-if-rows > /dev/null || page-the-operator
  nodelake ask node_hours --engine spark --spark-master spark://head:7077"""
)
@click.argument("name", metavar="QUESTION", required=False, shell_complete=completion.questions)
@click.option(
    "--param", "parameters", multiple=True, metavar="K=V", help="A parameter; repeatable."
)
@click.option("--from", "start", metavar="TIME", help="Short for --param from=TIME.")
@click.option("--to", "end", metavar="TIME", help="Short for --param to=TIME.")
@prices_option
@click.option("--columns", metavar="C,C", help="Only these columns, in this order [all].")
@click.option(
    "--fail-if-rows", is_flag=True, help="Exit 5 when the answer has rows: an alarm for cron."
)
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
def ask(
    name: str | None,
    parameters: tuple[str, ...],
    start: str | None,
    end: str | None,
    prices: str | None,
    columns: str | None,
    fail_if_rows: bool,
    engine: str,
    master: str | None,
    form: str | None,
) -> int:
    """Answer a named question; `nodelake questions` lists them.

    An answer without rows says why, as far as that is known. Exit codes: 0 answered; 2 no such
    question, parameter or column; 5 with --fail-if-rows: the answer has rows.
    """
    if name is None:
        raise click.UsageError("name a question: nodelake questions lists them")
    given = _given(parameters, start, end)
    wanted = _columns(name, columns)
    if master is not None and engine != "spark":
        raise click.UsageError("--spark-master goes with --engine spark")
    with connect() as connection:
        check_values(connection, name, given)
        warn_if_empty(connection)
        use_prices(connection, prices)
        if engine == "spark":
            rows = _on_spark(connection, master, name, given)
        else:
            rows = connection.ask(name, **given)
        if not rows.num_rows:
            from pipeline.cli.no_rows import reasons

            for reason in reasons(connection, name, given, is_alarm=fail_if_rows):
                log.warning("%s", reason)
        show(rows.select(wanted), form)
    return HAS_ROWS if fail_if_rows and rows.num_rows else 0


def _given(parameters: tuple[str, ...], start: str | None, end: str | None) -> dict[str, object]:
    given: dict[str, object] = {}
    for each in parameters:
        key, equals, value = each.partition("=")
        if not equals:
            raise click.BadParameter(f"{each!r} is not K=V", param_hint="--param")
        given[key] = value
    return given | {
        key: value for key, value in (("from", start), ("to", end)) if value is not None
    }


def _columns(name: str, listed: str | None) -> list[str]:
    """The columns of --columns.

    Raises:
        click.BadParameter: the answer lacks one of them.
    """
    from pipeline.query import question
    from pipeline.query.nearest import did_you_mean

    there = question(name).columns
    wanted = [each.strip() for each in listed.split(",")] if listed is not None else [*there]
    for each in wanted:
        if each not in there:
            problem = (
                f"{name} has no column {each!r}; it has: {', '.join(there)}"
                f"{did_you_mean(each, there)}"
            )
            raise click.BadParameter(problem, param_hint="--columns")
    return wanted


def _on_spark(
    connection: Connection, master: str | None, name: str, given: Mapping[str, object]
) -> pa.Table:
    """The answer of Spark; the connection has checked the values and the prices."""
    from pipeline import spark

    with spark.connect(connection.lake, master or spark.LOCAL) as session:
        session.add("prices", connection.table("from prices"))
        return session.ask(name, **given)


#: The name of each type of parameter, and an example of a value.
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
        click.UsageError: a range ends before it begins.
    """
    from pipeline.query import question
    from pipeline.query.sql_files import read_as

    with connection.cursor() as cursor:
        for each in question(name).parameters:
            value: Any = given.get(each.name)
            if value is None:
                continue
            try:
                read_as(cursor, value, each.type)
            except ValueError:
                kind, example = _KINDS.get(each.type, (each.type, "x"))
                problem = f"{value!r} is not a valid {kind}, such as {example}"
                hint = f"--{each.name}" if each.name in ("from", "to") else f"--param {each.name}"
                raise click.BadParameter(problem, param_hint=hint) from None
    span = {name: given.get(name) for name in ("from", "to")}
    if None not in span.values():
        later = "select cast($from as timestamptz) < cast($to as timestamptz) as is_later"
        if not connection.table(later, span)["is_later"][0].as_py():
            raise click.UsageError("--to must be after --from")


COMMANDS = (ask,)
