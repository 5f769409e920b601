"""The command ``usage``, which fetches core-hours as the service counts them."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import (
    account_option,
    allow_host_option,
    api_version_option,
    deadline_option,
    settings,
)
from pipeline.cli.runs import close, record_each, sign_in
from pipeline.cli.values import Day

if TYPE_CHECKING:
    from pipeline.config import Account


@click.command(
    epilog="""\b
Examples:
  nodelake usage --from 2026-11-01 --to 2026-11-21
  nodelake usage --from 2026-11-20 --to 2026-11-21 --account render.westeurope"""
)
@click.option("--from", "first", required=True, type=Day(), metavar="DAY", help="First day, UTC.")
@click.option(
    "--to",
    "end",
    required=True,
    type=Day(),
    metavar="DAY",
    help="Day after the last one, UTC; it has to have begun at least two hours ago.",
)
@account_option
@deadline_option
@api_version_option
@allow_host_option
def usage(
    first: date,
    end: date,
    accounts: tuple[str, ...],
    deadline: float | None,
    api_version: str | None,
    allowed_hosts: tuple[str, ...],
) -> int:
    """Fetch core-hours as the service counts them, into pool_usage.

    Stores one snapshot of source usage, which says nothing about nodes. Fetching days again is
    harmless: pool_usage shows the latest.
    """
    from pipeline.lake import Lake
    from pipeline.snapshot import usage as core_hours

    try:
        days = core_hours.days_between(first, end, datetime.now(UTC))
    except core_hours.RangeError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    chosen = settings(accounts, api_version, allowed_hosts)
    wanted = chosen.require_accounts()
    are_several = len(wanted) > 1
    lake = Lake(chosen.lake)

    def record(account: Account) -> int:
        begun = time.monotonic()
        with sign_in(account, lake if are_several else None, "usage", deadline) as client:
            outcome = core_hours.fetch(account, lake, client, days)
        row, seconds = outcome.row, time.monotonic() - begun
        names = (
            "account snapshot_id status pool_usage_rows requests retries malformed unknown_fields "
            "error_code"
        ).split()
        close(
            "usage",
            f"{row['account']}: {row['status']}: {len(days)} days, {row['pool_usage_rows']} rows, "
            f"{row['requests']} requests, {seconds:.1f} s: {row['snapshot_id']}",
            {name: row[name] for name in names} | {"days": len(days)},
            seconds,
        )
        return outcome.exit_code

    return record_each(wanted, record, are_several=are_several)


COMMANDS = (usage,)
