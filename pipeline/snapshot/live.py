"""One run: lists every pool and node of an account, writes their rows, commits the ledger row.

The clock is an argument, so that simulated days need no waiting.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import pyarrow as pa

from pipeline.config import Account
from pipeline.extract import BatchClient
from pipeline.flatten.columns import Origin
from pipeline.lake import Lake, LakeError, SnapshotWriter, date_of, new_snapshot_id
from pipeline.redact import DEFAULT, Redactor, redact_text
from pipeline.snapshot import images
from pipeline.snapshot.ledger import Clock, Ledger, Outcome, utc_now
from pipeline.snapshot.listing import ListingRun, note_figures
from pipeline.snapshot.progress import ProgressListener
from pipeline.snapshot.start_task_output import FailedRuns, capture, failed_before

log = logging.getLogger("nodelake.snapshot")


def run(
    account: Account,
    lake: Lake,
    client: BatchClient,
    *,
    clock: Clock = utc_now,
    pools: Sequence[str] = (),
    redactor: Redactor = DEFAULT,
    hash_key: bytes | None = None,
    dry_run: bool = False,
    watch: ProgressListener | None = None,
    capture_start_task_output: bool = False,
) -> Outcome:
    """Takes one snapshot of one account.

    Args:
        account: the account; its label is in every row.
        lake: the lake; a dry run does not touch it.
        client: signed in to that account, its deadline running.
        clock: for ``snapshot_at``, ``started_at`` and ``finished_at``.
        pools: only these, else all; a limited run proves no absence.
        redactor: masks secrets before anything is written.
        hash_key: key of ``start_task_fingerprint``; null without.
        dry_run: reads all, writes nothing, takes no lock.
        watch: the progress listener.
        capture_start_task_output: store the end of the output of start tasks that failed since the
            account's last snapshot.

    Raises:
        lake.Locked: another run has the account's lock; nothing was done.
        lake.LakeError: the lake cannot be written.
        BaseException: KeyboardInterrupt and the like, once a ledger row ``Interrupted`` is written.
    """
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(lake.lock("snapshot", account.label))
        started_at = clock()
        origin = Origin(account.label, new_snapshot_id(started_at), started_at)
        ledger = Ledger(origin, started_at, "live", "pools" if pools else "account")
        ledger.batch_url = account.endpoint
        ledger.api_version = ledger.configured_api_version = client.api_version
        failed_runs = FailedRuns() if capture_start_task_output else None
        try:
            if dry_run:
                ListingRun(ledger, client, _Unwritten(), redactor, hash_key, watch).read(pools)
                return Outcome(ledger.row(clock()), False)
            with lake.writer(origin.snapshot_id, account.label) as writer:
                listing = ListingRun(ledger, client, writer, redactor, hash_key, watch, failed_runs)
                listing.read(pools)
                if ledger.status != "failed":
                    if not pools:
                        _add_images(lake, ledger, client, writer, redactor)
                    if failed_runs is not None:
                        new = failed_runs.since(failed_before(lake, account.label))
                        output = capture(client, new, redactor, origin)
                        writer.write({"start_task_output": output})
                    ledger.rows = dict(writer.rows)
                    note_figures(ledger, client)
                finished_at = clock()
                writer.commit(ledger.table(finished_at))
        except BaseException as error:
            client.cancel()
            note_figures(ledger, client)
            if not dry_run and not lake.is_committed(origin.snapshot_id):
                note_failure(lake, ledger, clock, error)
            raise
        return Outcome(ledger.row(finished_at), True)


def _add_images(
    lake: Lake, ledger: Ledger, client: BatchClient, writer: SnapshotWriter, redactor: Redactor
) -> None:
    """Adds the supported images to the first snapshot of an account and day."""
    origin = ledger.origin
    if not images.are_stored(lake, origin.account, date_of(origin.snapshot_id)):
        rows = images.fetch(client, origin, redactor, ledger.report)
        writer.write({"supported_images": rows})


class _Unwritten:
    """A dry run's writer: counts rows and discards them."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = Counter()
        self._lock = threading.Lock()

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        with self._lock:
            for name, table in tables.items():
                self.rows[name] += table.num_rows


def note_failure(lake: Lake, ledger: Ledger, clock: Clock, error: BaseException) -> None:
    """Stores a ledger row for a run that ended without its data, with another id.

    The run may have finished some data files: with its id they would become visible.
    """
    code = type(error).__name__ if isinstance(error, Exception) else "Interrupted"
    message = str(error) or type(error).__name__
    origin = replace(ledger.origin, snapshot_id=new_snapshot_id(ledger.origin.snapshot_at))
    failed = replace(
        ledger,
        origin=origin,
        status="failed",
        error_code=code,
        error_message=redact_text(message),
        rows={},
    )
    try:
        with lake.writer(origin.snapshot_id, origin.account) as writer:
            writer.commit(failed.table(clock()))
    except LakeError as refusal:
        log.error("the failed run left no ledger row: %s", refusal)
