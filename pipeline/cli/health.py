"""The command that looks for rows that should not exist: check."""

from __future__ import annotations

import click

from pipeline.cli.console import say
from pipeline.cli.options import connect, lake_option
from pipeline.cli.output import format_option, show

CHECK_FAILED = 5


@click.command(
    epilog="""\b
Examples:
  nodelake check                       one row a check: how many rows it found, the first of them
  nodelake check counted_nodes         the rows that check finds
  nodelake check --format json >/dev/null || page-the-operator"""
)
@click.argument("name", required=False)
@format_option
@lake_option
def check(name: str | None, form: str | None, lake: str | None) -> int:
    """Look for rows that should not exist, by every check or one.

    Exit code 5 if a check of severity fail finds any; warnings exit 0.
    """
    import pyarrow as pa

    from pipeline import checks

    if name is not None:
        try:
            asked = checks.check(name)
        except checks.CheckError as error:
            raise click.BadParameter(str(error), param_hint="NAME") from None
        with connect(lake) as connection:
            rows = connection.table(asked.sql)
            show(rows, form)
        return CHECK_FAILED if asked.severity == "fail" and rows.num_rows else 0
    with connect(lake) as connection:
        results = list(checks.run(connection))
    show(pa.Table.from_pylist(results, checks.RESULT), form)
    failed = [row["name"] for row in results if row["severity"] == "fail" and row["rows"]]
    if failed:
        say(f"failed: {', '.join(failed)}; nodelake check NAME prints the rows")
    return CHECK_FAILED if failed else 0


COMMANDS = (check,)
