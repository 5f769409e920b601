"""The read operations of one Batch account, as checked pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from urllib.parse import quote, urljoin

import httpx

from pipeline.config import Account, Limits
from pipeline.extract import auth
from pipeline.extract.body import read_listing, read_single
from pipeline.extract.connection import Connection, Figures, Page, without_query
from pipeline.extract.errors import AuthFailed, ExtractError, UntrustedLink

# service.md: /nodecounts gives at most 10 a page; no request may take longer than 30 seconds.
NODE_COUNTS_PAGE_SIZE = 10
MAX_TIMEOUT_SECONDS = 30


class BatchClient:
    """The read operations of one Batch account, for many threads.

    A listing is an iterator of pages that fetches the next one when asked, so memory is bounded
    by pages in flight. The deadline (`limits.deadline_seconds` unless given) covers all that the
    client does and runs from the moment it is made; use it as a context manager.

    `local_now` is the clock that observations are corrected from; signing has the machine's own,
    whatever clock the run was given. `credential` makes it Entra, from that credential.
    `transport`, `monotonic` and `sleep` are seams for tests.

    Raises the errors of `pipeline.extract`; and, when it is made, `config.ConfigError` where the
    account's key is missing or malformed, or the environment's proxy or certificates unusable.
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
        self.api_version = api_version or account.api_version
        if deadline_seconds is None:
            deadline_seconds = self.limits.deadline_seconds
        self._connection = Connection(
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; what other threads still wait for ends with Cancelled."""
        self._connection.close()

    def cancel(self) -> None:
        """End every request and wait in all threads with Cancelled, and every later one.

        Meant for SIGTERM: the handler raises, and whoever catches that calls this. May be called
        from any thread, more than once. Only a connect, a TLS handshake or a token that is being
        fetched goes on to its own timeout.
        """
        self._connection.cancel()

    @property
    def figures(self) -> Figures:
        """What this client has done so far."""
        return self._connection.figures

    def pools(self) -> Iterator[Page]:
        """Every pool of the account."""
        return self._listing("/pools", {"maxresults": str(self.limits.page_size)})

    def pool(self, pool_id: str) -> Page:
        """One pool."""
        url = self._url(f"/pools/{_segment(pool_id)}")
        return self._connection.get(url, read_single, pool_id)

    def nodes(self, pool_id: str) -> Iterator[Page]:
        """Every node of a pool."""
        params = {"maxresults": str(self.limits.page_size)}
        return self._listing(f"/pools/{_segment(pool_id)}/nodes", params, pool_id)

    def node(
        self, pool_id: str, node_id: str, *, select: Sequence[str] = (), timeout: int | None = None
    ) -> Page:
        """One node. `select` names the properties wanted; `timeout` is the service's, 1 to 30 s."""
        if timeout is not None and not 1 <= timeout <= MAX_TIMEOUT_SECONDS:
            raise ValueError(f"timeout has to be 1 to {MAX_TIMEOUT_SECONDS} seconds")
        params = {}
        if select:
            params["$select"] = ",".join(select)
        if timeout is not None:
            params["timeout"] = str(timeout)
        url = self._url(f"/pools/{_segment(pool_id)}/nodes/{_segment(node_id)}", params)
        return self._connection.get(url, read_single, pool_id)

    def node_counts(self, pool_id: str | None = None) -> Iterator[Page]:
        """Nodes by state, of every pool or of one. They lag: a soft check only (service.md)."""
        params = {"maxresults": str(min(NODE_COUNTS_PAGE_SIZE, self.limits.page_size))}
        if pool_id is not None:
            params["$filter"] = "poolId eq '{}'".format(pool_id.replace("'", "''"))
        return self._listing("/nodecounts", params, pool_id)

    def usage_metrics(self, start: datetime, end: datetime) -> Iterator[Page]:
        """Core-hours by pool and VM size, in 30-minute steps; `end` at least two hours ago."""
        if start.tzinfo is None or end.tzinfo is None:
            raise ValueError("start and end need a time zone")
        params = {
            "starttime": start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "endtime": end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "maxresults": str(self.limits.page_size),
        }
        return self._listing("/poolusagemetrics", params)

    def _url(self, path: str, params: Mapping[str, str] | None = None) -> str:
        query = {"api-version": self.api_version, **(params or {})}
        text = "&".join(f"{name}={quote(value, safe=',')}" for name, value in query.items())
        return f"{self.account.endpoint}{path}?{text}"

    def _listing(
        self, path: str, params: Mapping[str, str], pool_id: str | None = None
    ) -> Iterator[Page]:
        url: str | None = self._url(path, params)
        seen: set[str] = set()
        while url is not None:
            if url in seen or len(seen) >= self.limits.max_pages:
                raise UntrustedLink(
                    "EndlessListing",
                    f"the listing does not end: after {len(seen)} pages there is a nextLink"
                    + (" that was followed before" if url in seen else " still"),
                    pool_id=pool_id,
                    url=without_query(url),
                )
            seen.add(url)
            pages = [self._connection.get(url, read_listing, pool_id)]
            told = replace(pages[0], body=b"", envelope=None)
            yield pages.pop()  # whoever takes it lets go of its megabytes when it likes
            url = self._follow(told, pool_id)

    def _follow(self, page: Page, pool_id: str | None) -> str | None:
        """The page's nextLink, verbatim: its $skiptoken is partly percent-encoded.

        Raises UntrustedLink where it leaves the account's scheme, host and port: the account's
        credentials would go there.
        """
        if page.next_link is None:
            return None
        try:
            link = urljoin(self.account.endpoint + "/", page.next_link)
            url = httpx.URL(link)
            is_own = auth.origin(url) == auth.origin(self.account.endpoint) and not url.userinfo
        except (httpx.InvalidURL, ValueError):
            link, is_own = page.next_link, False
        if not is_own:
            raise UntrustedLink(
                "UntrustedLink",
                f"a nextLink leaves the account's own address: {without_query(link)}",
                request_id=page.request_id,
                pool_id=pool_id,
                url=without_query(page.url),
            )
        return link


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


def _segment(name: str) -> str:
    """An id as one segment of a path. The service may list, or a user ask for, what is none."""
    try:
        segment = quote(name, safe="")
    except UnicodeEncodeError:  # a lone surrogate: bytes of the command line that are no UTF-8
        segment = ""
    if segment in ("", ".", ".."):
        raise ExtractError("InvalidId", f"{name!r} cannot be the id of a pool or node")
    return segment
