"""A listing of the service: page by page, resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol, TypeVar
from urllib.parse import urljoin

import httpx

from pipeline.config import Account, Limits
from pipeline.extract import auth
from pipeline.extract.body import read_listing
from pipeline.extract.connection import HttpConnection, Page, without_query
from pipeline.extract.errors import TurnOver, UntrustedLink

T = TypeVar("T")


class Client(Protocol):
    """The part of the client that a listing uses."""

    account: Account
    limits: Limits

    def answered(self, ask: Callable[[], T]) -> T:
        """The result of `ask`, in an api-version that the service accepts."""


class Pages(Iterator[Page]):
    """An iterator of the pages of one listing.

    `first_url` returns the URL of the first page in the client's api-version. After TurnOver (see
    `BatchClient.turn`) `next` continues at the same page.
    """

    def __init__(
        self,
        client: Client,
        connection: HttpConnection,
        first_url: Callable[[], str],
        pool_id: str | None,
    ) -> None:
        self._client = client
        self._connection = connection
        self._first_url = first_url
        self._pool_id = pool_id
        #: The last page without its body, so that its memory can be released.
        self._last: Page | None = None
        self._seen: set[str] = set()
        self._tries = 0
        self._has_failed = False

    def __next__(self) -> Page:
        if self._has_failed or (self._last is not None and self._last.next_link is None):
            raise StopIteration
        try:
            page = self._client.answered(self._page)
        except TurnOver as error:
            self._tries += error.tries
            raise
        except BaseException:
            self._has_failed = True
            raise
        self._tries = 0
        self._seen.add(page.url)
        self._last = replace(page, body=b"", envelope=None)
        return page

    def _page(self) -> Page:
        if self._last is None:
            url = self._first_url()
        else:
            url = self._follow(self._last)
            if url in self._seen or len(self._seen) >= self._client.limits.max_pages:
                raise UntrustedLink(
                    "EndlessListing",
                    f"the listing does not end: after {len(self._seen)} pages there is a nextLink"
                    + (" that was followed before" if url in self._seen else " still"),
                    pool_id=self._pool_id,
                    url=without_query(url),
                )
        return self._connection.get(url, read_listing, self._pool_id, self._tries)

    def _follow(self, page: Page) -> str:
        """The page's nextLink, verbatim: its $skiptoken is partly percent-encoded.

        Raises UntrustedLink where it leaves the account's scheme, host and port: credentials would go
        there.
        """
        link = page.next_link or ""
        own = self._client.account.endpoint
        try:
            whole = urljoin(own + "/", link)
            url = httpx.URL(whole)
            is_own = auth.origin(url) == auth.origin(own) and not url.userinfo
        except (httpx.InvalidURL, ValueError):
            whole, is_own = link, False
        if not is_own:
            raise UntrustedLink(
                "UntrustedLink",
                "a nextLink leaves the account's own address: " + without_query(whole),
                request_id=page.request_id,
                pool_id=self._pool_id,
                url=without_query(page.url),
            )
        return whole
