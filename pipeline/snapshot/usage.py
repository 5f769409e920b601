"""Stores core-hours as the service counts them (``/poolusagemetrics``), with source ``usage``.

It proves nothing about nodes and takes no lock: fetching days again adds rows, of which the view
``pool_usage`` shows the latest.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, time, timedelta

from pipeline.config import Account
from pipeline.extract import BatchClient, ExtractError, ServiceError
from pipeline.flatten import usage_rows
from pipeline.flatten.columns import Origin
from pipeline.flatten.pages import BadPage, read_page
from pipeline.lake import Lake, SnapshotWriter, new_snapshot_id
from pipeline.redact import DEFAULT, Redactor
from pipeline.snapshot.failure import Failure, check_link
from pipeline.snapshot.ledger import Clock, Ledger, Outcome, utc_now
from pipeline.snapshot.listing import note_figures
from pipeline.snapshot.live import note_failure

log = logging.getLogger("nodelake.usage")

#: The delay of core-hours: the service refuses requests for later times (service.md).
DELAY = timedelta(hours=2)

#: Error codes of a service without the operation, or without it for this account.
_NOT_THERE = frozenset({404, 405, 410, 501})

Days = list[tuple[datetime, datetime]]


class RangeError(ValueError):
    """Days that cannot be requested; the message says why."""


def days_between(first: date, end: date, now: datetime) -> Days:
    """Start and end of each UTC day from ``first`` to before ``end``.

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
    redactor: Redactor = DEFAULT,
) -> Outcome:
    """Stores the core-hours of days as one snapshot: one listing for each day, in order.

    A failed day ends the run, which is then ``partial``, or ``failed`` where nothing was read. The
    ledger has its row in any case.

    Raises:
        lake.LakeError: the lake cannot be written.
        BaseException: KeyboardInterrupt and the like, once a ledger row ``Interrupted`` is written.
    """
    started_at = clock()
    origin = Origin(account.label, new_snapshot_id(started_at), started_at)
    ledger = Ledger(origin, started_at, "usage", "account")
    ledger.batch_url = account.endpoint
    ledger.api_version = ledger.configured_api_version = client.api_version
    try:
        with lake.writer(origin.snapshot_id, account.label) as writer:
            _read(ledger, client, writer, days, redactor)
            note_figures(ledger, client)
            ledger.rows = dict(writer.rows)
            finished_at = clock()
            writer.commit(ledger.table(finished_at))
    except BaseException as error:
        client.cancel()
        note_figures(ledger, client)
        if not lake.is_committed(origin.snapshot_id):
            note_failure(lake, ledger, clock, error)
        raise
    return Outcome(ledger.row(finished_at), True)


def _read(
    ledger: Ledger, client: BatchClient, writer: SnapshotWriter, days: Days, redactor: Redactor
) -> None:
    """Every page of every day, until one fails."""
    is_any_read = False
    try:
        for start, end in days:
            for page in client.usage_metrics(start, end):
                values, next_link = read_page(page.body)
                check_link(page, next_link)
                rows = usage_rows(values, ledger.origin, redactor, ledger.report)
                writer.write({"pool_usage": rows})
                is_any_read = True
    except (ExtractError, BadPage) as error:
        failure = Failure.of(error)
        ledger.error_code, message, ledger.request_id = failure
        if isinstance(error, ServiceError) and error.status in _NOT_THERE:
            message = f"this account has no usage metrics in {client.api_version}: {message}"
        ledger.error_message = f"from {start:%Y-%m-%d} on: {message}"
        ledger.status = "partial" if is_any_read else "failed"
        log.error("core-hours %s: %s", ledger.error_message, ledger.error_code)
    else:
        ledger.status = "partial" if ledger.report.malformed else "complete"
