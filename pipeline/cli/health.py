"""The commands ``check`` and ``status``, for monitors."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pipeline.cli import completion
from pipeline.cli.console import escape, say
from pipeline.cli.options import connect, is_of, lake_to_read, warn_if_empty
from pipeline.cli.output import format_option, show
from pipeline.cli.values import number

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.query import Connection

CHECK_FAILED = 5
#: Minutes by which a clock may be fast.
_AHEAD = 15

log = logging.getLogger("nodelake")


@click.command(
    epilog="""\b
Examples:
  nodelake check                  one row per check: rows found, an example
  nodelake check counted_nodes    the rows that this check finds
  nodelake check --deep           files that are damaged, lost, misplaced
  nodelake check --format json >/dev/null || page-the-operator"""
)
@click.argument("name", metavar="CHECK", required=False, shell_complete=completion.checks)
@click.option("--deep", is_flag=True, help="Read every file to its last byte instead.")
@format_option
def check(name: str | None, deep: bool, form: str | None) -> int:
    """Look for rows that should not exist, by every check or by one.

    Exit code 5 if a check of severity fail finds any; warnings exit 0.
    """
    import pyarrow as pa

    from pipeline.query import checks

    if deep:
        found = [str(error) for error in lake_to_read().deep_damage()]
        for each in found:
            say(each)
        return CHECK_FAILED if found else 0
    if name is not None:
        asked = checks.check(name)
        with connect() as connection:
            warn_if_empty(connection)
            rows = connection.table(asked.sql)
            show(rows, form)
        return CHECK_FAILED if asked.severity == "fail" and rows.num_rows else 0
    with connect() as connection:
        warn_if_empty(connection)
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
  nodelake status --max-age 15 || page-the-operator
  nodelake status --max-age 15 --account render.westeurope"""
)
@click.option(
    "--max-age",
    type=click.FloatRange(min=0),
    callback=number,
    metavar="MIN",
    help="Exit 5 unless every account has a stored snapshot this young.",
)
@click.option(
    "--account",
    "accounts",
    multiple=True,
    metavar="NAME",
    help="Only this account, by label or name; repeatable [all that the lake has].",
)
@format_option
def status(max_age: float | None, accounts: tuple[str, ...], form: str | None) -> int:
    """Show how fresh, how complete and how large the lake is.

    One row per account. coverage_24h is the share of expected snapshots that were stored in the
    24 hours before its last run, errors_24h what the others met; days_to_compact are over and wait
    for nodelake compact. Exit code 5 when --max-age is exceeded.
    """
    with connect() as connection:
        warn_if_empty(connection)
        rows = _of_accounts(connection.ask("status"), accounts)
        rows = _with_usage(connection, rows)
        show(rows, form)
        ages = _ages(connection, rows)
    _name_refused_versions(rows)
    absent = [name for name in accounts if not any(is_of(each, (name,)) for each in ages)]
    for name in absent:
        say(f"{escape(name)}: the lake has no snapshot of it")
    if max_age is None:
        return 0
    if not ages and not absent:
        say("the lake has no snapshot")
        return CHECK_FAILED
    late = {account: age for account, age in ages.items() if age is None or age > max_age}
    for account, age in late.items():
        freshness = (
            "has no stored snapshot" if age is None else f"last stored {age:.0f} minutes ago"
        )
        say(f"{escape(account)}: {freshness}, more than {max_age:g} allowed")
    return CHECK_FAILED if late or absent else 0


def _name_refused_versions(rows: pa.Table) -> None:
    """Warns of accounts whose configured api-version the service refuses."""
    for row in rows.select(["account", "api_version", "refused_api_version"]).to_pylist():
        if row["refused_api_version"] is not None:
            say(
                f"{escape(row['account'])}: the service refuses the configured api-version "
                f"{escape(row['refused_api_version'])}; it was recorded in "
                f"{escape(row['api_version'])}: set api_version to that"
            )


def _of_accounts(rows: pa.Table, accounts: tuple[str, ...]) -> pa.Table:
    """The rows of these accounts."""
    import pyarrow as pa

    kept = [is_of(account, accounts) for account in rows["account"].to_pylist()]
    return rows.filter(pa.array(kept, pa.bool_()))


def _ages(connection: Connection, rows: pa.Table) -> dict[str, float | None]:
    """Minutes since the last stored snapshot of each account; None where there is none.

    A snapshot in the future comes from a wrong clock. It would hide every delay, so it is ignored.
    """
    ages = dict(zip(rows["account"].to_pylist(), rows["age_minutes"].to_pylist(), strict=True))
    if not any(age is not None and age < -_AHEAD for age in ages.values()):
        return ages
    past = connection.table(
        "select account, min((epoch(now()) - epoch(snapshot_at)) / 60) as age from snapshots "
        "where source in ('live', 'import') and status <> 'failed' "
        "and (epoch(now()) - epoch(snapshot_at)) / 60 >= cast($ahead as double) group by account",
        {"ahead": -_AHEAD},
    ).to_pylist()
    settled = {row["account"]: row["age"] for row in past}
    for account, age in ages.items():
        if age is not None and age < -_AHEAD:
            log.warning(
                "%s: snapshots that lie in the future are left out of its age", escape(account)
            )
            ages[account] = settled.get(account)
    return ages


def _with_usage(connection: Connection, rows: pa.Table) -> pa.Table:
    """The rows of ``status`` with the lake usage of each account."""
    import pyarrow as pa

    from pipeline.maintain.lake_usage import ZONES, LakeUsage, lake_usage

    ids = connection.table("select snapshot_id, account from snapshots").to_pydict()
    accounts = dict(zip(ids["snapshot_id"], ids["account"], strict=True))
    usage = lake_usage(connection.lake, connection.view, accounts, datetime.now(UTC))
    each = [usage.get(account, LakeUsage()) for account in rows["account"].to_pylist()]
    for zone in ZONES:
        for what in ("files", "bytes"):
            values = pa.array([getattr(one, what)[zone] for one in each], pa.int64())
            rows = rows.append_column(f"{zone}_{what}", values)
    days = [len(one.open_days) for one in each]
    first = [min(one.open_days, default=None) for one in each]
    rows = rows.append_column("days_to_compact", pa.array(days, pa.int64()))
    return rows.append_column("first_day_to_compact", pa.array(first, pa.date32()))


COMMANDS = (check, status)
