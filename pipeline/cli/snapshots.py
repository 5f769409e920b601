"""The command ``snapshot``, which records accounts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import progress
from pipeline.cli.memory import keep_memory
from pipeline.cli.options import (
    account_option,
    allow_host_option,
    api_version_option,
    deadline_option,
    keep_env_option,
    pool_option,
    settings,
)
from pipeline.cli.runs import close_snapshot, record_each, sign_in

if TYPE_CHECKING:
    from pipeline.config import Account
    from pipeline.snapshot import Outcome


@click.command(
    epilog="""\b
Examples:
  nodelake snapshot                       every pool of every account
  nodelake snapshot --account render.westeurope --pool p1
  nodelake snapshot --dry-run             read everything, write nothing
  */5 * * * * nodelake snapshot --lake /srv/lake 2>> /var/log/nodelake.jsonl"""
)
@account_option
@pool_option
@click.option("--dry-run", is_flag=True, help="Read everything, write nothing.")
@deadline_option
@keep_env_option
@api_version_option
@click.option(
    "--capture-start-task-output",
    is_flag=True,
    help="Keep the end of what start tasks wrote that failed since the last snapshot.",
)
@allow_host_option
def snapshot(
    accounts: tuple[str, ...],
    pools: tuple[str, ...],
    dry_run: bool,
    deadline: float | None,
    keep_env: tuple[str, ...],
    api_version: str | None,
    capture_start_task_output: bool,
    allowed_hosts: tuple[str, ...],
) -> int:
    """Record every node of every pool, once.

    Exit codes: 0 complete; 3 partial: stored, but some pool failed or some node was malformed; 1
    failed; 2 wrong settings; 4 another run holds the account's lock. An account that cannot be
    recorded gets a failed row in the ledger and never stops the others.
    """
    from pipeline.lake import Lake
    from pipeline.redact import Redactor
    from pipeline.snapshot import run

    keep_memory()
    chosen = settings(accounts, api_version, allowed_hosts)
    wanted = chosen.require_accounts()
    are_several = len(wanted) > 1
    lake = Lake(chosen.lake)
    hash_key = chosen.hash_key.reveal().encode() if chosen.hash_key else None

    def record(account: Account) -> int:
        begun = time.monotonic()
        ledger = lake if are_several and not dry_run else None
        with (
            sign_in(account, ledger, "live", deadline, pools) as client,
            progress(account.label) as listener,
        ):
            outcome: Outcome = run(
                account,
                lake,
                client,
                pools=pools,
                redactor=Redactor(keep_env),
                hash_key=hash_key,
                dry_run=dry_run,
                watch=listener,
                capture_start_task_output=(
                    capture_start_task_output or account.capture_start_task_output
                ),
            )
        close_snapshot(outcome, time.monotonic() - begun, dry_run=dry_run)
        return outcome.exit_code

    return record_each(wanted, record, are_several=are_several)


COMMANDS = (snapshot,)
