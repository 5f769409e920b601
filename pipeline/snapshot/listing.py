"""The listing of one run: lists pools, then nodes in parallel, flattens and writes each page.

Pages are flattened while others are downloaded; connections and processors, not the fleet, bound the
pages in memory.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from pipeline.extract import BatchClient, Cancelled, ExtractError, Page, TurnOver
from pipeline.flatten import NodeFlattener, pool_rows
from pipeline.flatten.columns import Report
from pipeline.flatten.pages import BadPage, read_page
from pipeline.flatten.unknown_fields import UnknownFields
from pipeline.redact import Redactor
from pipeline.snapshot.failure import Failure, check_link
from pipeline.snapshot.ledger import Ledger, Listing, bare_pool, pool_tables
from pipeline.snapshot.progress import NullListener, ProgressListener
from pipeline.snapshot.rounds import Rounds, processors
from pipeline.snapshot.start_task_output import FailedRuns

log = logging.getLogger("nodelake.snapshot")


class Writer(Protocol):
    """Takes tables, and counts their rows."""

    rows: dict[str, int]

    def write(self, tables: Mapping[str, pa.Table]) -> None:
        """Adds rows to tables, by name."""


def note_figures(ledger: Ledger, client: BatchClient) -> None:
    """Copies the client's figures into the ledger."""
    figures = client.figures
    ledger.requests, ledger.retries = figures.requests, figures.retries
    ledger.throttled, ledger.bytes_received = figures.throttled, figures.bytes_received
    ledger.clock_skew_seconds = figures.clock_skew_seconds
    ledger.api_version = (
        client.api_version
    )  # a newer one where the service refused the configured one


#: The shortest turn of a listing, in seconds.
_LEAST_TURN_SECONDS = 2.0


@dataclass
class _NodeListing:
    """The listing of one pool's nodes, and its progress."""

    flattener: NodeFlattener
    pages: Iterator[Page]
    row: dict[str, object]


class ListingRun:
    """The steps of one run, which fill the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        client: BatchClient,
        writer: Writer,
        redactor: Redactor,
        hash_key: bytes | None,
        progress: ProgressListener | None,
        failed_runs: FailedRuns | None = None,
    ) -> None:
        self.ledger = ledger
        self.client = client
        self.writer = writer
        self.redactor = redactor
        self.hash_key = hash_key
        self.progress = progress or NullListener()
        self.failed_runs = failed_runs
        self.pools: dict[str, dict[str, object]] = {}
        self._reports: list[Report] = []
        self._unknown_fields = UnknownFields()
        self._processors = processors()
        self._free = threading.Semaphore(self._processors)
        self._is_over = False
        self._is_listed = False

    def read(self, wanted: Sequence[str]) -> None:
        """Lists the pools, then the nodes of each in parallel, and sums up."""
        if wanted:
            self._get_pools(wanted)
        else:
            self._list_pools()
        found = [pool_id for pool_id, row in self.pools.items() if "listing" not in row]
        found.sort(key=lambda pool_id: _nodes_expected(self.pools[pool_id]), reverse=True)
        self.progress.pools_listed(len(found))
        # A thread that waits for a processor leaves its connection to another.
        readers = min(self.client.limits.connections + self._processors, len(found) + 1)
        self._rounds = Rounds([self._listing_of(pool_id) for pool_id in found], readers)
        with (
            ThreadPoolExecutor(self._processors, "flatten") as self._flattening,
            ThreadPoolExecutor(readers + 1, "nodelake") as reading,
        ):
            try:
                counting = reading.submit(self._count_nodes)
                self._rounds.run(self._list_nodes, reading)
                self._is_listed = True
                counting.result()
            except BaseException:
                self._is_over = True
                self.client.cancel()  # ends the waits of the readers
                reading.shutdown(wait=False, cancel_futures=True)
                raise
        if self.pools:
            self.writer.write(pool_tables(list(self.pools.values())))
        self._sum_up()

    def _list_pools(self) -> None:
        """Every pool of the account; after a failure, those listed before it."""
        ledger = self.ledger
        try:
            for page in self.client.pools():
                values, next_link = read_page(page.body)
                check_link(page, next_link)
                self._add_pools(page, values)
        except (ExtractError, BadPage) as error:
            failure = Failure.of(error)
            ledger.pool_listing = "partial" if self.pools else "failed"
            ledger.error_code, ledger.error_message, ledger.request_id = failure
            log.error(
                "the pools of %s could not all be listed: %s: %s",
                ledger.origin.account,
                failure.code,
                failure.message,
            )
        else:
            ledger.pool_listing = "partial" if ledger.report.missing_ids else "complete"

    def _get_pools(self, wanted: Sequence[str]) -> None:
        """The requested pools, one by one; one that does not exist is a failed listing."""
        self.ledger.pool_listing = "complete"
        for pool_id in dict.fromkeys(wanted):
            try:
                page = self.client.pool(pool_id)
                self._add_pools(page, _the_pool(page, pool_id))
            except (ExtractError, BadPage) as error:
                self.pools[pool_id] = bare_pool(self.ledger.origin, pool_id) | {"nodes_listed": 0}
                self._fail(self.pools[pool_id], Failure.of(error), "failed")
                self.ledger.pool_listing = "partial"

    def _add_pools(self, page: Page, values: Sequence[object]) -> None:
        ledger = self.ledger
        ledger.pool_listing_started_at = ledger.pool_listing_started_at or page.observed_at
        ledger.pool_listing_finished_at = page.observed_at
        for row in pool_rows(values, ledger.origin, self.redactor, ledger.report):
            # Pools may change between pages: of a pool that came twice the first is kept.
            self.pools.setdefault(str(row["pool_id"]), row)

    def _listing_of(self, pool_id: str) -> _NodeListing:
        flattener = NodeFlattener(
            self.ledger.origin,
            pool_id,
            self.redactor,
            hash_key=self.hash_key,
            unknown_fields=self._unknown_fields,
        )
        return _NodeListing(flattener, self.client.nodes(pool_id), self.pools[pool_id])

    def _turn_seconds(self) -> float:
        """Half of a listing's share of the time that is left, so that each gets a second turn.

        At least ten typical answers: otherwise a slow service would not finish a page.
        """
        rounds = self._rounds
        share = self.client.seconds_left * rounds.workers / max(rounds.unfinished, 1) / 2
        return max(share, 10 * (self.client.typical_seconds or 1.0), _LEAST_TURN_SECONDS)

    def _list_nodes(self, listing: _NodeListing) -> float | None:
        """Lists a pool's nodes; returns None once it is done, else the seconds until its next turn."""
        failure = None
        try:
            with self.client.turn(self._turn_seconds(), self._rounds.is_any_waiting):
                self._read_pages(listing)
        except TurnOver as error:
            return error.retry_after_seconds or 0.0
        except (ExtractError, BadPage) as error:
            failure = Failure.of(error)
        self._close_listing(listing, failure)
        return None

    def _read_pages(self, listing: _NodeListing) -> None:
        """Reads page after page: one is flattened and written while the next is downloaded.

        The next one is requested when a processor starts with this one, so that readers and processors
        bound the bodies in memory.
        """
        under_way: Future[None] | None = None
        try:
            for page in listing.pages:
                if under_way:
                    under_way.result()
                self._free.acquire()
                under_way = self._flattening.submit(
                    self._keep, listing.flattener, listing.row, page
                )
                del page  # frees a body of megabytes
        finally:
            if under_way:
                under_way.result()

    def _close_listing(self, listing: _NodeListing, failure: Failure | None) -> None:
        """Records the result of the listing in the pool's row."""
        flattener, row = listing.flattener, listing.row
        missing = flattener.report.missing_ids
        if failure is None and missing:
            failure = Failure("NodeWithoutId", f"nodes without a valid id: {missing}", None)
        row["nodes_listed"] = flattener.nodes
        state: Listing = "complete"
        if failure is not None:
            state = "partial" if "listing_finished_at" in row else "failed"
            self._fail(row, failure, state)
        row["listing"] = state
        self._reports.append(flattener.report)
        self.progress.pool_done(flattener.pool_id, state)

    def _keep(self, flattener: NodeFlattener, row: dict[str, object], page: Page) -> None:
        """Flattens and writes a page, then frees the processor."""
        try:
            if self._is_over:
                raise Cancelled("Cancelled", "the run was cancelled")
            before = flattener.nodes
            tables, next_link = flattener.page(page.body, page.observed_at, page.envelope)
            check_link(page, next_link)
            self.writer.write(tables)
            if self.failed_runs is not None:
                self.failed_runs.add(tables["nodes"])
            row["listing_started_at"] = row.get("listing_started_at") or page.observed_at
            row["listing_finished_at"] = page.observed_at
            self.progress.nodes_read(flattener.pool_id, flattener.nodes - before)
        finally:
            self._free.release()

    def _fail(self, row: dict[str, object], failure: Failure, listing: Listing) -> None:
        row["listing"] = listing
        row["error_code"], row["error_message"], row["request_id"] = failure
        log.error(
            "the nodes of pool %s of %s could not all be listed: %s: %s",
            row["pool_id"],
            self.ledger.origin.account,
            failure.code,
            failure.message,
            extra={"pool_id": row["pool_id"], "request_id": failure.request_id},
        )

    def _count_nodes(self) -> None:
        """Records the counts of /nodecounts; they lag, so their failure does not fail the run."""
        try:
            only = next(iter(self.pools)) if len(self.pools) == 1 else None
            # Once the listings are done, the run does not wait for this any longer.
            with self.client.turn(0, lambda: self._is_listed):
                for page in self.client.node_counts(only):
                    for value in read_page(page.body)[0]:
                        pool_id, nodes = _counted(value)
                        if pool_id in self.pools:
                            self.pools[pool_id]["nodes_counted"] = nodes
        except (ExtractError, BadPage) as error:
            failure = Failure.of(error)
            log.warning("no node counts: %s: %s", failure.code, failure.message)

    def _sum_up(self) -> None:
        ledger = self.ledger
        for report in self._reports:
            ledger.report.add(report)
        listings = [row["listing"] for row in self.pools.values()]
        ledger.pools_listed = len(listings)
        ledger.pools_complete = listings.count("complete")
        ledger.pools_failed = len(listings) - ledger.pools_complete
        note_figures(ledger, self.client)
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


def _nodes_expected(row: Mapping[str, object]) -> int:
    """The number of nodes in a pool's row: the longest listing must not begin last."""
    counts = (row.get("current_dedicated_nodes"), row.get("current_low_priority_nodes"))
    return sum(count for count in counts if isinstance(count, int))


def _the_pool(page: Page, pool_id: str) -> list[object]:
    """The requested pool; ids are compared without case, as the service does."""
    values, _ = read_page(b'{"value": [%b]}' % page.body)
    ids = [value.get("id") for value in values if isinstance(value, dict)]
    if [str(each).lower() for each in ids] != [pool_id.lower()]:
        raise BadPage("not the pool that was asked for")
    return values


def _counted(value: object) -> tuple[str | None, int | None]:
    """A pool's id and its nodes in a PoolNodeCounts, or nothing where that is malformed."""
    if not isinstance(value, dict) or not isinstance(value.get("poolId"), str):
        return None, None
    totals = [
        kind["total"]
        for kind in (value.get("dedicated"), value.get("lowPriority"))
        if isinstance(kind, dict) and type(kind.get("total")) is int
    ]
    nodes = sum(totals)
    # A count that does not fit the column is ignored.
    return value["poolId"], nodes if totals and 0 <= nodes < 2**63 else None
