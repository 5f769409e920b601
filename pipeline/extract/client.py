"""The read operations of one Batch account, as checked pages."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote

import httpx

from pipeline.config import Account, Limits
from pipeline.extract import auth
from pipeline.extract.body import read_single
from pipeline.extract.connection import HttpConnection, Page
from pipeline.extract.errors import AuthFailed, ExtractError, ServiceError
from pipeline.extract.figures import Figures
from pipeline.extract.listing import Pages
from pipeline.extract.versions import NO_USAGE_METRICS, UNTIL_2025, is_refused, newer_than

logger = logging.getLogger("nodelake.extract")
T = TypeVar("T")

# service.md: /nodecounts gives at most 10 a page; no request may take longer than 30 seconds.
NODE_COUNTS_PAGE_SIZE = 10
MAX_TIMEOUT_SECONDS = 30


class BatchClient:
    """The read operations of one Batch account, for many threads.

    A listing is an iterator of pages (`Pages`) that fetches each page on demand, so memory is bounded
    by the pages in flight. The deadline (default: `limits.deadline_seconds`) starts when the client is
    made and covers everything it does; use it as a context manager.

    `local_now` is the clock for observations without a Date header; signing uses the machine's clock.
    `credential` selects Entra with that credential. `transport`, `monotonic` and `sleep` are for tests.

    Raises the errors of `pipeline.extract`; the constructor raises `config.ConfigError` where the
    account's key is missing or malformed, or the environment's proxy or certificates cannot be used.
    """

    def __init__(
        self,
        account: Account,
        *,
        limits: Limits | None = None,
        api_version: str | None = None,
        credential: auth.Credential | None = None,
        transport: httpx.BaseTransport | None = None,
        deadline_seconds: float | None = None,
        local_now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.account = account
        self.limits = limits or account.limits
        #: The api-version of requests; it moves to a newer one where the service refuses it.
        self.api_version = api_version or account.api_version
        self._lock = threading.Lock()
        if deadline_seconds is None:
            deadline_seconds = self.limits.deadline_seconds
        self._connection = HttpConnection(
            account.endpoint,
            _sign_in(account, credential),
            self.limits,
            deadline_seconds=deadline_seconds,
            transport=transport,
            local_now=local_now,
            monotonic=monotonic,
            sleep=sleep,
        )

    def __enter__(self) -> BatchClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; requests of other threads raise Cancelled."""
        self._connection.close()

    def cancel(self) -> None:
        """Make every request and wait raise Cancelled, in all threads, now and later.

        Meant for SIGTERM. May be called from any thread, more than once. Only a connect, a TLS
        handshake or the fetch of a token continues to its own timeout.
        """
        self._connection.cancel()

    @property
    def figures(self) -> Figures:
        """Counts and durations so far."""
        return self._connection.tally.figures

    @property
    def typical_seconds(self) -> float | None:
        """The median duration of recent answers; None before the first."""
        return self._connection.tally.typical_seconds

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline."""
        return self._connection.seconds_left

    def turn(self, seconds: float, is_wanted: Callable[[], bool]) -> AbstractContextManager[None]:
        """A context in which requests of this thread raise TurnOver after `seconds`, if `is_wanted`.

        A listing continues at the same page when its `next` is called again.
        """
        return self._connection.turn(seconds, is_wanted)

    def pools(self) -> Pages:
        """Every pool of the account."""
        return self._pages("/pools", {"maxresults": str(self.limits.page_size)})

    def pool(self, pool_id: str) -> Page:
        """One pool."""
        return self._one(f"/pools/{_segment(pool_id)}", {}, pool_id)

    def nodes(self, pool_id: str) -> Pages:
        """Every node of a pool."""
        params = {"maxresults": str(self.limits.page_size)}
        return self._pages(f"/pools/{_segment(pool_id)}/nodes", params, pool_id)

    def node(
        self, pool_id: str, node_id: str, *, select: Sequence[str] = (), timeout: int | None = None
    ) -> Page:
        """One node. `select` names its properties; `timeout` is the service's, 1 to 30 s."""
        if timeout is not None and not 1 <= timeout <= MAX_TIMEOUT_SECONDS:
            raise ValueError(f"timeout has to be 1 to {MAX_TIMEOUT_SECONDS} seconds")
        params = {}
        if select:
            params["$select"] = ",".join(select)
        if timeout is not None:
            params["timeout" if self.api_version < UNTIL_2025 else "timeOut"] = str(timeout)
        return self._one(f"/pools/{_segment(pool_id)}/nodes/{_segment(node_id)}", params, pool_id)

    def _one(self, path: str, params: Mapping[str, str], pool_id: str) -> Page:
        return self.answered(
            lambda: self._connection.get(self._url(path, params), read_single, pool_id)
        )

    def supported_images(self) -> Pages:
        """Every VM image that the service supports."""
        return self._pages("/supportedimages", {"maxresults": str(self.limits.page_size)})

    def file_size(self, pool_id: str, node_id: str, path: str, *, attempts: int = 2) -> int:
        """Return the size of a file on a node in bytes; errors have no code, as HEAD has no body."""
        url = self._url(_file_path(pool_id, node_id, path))
        return self._connection.size_of(url, pool_id, attempts)

    def file_part(
        self,
        pool_id: str,
        node_id: str,
        path: str,
        first: int,
        last: int,
        *,
        attempts: int = 2,
        max_bytes: int = 1 << 20,
    ) -> tuple[bytes, datetime]:
        """Return the bytes from `first` to `last` (inclusive) of a file on a node, and the time.

        A service without ranges answers with the whole file, of at most `max_bytes`.
        """
        url = self._url(_file_path(pool_id, node_id, path))
        return self._connection.part_of(url, first, last, pool_id, attempts, max_bytes)

    def node_counts(self, pool_id: str | None = None) -> Pages:
        """Nodes by state, of every pool or of one; the counts lag (service.md)."""
        params = {"maxresults": str(min(NODE_COUNTS_PAGE_SIZE, self.limits.page_size))}
        if pool_id is not None:
            params["$filter"] = "poolId eq '{}'".format(pool_id.replace("'", "''"))
        return self._pages("/nodecounts", params, pool_id)

    def usage_metrics(self, start: datetime, end: datetime) -> Pages:
        """Core-hours by pool and VM size, in 30-minute steps; `end` at least two hours ago."""
        if start.tzinfo is None or end.tzinfo is None:
            raise ValueError("start and end need a time zone")
        since, until = (
            each.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for each in (start, end)
        )

        def url() -> str:
            version = self.api_version
            if version >= NO_USAGE_METRICS:
                raise ExtractError(
                    "NoUsageMetrics",
                    f"the api-version {version} has no usage metrics: Microsoft removed them. "
                    "An older one may still have them: --api-version 2025-06-01",
                )
            names = {"starttime" if version < UNTIL_2025 else "startTime": since, "endtime": until}
            size = {"maxresults": str(self.limits.page_size)}
            return self._url("/poolusagemetrics", names | size)

        return Pages(self, self._connection, url, None)

    def _url(self, path: str, params: Mapping[str, str] | None = None) -> str:
        query = {"api-version": self.api_version, **(params or {})}
        text = "&".join(f"{name}={quote(value, safe=',')}" for name, value in query.items())
        return f"{self.account.endpoint}{path}?{text}"

    def _pages(self, path: str, params: Mapping[str, str], pool_id: str | None = None) -> Pages:
        return Pages(self, self._connection, lambda: self._url(path, params), pool_id)

    def answered(self, ask: Callable[[], T]) -> T:
        """The result of `ask`, repeated in newer api-versions while the service refuses this one.

        Microsoft retires versions; a job that was set up years ago continues with the next known
        version, which then serves all requests.
        """
        while True:
            version = self.api_version
            try:
                return ask()
            except ServiceError as error:
                if not is_refused(error) or not self._go_on_after(version):
                    raise

    def _go_on_after(self, refused: str) -> bool:
        """Moves to the next newer api-version, for all threads; False where there is none."""
        with self._lock:
            if self.api_version != refused:
                return True  # another thread has moved it
            newer = newer_than(refused)
            if newer is None:
                return False
            self.api_version = newer
        logger.warning(
            "%s: the service refuses the api-version %s; going on with %s",
            self.account.label,
            refused,
            newer,
        )
        return True


def _sign_in(account: Account, credential: auth.Credential | None) -> httpx.Auth:
    key = account.shared_key() if credential is None else None
    try:
        if key is not None:
            return auth.SharedKey(account.name, key.reveal(), endpoint=account.endpoint)
        return auth.Entra(
            account.endpoint, authority_host=account.authority_host, credential=credential
        )
    except auth.AuthError as error:
        raise AuthFailed("AuthFailed", str(error)) from None


def _file_path(pool_id: str, node_id: str, path: str) -> str:
    # As in the official client: slashes are escaped, and the path is signed as it is sent.
    file = quote(path, safe="")
    return f"/pools/{_segment(pool_id)}/nodes/{_segment(node_id)}/files/{file}"


def _segment(name: str) -> str:
    """An id as one segment of a path; it may be invalid, from the service or a user."""
    try:
        segment = quote(name, safe="")
    except UnicodeEncodeError:  # a lone surrogate: the command line had bytes that are not UTF-8
        segment = ""
    if segment in ("", ".", ".."):
        raise ExtractError("InvalidId", f"{name!r} cannot be the id of a pool or node")
    return segment
