"""The images that the service supports, once a UTC day and account."""

from __future__ import annotations

import logging
from datetime import date

import pyarrow as pa

from pipeline import schema
from pipeline.extract import BatchClient, Cancelled, ExtractError
from pipeline.flatten import image_rows
from pipeline.flatten.columns import Origin, Report
from pipeline.flatten.pages import BadPage, read_page
from pipeline.lake import Lake, LakeError
from pipeline.redact import Redactor
from pipeline.snapshot.failure import Failure, check_link

log = logging.getLogger("nodelake.snapshot")

#: The most seconds for the list: a run does not wait longer for it.
_SECONDS = 30.0


def are_stored(lake: Lake, account: str, day: date) -> bool:
    """Whether a committed snapshot of that day has the account's images.

    The ledger row of the snapshot names the account.
    """
    committed = lake.landed("snapshots")
    return any(
        place.day == day and _account_of(lake, snapshot_id) == account
        for snapshot_id, place in lake.landed("supported_images").items()
        if snapshot_id in committed
    )


def _account_of(lake: Lake, snapshot_id: str) -> str | None:
    try:
        return lake.ledger_row(snapshot_id).account
    except LakeError:
        return None  # swept or damaged meanwhile


def fetch(client: BatchClient, origin: Origin, redactor: Redactor, report: Report) -> pa.Table:
    """Rows of ``supported_images``; none, and a warning, where the list could not be read completely.

    A malformed image is left out and does not affect the run.

    Raises:
        Cancelled: the client was cancelled.
    """
    own = Report()
    tables = []
    try:
        with client.turn(_SECONDS, lambda: True):
            for page in client.supported_images():
                values, next_link = read_page(page.body)
                check_link(page, next_link)
                tables.append(image_rows(values, origin, redactor, own))
    except Cancelled:
        raise
    except (ExtractError, BadPage) as error:
        failure = Failure.of(error)
        log.warning("no supported images: %s: %s", failure.code, failure.message)
        return schema.SUPPORTED_IMAGES.schema.empty_table()
    report.unknown_fields.update(own.unknown_fields)
    report.unknown_enum_values.update(own.unknown_enum_values)
    for problem in own.problems:
        log.warning("a supported image was left out: %s: %s", problem["path"], problem["problem"])
    return pa.concat_tables([schema.SUPPORTED_IMAGES.schema.empty_table(), *tables])
