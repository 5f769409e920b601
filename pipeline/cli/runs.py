"""Shared by the commands that record accounts: the loop, the exit code, the closing line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pipeline.cli import signals
from pipeline.cli.console import is_watched

if TYPE_CHECKING:
    from pipeline.config import Account
    from pipeline.extract import BatchClient
    from pipeline.lake import Lake
    from pipeline.snapshot import Outcome

log = logging.getLogger("nodelake")


def record_each(
    accounts: Sequence[Account], record: Callable[[Account], int], *, are_several: bool
) -> int:
    """Records accounts one by one; returns the combined exit code.

    Of several accounts, one that fails never stops the others.
    """
    from pipeline.lake import Locked

    codes = []
    for account in accounts:
        try:
            codes.append(record(account))
        except Locked as error:
            log.warning("%s: %s", account.label, error, extra={"account": account.label})
            codes.append(4)
        except Exception as error:
            signals.raise_again()
            if not are_several:
                raise
            log.error("%s: %s", account.label, error, extra={"account": account.label})
            codes.append(1)
    return combined_exit_code(codes)


def combined_exit_code(codes: Iterable[int]) -> int:
    """The exit code of several accounts: 0 all complete, 4 all locked, 1 none stored, else 3."""
    kinds = {*codes}
    if len(kinds) == 1:
        return kinds.pop()
    return 3 if kinds & {0, 3} else 1


def sign_in(
    account: Account,
    lake: Lake | None,
    source: Literal["live", "usage"],
    deadline: float | None,
    pools: Sequence[str] = (),
) -> BatchClient:
    """A client of an account; where that fails, the ledger of ``lake`` gets a failed row.

    Raises:
        ConfigError: a key is not set, or credentials may not go to the endpoint.
        AuthFailed: there are no credentials.
    """
    from pipeline.extract import BatchClient

    try:
        return BatchClient(account, deadline_seconds=deadline)
    except Exception as error:
        if lake is not None:
            from pipeline.snapshot.unstarted import record_failure

            record_failure(account, lake, error, source=source, pools=pools)
        raise


def close(name: str, sentence: str, figures: Mapping[str, Any], seconds: float) -> None:
    """Logs the closing line: a sentence on a terminal, else a JSON line of figures."""
    if is_watched():
        log.info("%s", sentence)
    else:
        log.info(name, extra={**figures, "seconds": round(seconds, 2)})


def close_snapshot(
    outcome: Outcome, seconds: float, *, dry_run: bool = False, note: str | None = None
) -> None:
    """Logs the closing line of a snapshot or an import, with a note, and what was malformed."""
    row = outcome.row
    names = (
        "account snapshot_id status pools_listed pools_failed nodes_rows recent_tasks_rows "
        "requests retries bytes_received malformed duplicates unknown_fields error_code"
    ).split()
    parts = [
        f"{row['pools_listed']} pools",
        f"{row['nodes_rows']} nodes",
        f"{row['recent_tasks_rows']} tasks",
        f"{row['requests']} requests",
        f"{float(str(row['bytes_received'])) / 1e6:.1f} MB",
        f"{seconds:.1f} s",
    ]
    for name in ("pools_failed", "malformed", "duplicates", "unknown_fields", "retries"):
        if row[name]:
            parts.append(f"{row[name]} {name.replace('_', ' ')}")
    where = "nothing written (dry run)" if dry_run else str(row["snapshot_id"])
    close(
        "import" if row["source"] == "import" else "snapshot",
        f"{row['account']}: {row['status']}: {', '.join(parts)}: {where}",
        {name: row[name] for name in names} | {"dry_run": dry_run, "note": note},
        seconds,
    )
    if note and is_watched():
        log.warning("%s", note)
    _warn_of_problems(row)


def _warn_of_problems(row: Mapping[str, Any]) -> None:
    """Warns of malformed nodes by pool, node and field: the first five."""
    for problem in row["problems"][:5]:
        place = "a pool" if problem["pool_id"] is None else f"pool {problem['pool_id']}"
        if problem["node_id"] is not None:
            place += f", node {problem['node_id']}"
        said = ": ".join(filter(None, (place, problem["path"], problem["problem"])))
        log.warning("%s", said, extra={"account": row["account"]})
    if len(row["problems"]) > 5:
        log.warning("the first 100 are in the column problems of snapshots")
