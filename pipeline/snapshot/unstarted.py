"""The ledger row of a run that could not begin, without credentials or with wrong settings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

from pipeline.config import Account
from pipeline.flatten.columns import Origin
from pipeline.lake import Lake, LakeError, Locked, new_snapshot_id
from pipeline.redact import redact_text
from pipeline.snapshot.ledger import Clock, Ledger, utc_now

log = logging.getLogger("nodelake.snapshot")


def record_failure(
    account: Account,
    lake: Lake,
    error: Exception,
    *,
    source: Literal["live", "usage"] = "live",
    pools: Sequence[str] = (),
    clock: Clock = utc_now,
) -> None:
    """Stores a failed ledger row for an account whose run could not begin.

    Where the lake cannot be written, there is only a log message.

    Raises:
        lake.Locked: another run has the account's lock; nothing was done.
    """
    at = clock()
    origin = Origin(account.label, new_snapshot_id(at), at)
    ledger = Ledger(origin, at, source, "pools" if pools else "account")
    ledger.batch_url, ledger.api_version = account.endpoint, account.api_version
    code = getattr(error, "code", None)
    ledger.error_code = code if isinstance(code, str) else type(error).__name__
    ledger.error_message = redact_text(str(error) or type(error).__name__)
    try:
        with (
            lake.lock("snapshot", account.label) if source == "live" else nullcontext(),
            lake.writer(origin.snapshot_id, account.label) as writer,
        ):
            writer.commit(ledger.table(clock()))
    except Locked:
        raise
    except LakeError as refusal:
        log.error("the failed run left no ledger row: %s", refusal)
