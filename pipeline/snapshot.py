"""One run: every pool of an account listed, every node read, flattened, committed, and the ledger.

It takes its clock as an argument, so that a simulated day runs as fast as it can.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import pyarrow as pa

from pipeline.columns import Origin, Report
from pipeline.config import Account
from pipeline.extract import BatchClient, ExtractError, Page
from pipeline.flatten import NodeFlattener, pool_rows
from pipeline.lake import Lake, LakeError, new_snapshot_id
from pipeline.ledger import Ledger, Listing, bare_pool, pool_table
from pipeline.pages import BadPage, read_page
from pipeline.redact import Redactor, redact_text

log = logging.getLogger("nodelake.snapshot")

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


class Watch(Protocol):
    """Who watches a run: told of each step as it is done, from any thread."""

    def pools_listed(self, pools: int) -> None:
        """So many pools are known of now."""

    def nodes_read(self, pool_id: str, nodes: int) -> None:
        """Another page of a pool is done, with so many nodes."""

    def pool_done(self, pool_id: str, listing: Listing) -> None:
        """A pool's listing has ended."""


class _Nobody:
    def pools_listed(self, pools: int) -> None: ...

    def nodes_read(self, pool_id: str, nodes: int) -> None: ...

    def pool_done(self, pool_id: str, listing: Listing) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its ledger row by column name, and whether the lake has it."""

    row: dict[str, object]
    is_stored: bool

    @property
    def exit_code(self) -> int:
        """0 complete, 3 partial, 1 failed."""
        return {"complete": 0, "partial": 3, "failed": 1}[str(self.row["status"])]


def run(
    account: Account,
    lake: Lake,
    client: BatchClient,
    *,
    clock: Clock = utc_now,
    pools: Sequence[str] = (),
    redactor: Redactor | None = None,
    hash_key: bytes | None = None,
    dry_run: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """Takes one snapshot of one account.

    Args:
        account: which; its label names it in every row.
        lake: where to; untouched by a dry run.
        client: signed in to that account, its deadline running.
        clock: for ``snapshot_at``, ``started_at`` and ``finished_at``.
        pools: only these, else all; a limited run proves nobody's absence.
        redactor: masks secrets before anything is written.
        hash_key: key of ``start_task_fingerprint``; null without.
        dry_run: reads all, writes nothing, takes no lock.
        watch: is told of progress.

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
        ledger.batch_url, ledger.api_version = account.endpoint, client.api_version
        try:
            if dry_run:
                _Run(ledger, client, _Unwritten(), redactor, hash_key, watch).read(pools)
                return Outcome(ledger.row(clock()), False)
            with lake.writer(origin.snapshot_id, account.label) as writer:
                _Run(ledger, client, writer, redactor, hash_key, watch).read(pools)
                finished_at = clock()
                writer.commit(ledger.table(finished_at))
        except BaseException as error:
            client.cancel()
            _note_figures(ledger, client)
            if not dry_run and not lake.is_committed(origin.snapshot_id):
                _note_failure(lake, ledger, clock, error)
            raise
        return Outcome(ledger.row(finished_at), True)


class _Writer(Protocol):
    """Takes tables, and counts their rows."""

    rows: dict[str, int]

    def write(self, tables: Mapping[str, pa.Table]) -> None: ...


class _Unwritten:
    """A dry run's writer: counts, and lets go."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = Counter()
        self._lock = threading.Lock()

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        with self._lock:
            for name, table in tables.items():
                self.rows[name] += table.num_rows


def _note_figures(ledger: Ledger, client: BatchClient) -> None:
    figures = client.figures
    ledger.requests, ledger.retries = figures.requests, figures.retries
    ledger.throttled, ledger.bytes_received = figures.throttled, figures.bytes_received
    ledger.clock_skew_seconds = figures.clock_skew_seconds


def _note_failure(lake: Lake, ledger: Ledger, clock: Clock, error: BaseException) -> None:
    """A ledger row for a run that ended without its data, under an id of its own.

    Some data files of the run may have their names already; under its id they would be read.
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


class _Run:
    """The steps of one run; the ledger is filled as they are done."""

    def __init__(
        self,
        ledger: Ledger,
        client: BatchClient,
        writer: _Writer,
        redactor: Redactor | None,
        hash_key: bytes | None,
        watch: Watch | None,
    ) -> None:
        self.ledger = ledger
        self.client = client
        self.writer = writer
        self.redactor = redactor or Redactor()
        self.hash_key = hash_key
        self.watch = watch or _Nobody()
        self.pools: dict[str, dict[str, object]] = {}
        self._reports: list[Report] = []

    def read(self, wanted: Sequence[str]) -> None:
        """Lists the pools, then the nodes of each side by side, and sums up."""
        if wanted:
            self._get_pools(wanted)
        else:
            self._list_pools()
        found = [pool_id for pool_id, row in self.pools.items() if "listing" not in row]
        self.watch.pools_listed(len(found))
        connections = self.client.limits.connections
        workers = ThreadPoolExecutor(min(connections, len(found) + 1), "nodelake")
        try:
            counting = workers.submit(self._count_nodes)
            waiting = {workers.submit(self._list_nodes, pool_id) for pool_id in found} | {counting}
            while waiting:
                # A wait without a timeout would hold Ctrl-C and SIGTERM back until it ends.
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
                for each in done:
                    each.result()
        except BaseException:
            self.client.cancel()  # what the workers wait for ends now
            raise
        finally:
            workers.shutdown(wait=True, cancel_futures=True)
        if self.pools:
            self.writer.write({"pools": pool_table(list(self.pools.values()))})
        self._sum_up()

    def _list_pools(self) -> None:
        """Every pool of the account; what was listed before a failure is still read."""
        ledger = self.ledger
        try:
            for page in self.client.pools():
                values, next_link = read_page(page.body)
                _check_link(page, next_link)
                self._add_pools(page, values)
        except (ExtractError, BadPage) as error:
            failure = _Failure.of(error)
            ledger.pool_listing = "partial" if self.pools else "failed"
            ledger.error_code, ledger.error_message, ledger.request_id = failure
            log.error("the pools could not all be listed: %s: %s", failure.code, failure.message)
        else:
            ledger.pool_listing = "partial" if ledger.report.missing_ids else "complete"

    def _get_pools(self, wanted: Sequence[str]) -> None:
        """The pools that were asked for, one by one; one that is not there is a failed listing."""
        self.ledger.pool_listing = "complete"
        for pool_id in dict.fromkeys(wanted):
            try:
                page = self.client.pool(pool_id)
                self._add_pools(page, _the_pool(page, pool_id))
            except (ExtractError, BadPage) as error:
                self.pools[pool_id] = bare_pool(self.ledger.origin, pool_id) | {"nodes_listed": 0}
                self._fail(self.pools[pool_id], _Failure.of(error), "failed")
                self.ledger.pool_listing = "partial"

    def _add_pools(self, page: Page, values: Sequence[object]) -> None:
        ledger = self.ledger
        ledger.pool_listing_started_at = ledger.pool_listing_started_at or page.observed_at
        ledger.pool_listing_finished_at = page.observed_at
        for row in pool_rows(values, ledger.origin, self.redactor, ledger.report):
            # A page is no point in time: a pool that came twice is kept once, the first.
            self.pools.setdefault(str(row["pool_id"]), row)

    def _list_nodes(self, pool_id: str) -> None:
        """One pool's nodes, page by page: each is written before the next one is asked for."""
        flattener = NodeFlattener(
            self.ledger.origin, pool_id, self.redactor, hash_key=self.hash_key
        )
        row = self.pools[pool_id]
        failure = None
        try:
            for page in self.client.nodes(pool_id):
                before = flattener.nodes
                tables, next_link = flattener.page(page.body, page.observed_at)
                _check_link(page, next_link)
                self.writer.write(tables)
                row["listing_started_at"] = row.get("listing_started_at") or page.observed_at
                row["listing_finished_at"] = page.observed_at
                self.watch.nodes_read(pool_id, flattener.nodes - before)
        except (ExtractError, BadPage) as error:
            failure = _Failure.of(error)
        missing = flattener.report.missing_ids
        if failure is None and missing:
            failure = _Failure("NodeWithoutId", f"nodes without a valid id: {missing}", None)
        row["nodes_listed"] = flattener.nodes
        listing: Listing = "complete"
        if failure is not None:
            listing = "partial" if "listing_finished_at" in row else "failed"
            self._fail(row, failure, listing)
        row["listing"] = listing
        self._reports.append(flattener.report)
        self.watch.pool_done(pool_id, listing)

    def _fail(self, row: dict[str, object], failure: _Failure, listing: Listing) -> None:
        row["listing"] = listing
        row["error_code"], row["error_message"], row["request_id"] = failure
        log.error(
            "the nodes of pool %s could not all be listed: %s: %s",
            row["pool_id"],
            failure.code,
            failure.message,
            extra={"pool_id": row["pool_id"], "request_id": failure.request_id},
        )

    def _count_nodes(self) -> None:
        """What /nodecounts tells of each pool; it lags, so a failure of it is no failure of the run."""
        try:
            only = next(iter(self.pools)) if len(self.pools) == 1 else None
            for page in self.client.node_counts(only):
                for value in read_page(page.body)[0]:
                    pool_id, nodes = _counted(value)
                    if pool_id in self.pools:
                        self.pools[pool_id]["nodes_counted"] = nodes
        except (ExtractError, BadPage) as error:
            failure = _Failure.of(error)
            log.warning("no node counts: %s: %s", failure.code, failure.message)

    def _sum_up(self) -> None:
        ledger = self.ledger
        for report in self._reports:
            ledger.report.add(report)
        listings = [row["listing"] for row in self.pools.values()]
        ledger.pools_listed = len(listings)
        ledger.pools_complete = listings.count("complete")
        ledger.pools_failed = len(listings) - ledger.pools_complete
        _note_figures(ledger, self.client)
        ledger.rows = dict(self.writer.rows)
        is_whole = ledger.pool_listing == "complete" and not ledger.pools_failed
        if is_whole and not ledger.report.malformed:
            ledger.status = "complete"
        elif is_whole or ledger.pools_complete or ledger.rows.get("nodes"):
            ledger.status = "partial"
        if ledger.error_code is None and ledger.pools_failed:
            failed = next(row for row in self.pools.values() if row["listing"] != "complete")
            ledger.error_code = str(failed["error_code"])
            ledger.error_message = f"pool {failed['pool_id']}: {failed['error_message']}"
            ledger.request_id = failed["request_id"]  # type: ignore[assignment]  # str or None


class _Failure(NamedTuple):
    """Why a listing ended early."""

    code: str
    message: str
    request_id: str | None

    @classmethod
    def of(cls, error: ExtractError | BadPage) -> _Failure:
        if isinstance(error, ExtractError):
            return cls(error.code, error.message, error.request_id)
        return cls("BadPage", redact_text(str(error)), None)


def _the_pool(page: Page, pool_id: str) -> list[object]:
    """The pool that was asked for; ids are compared without case, as the service does."""
    values, _ = read_page(b'{"value": [%b]}' % page.body)
    ids = [value.get("id") for value in values if isinstance(value, dict)]
    if [str(each).lower() for each in ids] != [pool_id.lower()]:
        raise BadPage("not the pool that was asked for")
    return values


def _check_link(page: Page, next_link: str | None) -> None:
    """The link that was followed is the one the page has: else a page would be lost silently."""
    if (page.next_link or None) != (next_link or None):
        raise BadPage("its odata.nextLink reads differently the second time")


def _counted(value: object) -> tuple[str | None, int | None]:
    """A pool's id and the nodes it has by a PoolNodeCounts, or nothing where that is none."""
    if not isinstance(value, dict) or not isinstance(value.get("poolId"), str):
        return None, None
    totals = [
        kind["total"]
        for kind in (value.get("dedicated"), value.get("lowPriority"))
        if isinstance(kind, dict) and type(kind.get("total")) is int
    ]
    nodes = sum(totals)
    # What no column can take is no count: the check is a soft one.
    return value["poolId"], nodes if totals and 0 <= nodes < 2**63 else None
