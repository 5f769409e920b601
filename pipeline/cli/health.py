"""The commands that tell whether all is well: check, status."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import escape, say
from pipeline.cli.options import connect, lake_option, number, warn_of_nothing
from pipeline.cli.output import format_option, show

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.query import Connection

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
        warn_of_nothing(connection)
        results = list(checks.run(connection))
    show(pa.Table.from_pylist(results, checks.RESULT), form)
    failed = [row["name"] for row in results if row["severity"] == "fail" and row["rows"]]
    if failed:
        say(f"failed: {', '.join(failed)}; nodelake check NAME prints the rows")
    return CHECK_FAILED if failed else 0


@click.command(
    epilog="""\b
Examples:
  nodelake status
  nodelake status --max-age 15 || page-the-operator"""
)
@click.option(
    "--max-age",
    type=click.FloatRange(min=0),
    callback=number,
    metavar="MIN",
    help="Exit 5 unless every account has a stored snapshot this young.",
)
@format_option
@lake_option
def status(max_age: float | None, form: str | None, lake: str | None) -> int:
    """Tell how fresh and how complete the lake is, what in it has drifted, and how large it is.

    A row an account. coverage_24h is the share of expected snapshots that were stored in the last 24
    hours before its last run, errors_24h what the others met; days_to_compact are over and wait for
    nodelake compact.
    """
    with connect(lake) as connection:
        warn_of_nothing(connection)
        rows = _with_holdings(connection, connection.ask("status"))
        show(rows, form)
        ages = [row["age_minutes"] for row in rows.to_pylist()]
    if max_age is None:
        return 0
    if not ages:
        say("the lake has no snapshot")
        return CHECK_FAILED
    late = [
        row
        for row in rows.to_pylist()
        if row["age_minutes"] is None or row["age_minutes"] > max_age
    ]
    for row in late:
        age = row["age_minutes"]
        told = "has no stored snapshot" if age is None else f"last stored {age:.0f} minutes ago"
        say(f"{escape(row['account'])}: {told}, more than {max_age:g} allowed")
    return CHECK_FAILED if late else 0


def _with_holdings(connection: Connection, rows: pa.Table) -> pa.Table:
    """The rows of ``status``, and beside each what the lake holds of its account."""
    import pyarrow as pa

    from pipeline.holdings import ZONES, Holdings, holdings

    ids = connection.table("select snapshot_id, account from snapshots").to_pydict()
    accounts = dict(zip(ids["snapshot_id"], ids["account"], strict=True))
    held = holdings(connection.lake, connection.view, accounts, datetime.now(UTC))
    each = [held.get(account, Holdings()) for account in rows["account"].to_pylist()]
    for zone in ZONES:
        for what in ("files", "bytes"):
            values = pa.array([getattr(one, what)[zone] for one in each], pa.int64())
            rows = rows.append_column(f"{zone}_{what}", values)
    days = [len(one.open_days) for one in each]
    first = [min(one.open_days, default=None) for one in each]
    rows = rows.append_column("days_to_compact", pa.array(days, pa.int64()))
    return rows.append_column("first_day_to_compact", pa.array(first, pa.date32()))


COMMANDS = (check, status)
