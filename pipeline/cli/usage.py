"""The command that fetches core-hours: usage."""

from __future__ import annotations

import logging
import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from pipeline.cli.collect import combined_exit_code
from pipeline.cli.console import is_watched
from pipeline.cli.options import account_option, api_version_option, lake_option, settings

if TYPE_CHECKING:
    from pipeline.config import Account
    from pipeline.lake import Lake

log = logging.getLogger("nodelake")


def _day(option: str, text: str) -> date:
    """A day of the command line: YYYY-MM-DD."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        problem = f"{text!r} is no day, such as 2026-11-21"
        raise click.BadParameter(problem, param_hint=option) from None


@click.command(
    epilog="""\b
Examples:
  nodelake usage --from 2026-11-01 --to 2026-11-21
  nodelake usage --from 2026-11-20 --to 2026-11-21 --account render.westeurope"""
)
@click.option("--from", "first", required=True, metavar="D", help="First day (UTC), YYYY-MM-DD.")
@click.option(
    "--to", "end", required=True, metavar="D", help="Day after the last one; over by two hours."
)
@account_option
@click.option(
    "--deadline",
    type=click.FloatRange(min=0.001, max=86_400),
    metavar="SECONDS",
    help="All of an account's run ends within this time [240].",
)
@api_version_option
@lake_option
def usage(
    first: str,
    end: str,
    accounts: tuple[str, ...],
    deadline: float | None,
    api_version: str | None,
    lake: str | None,
) -> int:
    """Fetch core-hours as the service counts them, into pool_usage.

    One snapshot of source usage, which tells nothing of nodes. Fetching days again is harmless:
    pool_usage shows the latest.
    """
    from pipeline.lake import Lake
    from pipeline.snapshot import usage as core_hours

    try:
        days = core_hours.days_between(_day("--from", first), _day("--to", end), datetime.now(UTC))
    except core_hours.RangeError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    chosen = settings(lake, accounts, api_version)
    wanted = chosen.require_accounts()
    into = Lake(chosen.lake)
    codes = []
    for account in wanted:
        try:
            codes.append(_usage(account, into, days, deadline))
        except Exception as error:
            if len(wanted) == 1:
                raise
            log.error("%s: %s", account.label, error, extra={"account": account.label})
            codes.append(1)
    return combined_exit_code(codes)


def _usage(
    account: Account, lake: Lake, days: list[tuple[datetime, datetime]], deadline: float | None
) -> int:
    from pipeline.extract import BatchClient
    from pipeline.snapshot import usage as core_hours

    begun = time.monotonic()
    with BatchClient(account, deadline_seconds=deadline) as client:
        outcome = core_hours.fetch(account, lake, client, days)
    row, seconds = outcome.row, round(time.monotonic() - begun, 2)
    if is_watched():
        log.info(
            "%s: %s: %d days, %s rows, %s requests, %.1f s: %s",
            *(row["account"], row["status"], len(days), row["pool_usage_rows"]),
            *(row["requests"], seconds, row["snapshot_id"]),
        )
        return outcome.exit_code
    names = (
        "account snapshot_id status pool_usage_rows requests retries malformed unknown_fields "
        "error_code"
    ).split()
    figures = {name: row[name] for name in names}
    log.info("usage", extra=figures | {"days": len(days), "seconds": seconds})
    return outcome.exit_code


COMMANDS = (usage,)
