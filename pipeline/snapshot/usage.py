"""Core-hours as the service counts them: ``/poolusagemetrics`` as a snapshot of source ``usage``.

It proves nothing about nodes, and takes no lock: fetching the same days twice adds rows, and the view
``pool_usage`` shows the latest of each half hour.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from pipeline.config import Account
from pipeline.extract import BatchClient, ExtractError
from pipeline.flatten import usage_rows
from pipeline.flatten.columns import Origin
from pipeline.flatten.pages import BadPage, read_page
from pipeline.lake import Lake, LakeError, SnapshotWriter, new_snapshot_id
from pipeline.redact import Redactor, redact_text
from pipeline.snapshot.ledger import Ledger
from pipeline.snapshot.live import Clock, Outcome, utc_now

log = logging.getLogger("nodelake.usage")

#: The service tells core-hours so late: it refuses to be asked for what is younger (service.md).
DELAY = timedelta(hours=2)

Days = list[tuple[datetime, datetime]]


class RangeError(ValueError):
    """Days that cannot be asked for; says why."""


def days_between(first: date, end: date, now: datetime) -> Days:
    """The UTC days from ``first`` up to, without, ``end``: each its start and its end.

    Raises:
        RangeError: there is none, or ``end`` is later than two hours before ``now``.
    """
    if first >= end:
        raise RangeError(f"no day lies between {first} and {end}: the last day is exclusive")
    latest = now.astimezone(UTC) - DELAY
    if _midnight(end) > latest:
        raise RangeError(
            f"the service counts core-hours two hours late: the range may end by {latest.date()}, "
            f"not {end} (00:00 UTC, exclusive)"
        )
    count = (end - first).days
    return [
        (_midnight(first + timedelta(number)), _midnight(first + timedelta(number + 1)))
        for number in range(count)
    ]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def fetch(
    account: Account,
    lake: Lake,
    client: BatchClient,
    days: Days,
    *,
    clock: Clock = utc_now,
    redactor: Redactor | None = None,
) -> Outcome:
    """Stores the core-hours of days as one snapshot: one listing a day, in order.

    A day that fails ends the run: what was read before is stored, the run is ``partial``, and
    ``failed`` where nothing was read. The ledger has its row either way.

    Raises:
        lake.LakeError: the lake cannot be written.
        BaseException: KeyboardInterrupt and the like, once a ledger row ``Interrupted`` is written.
    """
    started_at = clock()
    origin = Origin(account.label, new_snapshot_id(started_at), started_at)
    ledger = Ledger(origin, started_at, "usage", "account")
    ledger.batch_url, ledger.api_version = account.endpoint, client.api_version
    try:
        with lake.writer(origin.snapshot_id, account.label) as writer:
            _read(ledger, client, writer, days, redactor or Redactor())
            _note_figures(ledger, client)
            ledger.rows = dict(writer.rows)
            finished_at = clock()
            writer.commit(ledger.table(finished_at))
    except BaseException as error:
        client.cancel()
        _note_figures(ledger, client)
        if not lake.is_committed(origin.snapshot_id):
            _note_failure(lake, ledger, clock, error)
        raise
    return Outcome(ledger.row(finished_at), True)


def _read(
    ledger: Ledger, client: BatchClient, writer: SnapshotWriter, days: Days, redactor: Redactor
) -> None:
    """Every page of every day, until one fails; an empty day is read too."""
    is_any_read = False
    try:
        for start, end in days:
            for page in client.usage_metrics(start, end):
                values, next_link = read_page(page.body)
                if (page.next_link or None) != (next_link or None):
                    raise BadPage("its odata.nextLink reads differently the second time")
                rows = usage_rows(values, ledger.origin, redactor, ledger.report)
                writer.write({"pool_usage": rows})
                is_any_read = True
    except (ExtractError, BadPage) as error:
        if isinstance(error, ExtractError):
            ledger.error_code, ledger.request_id = error.code, error.request_id
            message = error.message
        else:
            ledger.error_code, message = "BadPage", redact_text(str(error))
        ledger.error_message = f"from {start:%Y-%m-%d} on: {message}"
        ledger.status = "partial" if is_any_read else "failed"
        log.error("core-hours %s: %s", ledger.error_message, ledger.error_code)
    else:
        ledger.status = "partial" if ledger.report.malformed else "complete"


def _note_figures(ledger: Ledger, client: BatchClient) -> None:
    figures = client.figures
    ledger.requests, ledger.retries = figures.requests, figures.retries
    ledger.throttled, ledger.bytes_received = figures.throttled, figures.bytes_received
    ledger.clock_skew_seconds = figures.clock_skew_seconds


def _note_failure(lake: Lake, ledger: Ledger, clock: Clock, error: BaseException) -> None:
    """A ledger row for a run that ended without its data, under an id of its own."""
    origin = replace(ledger.origin, snapshot_id=new_snapshot_id(ledger.origin.snapshot_at))
    failed = replace(
        ledger,
        origin=origin,
        status="failed",
        error_code=type(error).__name__ if isinstance(error, Exception) else "Interrupted",
        error_message=redact_text(str(error) or type(error).__name__),
        rows={},
    )
    try:
        with lake.writer(origin.snapshot_id, origin.account) as writer:
            writer.commit(failed.table(clock()))
    except LakeError as refusal:
        log.error("the failed run left no ledger row: %s", refusal)
