"""Imports saved JSON as one snapshot; its pages are flattened like downloaded ones.

The id is made from the content, so a second import of the same files finds them committed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from pipeline import schema
from pipeline.flatten import NodeFlattener, Tables, pool_rows
from pipeline.flatten.columns import Origin
from pipeline.flatten.pages import read_page
from pipeline.flatten.unknown_fields import UnknownFields
from pipeline.lake import Lake, Refused, SnapshotWriter, new_snapshot_id
from pipeline.redact import DEFAULT, Redactor
from pipeline.snapshot.ledger import (
    Clock,
    Ledger,
    Listing,
    Outcome,
    bare_pool,
    pool_tables,
    utc_now,
)
from pipeline.snapshot.rounds import processors
from pipeline.snapshot.saved_files import (
    Contents,
    DiskFile,
    Part,
    SavedError,
    SavedFile,
    SavedPage,
    SavedValues,
    open_file,
    read,
)

__all__ = ["DiskFile", "SavedError", "SavedFile", "open_file", "snapshot_id", "store"]


def snapshot_id(
    hashes: Sequence[str],
    at: datetime,
    *,
    account: str,
    pool: str | None,
    complete: bool,
    keep_env: Sequence[str],
) -> str:
    """The id of an import: its time, and a hash of everything that decides its rows.

    ``hashes`` are those of the files' bytes.
    """
    parts = [
        *sorted(hashes),
        json.dumps([account, pool, complete, sorted(keep_env), schema.SCHEMA_VERSION]),
    ]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return new_snapshot_id(at, digest[:8])


def store(
    files: Sequence[SavedFile | DiskFile],
    lake: Lake,
    *,
    at: datetime,
    account: str | None = None,
    labels: Mapping[str, str] | None = None,
    pool: str | None = None,
    complete: bool = False,
    redactor: Redactor = DEFAULT,
    hash_key: bytes | None = None,
    clock: Clock = utc_now,
) -> Outcome:
    """Imports saved files as one snapshot.

    Args:
        files: pages, bare lists, single nodes, pools.
        lake: where to. No lock is taken: an import is whole or not at all.
        at: when they were saved; replaces the service's clock.
        account: label; by default that of the account the urls name.
        labels: the labels of known accounts by ``name.region``; the only one's, where urls name none.
        pool: of nodes whose urls do not name it.
        complete: the files are complete listings: a node they lack counts as gone.
        redactor: masks secrets before anything is written.
        hash_key: key of ``start_task_fingerprint``.
        clock: for ``started_at`` and ``finished_at``.

    Returns:
        The outcome; ``is_stored`` is False where the lake has it already.

    Raises:
        SavedError: a file cannot be imported; nothing was stored.
        lake.Refused: that day has expired.
    """
    started_at = clock()
    contents = read(files, pool)
    labels = labels or {}
    named = contents.account
    label = account or (labels.get(named, named) if named else None)
    if label is None and len(labels) == 1:
        label = next(iter(labels.values()))
    if label is None:
        problem = "nothing names its account: give it with --account"
        raise SavedError(files[0].name, problem, is_usage=True)
    identity = snapshot_id(
        contents.hashes,
        at,
        account=label,
        pool=pool,
        complete=complete,
        keep_env=sorted(redactor.keep_env),
    )
    ledger = Ledger(
        Origin(label, identity, at),
        started_at,
        "import",
        "account" if contents.has_pools else "pools",
        contents.batch_url,
    )
    if lake.is_committed(identity):
        return Outcome(ledger.row(clock()) | {"status": "complete"}, False)
    if lake.is_sealed(label, at):
        raise Refused(
            f"{label} is sealed at {at:%FT%TZ}: older rows have expired, nothing may be added"
        )
    with lake.writer(identity, label) as writer:
        rows = _pool_rows(contents, ledger, redactor, at)
        for pool_id, flattener in _flattened(
            contents, writer, ledger.origin, redactor, hash_key, at
        ):
            row = rows[pool_id]
            row |= {"nodes_listed": flattener.nodes, "listing_started_at": at}
            row["listing_finished_at"] = at
            if complete and not flattener.report.missing_ids and pool_id not in contents.unfinished:
                row["listing"] = "complete"
            ledger.report.add(flattener.report)
        if rows:
            writer.write(pool_tables(list(rows.values())))
        ledger.pools_listed = len(rows)
        ledger.pools_complete = sum(row["listing"] == "complete" for row in rows.values())
        ledger.rows = dict(writer.rows)
        is_whole = not (ledger.report.malformed or ledger.report.missing_ids)
        ledger.status = "complete" if is_whole else "partial"
        finished_at = clock()
        writer.commit(ledger.table(finished_at))
    return Outcome(ledger.row(finished_at), True)


def _flattened(
    contents: Contents,
    writer: SnapshotWriter,
    origin: Origin,
    redactor: Redactor,
    hash_key: bytes | None,
    at: datetime,
) -> list[tuple[str, NodeFlattener]]:
    """Writes the nodes of every pool, pools in parallel; returns the report of each flattener."""
    unknown_fields = UnknownFields()

    def flatten(pool_id: str) -> tuple[str, NodeFlattener]:
        flattener = NodeFlattener(
            origin, pool_id, redactor, hash_key=hash_key, unknown_fields=unknown_fields
        )
        for part in contents.nodes[pool_id]:
            writer.write(_tables(flattener, part, at))
        return pool_id, flattener

    with ThreadPoolExecutor(processors(), "flatten") as side_by_side:
        return list(side_by_side.map(flatten, contents.nodes))


def _tables(flattener: NodeFlattener, part: Part, at: datetime) -> Tables:
    """The tables of some nodes."""
    if isinstance(part, SavedPage):
        return flattener.page(part.body(), at)[0]
    if isinstance(part, SavedValues) and b"null" not in part.body:
        return flattener.page(part.body, at)[0]
    # the Azure CLI prints nulls, with which a page takes the slow path
    values = part if isinstance(part, list) else read_page(part.body)[0]
    return flattener.values(values, at)


def _pool_rows(
    contents: Contents, ledger: Ledger, redactor: Redactor, at: datetime
) -> dict[str, dict[str, object]]:
    """A row of ``pools`` for every pool, with a ``partial`` listing unless it is proven complete."""
    partial: Listing = "partial"
    rows: dict[str, dict[str, object]] = {}
    for row in pool_rows(contents.pools, ledger.origin, redactor, ledger.report):
        rows.setdefault(str(row["pool_id"]), row | {"listing": partial})
    for pool_id in contents.nodes:
        rows.setdefault(pool_id, bare_pool(ledger.origin, pool_id) | {"listing": partial})
    ledger.pool_listing = "partial"
    if contents.has_pools:
        ledger.pool_listing_started_at = ledger.pool_listing_finished_at = at
    return rows
