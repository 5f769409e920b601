"""Captures the redacted end of the logs of start tasks that failed since the last snapshot.

The logs are lost with their node, so they are fetched in every run, after its listings and from few
nodes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, zip_longest

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.extract import BatchClient, Cancelled, ExtractError, TurnOver
from pipeline.flatten.columns import Origin
from pipeline.lake import Lake, LakeError
from pipeline.lake.table_file import read
from pipeline.redact import Redactor

#: The most nodes of one run.
MAX_NODES = 20
#: The bytes of a file that are stored.
TAIL_BYTES = 4096
#: Bytes that are read before these, so that a secret across the cut is whole when it is masked.
_BEFORE_BYTES = 4096
_READ_BYTES = TAIL_BYTES + _BEFORE_BYTES
#: The most seconds for one file.
_FILE_SECONDS = 10.0
_FILES = ("stderr", "stdout")
#: Errors of one file; after others the node's second file is skipped.
_OF_THE_FILE = frozenset({"FileNotFound", "PathNotFound", "InvalidRange", "TooLarge", "TooSlow"})
#: The most landing ledger files that are read to find the account's last snapshot.
_MAX_LEDGER_FILES = 64
_KEY = ["pool_id", "node_id", "start_task_start_time"]


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A failed run of a start task, from the listing of its node."""

    pool_id: str
    node_id: str
    allocation_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    exit_code: int | None

    @property
    def key(self) -> tuple[object, ...]:
        """The key of the run within its account."""
        return self.pool_id, self.node_id, self.start_time


class FailedRuns:
    """The failed runs in the pages of a listing; thread-safe."""

    def __init__(self) -> None:
        self._found: list[FailedRun] = []
        self._lock = threading.Lock()

    def add(self, nodes: pa.Table) -> None:
        """Adds the failed runs in rows of ``nodes``."""
        failed = nodes.filter(pc.equal(nodes["start_task_result"], "failure"))
        if not failed.num_rows:
            return
        names = ["pool_id", "node_id", "allocation_time"]
        names += [f"start_task_{name}" for name in ("start_time", "end_time", "exit_code")]
        rows = zip(*(failed[name].to_pylist() for name in names), strict=True)
        with self._lock:
            self._found += [FailedRun(*row) for row in rows if row[1] is not None]

    def since(self, known: Iterable[tuple[object, ...]]) -> list[FailedRun]:
        """At most ``MAX_NODES`` runs that are not known: pools in turn, the latest runs first."""
        seen = set(known)
        runs = [run for run in self._found if run.key not in seen]
        runs.sort(key=lambda run: str(run.end_time or run.start_time), reverse=True)
        runs.sort(key=lambda run: run.pool_id)
        pools = [list(of_pool) for _, of_pool in groupby(runs, lambda run: run.pool_id)]
        in_turn = [run for row in zip_longest(*pools) for run in row if run is not None]
        return in_turn[:MAX_NODES]


def failed_before(lake: Lake, account: str) -> set[tuple[object, ...]]:
    """The failed runs in the account's last snapshot with nodes; empty where there is none.

    It reads four columns of one landing file. Compacted and swept days are not read: after so long a
    pause failed runs are captured again.
    """
    try:
        for snapshot_id in sorted(lake.landed("snapshots"), reverse=True)[:_MAX_LEDGER_FILES]:
            row = lake.ledger_row(snapshot_id)
            if row.account == account and row.rows.get("nodes"):
                key = lake.key("nodes", snapshot_id)
                nodes = read(lake.storage, key, [*_KEY, "start_task_result"])
                failed = nodes.filter(pc.equal(nodes["start_task_result"], "failure"))
                columns = (failed[name].to_pylist() for name in _KEY)
                return {*zip(*columns, strict=True)}
    except LakeError:
        return set()  # swept or damaged meanwhile: the run goes on
    return set()


def capture(
    client: BatchClient, runs: Sequence[FailedRun], redactor: Redactor, origin: Origin
) -> pa.Table:
    """Rows of ``start_task_output``: both files of each run's node, or the error of reading them.

    Raises:
        Cancelled: the client was cancelled.
    """
    with ThreadPoolExecutor(max(1, min(client.limits.connections, len(runs))), "output") as readers:
        found = [
            row
            for rows in readers.map(lambda run: _of_node(client, run, redactor), runs)
            for row in rows
        ]
    keys = {
        "account": origin.account,
        "snapshot_id": origin.snapshot_id,
        "snapshot_at": origin.snapshot_at,
    }
    return pa.Table.from_pylist([keys | row for row in found], schema.START_TASK_OUTPUT.schema)


def _of_node(client: BatchClient, run: FailedRun, redactor: Redactor) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    refusal: str | None = None
    for file in _FILES:
        row: dict[str, object] = {
            "pool_id": run.pool_id,
            "node_id": run.node_id,
            "allocation_time": run.allocation_time,
            "start_time": run.start_time,
            "exit_code": run.exit_code,
            "file": file,
        }
        rows.append(row)
        if refusal is not None:
            row["error_code"] = refusal
            continue
        try:
            with client.turn(_FILE_SECONDS, lambda: True):
                row |= _tail(client, run, f"startup/{file}.txt", redactor)
        except Cancelled:
            raise
        except ExtractError as error:
            code = "TooSlow" if isinstance(error, TurnOver) else error.code
            row["error_code"] = code
            refusal = None if code in _OF_THE_FILE else code
    return rows


def _tail(client: BatchClient, run: FailedRun, path: str, redactor: Redactor) -> dict[str, object]:
    """The end of a file: text, bytes, is_truncated, observed_at.

    Most logs are short: one request for the beginning gets all, or the error. For a longer one HEAD
    returns the length.
    """
    where = (run.pool_id, run.node_id, path)
    observed_at: datetime | None = None
    try:
        data, observed_at = client.file_part(*where, 0, _READ_BYTES - 1)
        length = len(data)  # more than requested: a service without ranges sends the whole file
    except ExtractError as error:
        if error.code != "InvalidRange" and error.status != 416:
            raise
        data, length = b"", client.file_size(*where)  # an empty file may have no range
    if length == _READ_BYTES:
        length = client.file_size(*where)
        if length > _READ_BYTES:
            data, observed_at = client.file_part(*where, length - _READ_BYTES, length - 1)
    return {
        "text": _readable(data[-_READ_BYTES:], redactor),
        "bytes": length,
        "is_truncated": length > TAIL_BYTES,
        "observed_at": observed_at,
    }


def _readable(data: bytes, redactor: Redactor) -> str:
    """The last 4 KiB as redacted text; a byte that is no UTF-8 reads ``\\xNN``."""
    text = redactor.text(data.decode("utf-8", "backslashreplace"))
    # A character that the cut splits is left out.
    return text.encode()[-TAIL_BYTES:].decode("utf-8", "ignore")
