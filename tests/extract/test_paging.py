"""Which links are followed, and where none may lead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Limits
from pipeline.extract import (
    BatchClient,
    ServiceError,
    UntrustedLink,
)
from tests.extract.made_up import (
    ACCOUNT,
    ENDPOINT,
    VERSION,
    Service,
    answer,
    failure_of,
    page_with,
    patient,
)


class TestPaging:
    """Which links are followed."""

    @pytest.mark.parametrize(
        "query",
        [
            "$skiptoken=WATV2:gy8uGqxxg9wxsB7x%5EepLklstWs%5E3FVvZ/HYff6=:1$1",
            "%24skiptoken=a%2fb%2Bc%3d%3D",
            "$skiptoken=a+b",
            "a=&b&c=1&c=2",
        ],
    )
    def test_link_is_followed_verbatim(self, connect, query):
        """A nextLink goes out as it came, to the byte: its token is partly percent-encoded."""
        link = f"{ENDPOINT}/pools?{VERSION}&{query}"
        client, service = connect(answer(body=page_with(link)), answer())
        pages = list(client.pools())

        assert [link, None] == [page.next_link for page in pages]
        assert link == service.urls[1] == pages[1].url

    @pytest.mark.parametrize("link", [None, ""])
    def test_last_page(self, connect, link):
        """A nextLink that is null or empty is none."""
        client, _ = connect(answer(body=page_with(link)))

        assert [None] == [page.next_link for page in client.pools()]

    @pytest.mark.parametrize("link", ["/pools?$skiptoken=1", "pools?$skiptoken=1"])
    def test_relative_link(self, connect, link):
        """A relative nextLink is one of the account's own."""
        client, service = connect(answer(body=page_with(link)), answer())
        list(client.pools())

        assert f"{ENDPOINT}/pools?$skiptoken=1" == service.urls[1]

    @pytest.mark.parametrize(
        "link",
        [
            "https://evil.example/pools?$skiptoken=hunter2",
            "https://acct.eastus.batch.azure.com.evil.example/pools",
            "https://other.eastus.batch.azure.com/pools",
            "http://acct.eastus.batch.azure.com/pools",
            "https://acct.eastus.batch.azure.com:8443/pools",
            "https://user:hunter2@acct.eastus.batch.azure.com/pools",
            "https://acct.eastus.batch.azure.com@evil.example/pools",
            "//evil.example/pools",
            "file:///etc/passwd",
            "https://[::1/pools",
            "https://acct.eastus.batch.azure.com/\x00",
            "https://acct.eastus.batch.azure.com:x/",
        ],
    )
    def test_link_to_another_place(self, connect, link):
        """A link to another scheme, host or port is an error; the page that had it is not lost."""
        client, service = connect(answer(body=page_with(link), request_id="r-1"))
        pages = client.nodes("p")
        next(pages)
        error = failure_of(lambda: pages)

        assert (UntrustedLink, "UntrustedLink", "r-1", "p") == (
            type(error),
            error.code,
            error.request_id,
            error.pool_id,
        )
        assert "hunter2" not in str(error)
        assert 1 == len(service.requests)

    def test_loop(self, connect):
        """A link seen before ends the listing with an error, not without an end."""
        link = f"{ENDPOINT}/pools?{VERSION}&$skiptoken=1"
        client, service = connect(*(answer(body=page_with(link)) for _ in range(3)))
        error = failure_of(client.pools)

        assert (UntrustedLink, "EndlessListing") == (type(error), error.code)
        assert 2 == len(service.requests)

    def test_links_without_end(self, connect):
        """A listing of more pages than `max_pages` is an error."""
        pages = (answer(body=page_with(f"/pools?$skiptoken={n}")) for n in range(9))
        client, service = connect(*pages, limits=Limits(max_pages=5))
        error = failure_of(client.pools)

        assert (UntrustedLink, "EndlessListing") == (type(error), error.code)
        assert 5 == len(service.requests)

    @patient
    @given(
        st.lists(
            st.sampled_from(
                [
                    "https:",
                    "http:",
                    "ftp:",
                    "//",
                    "/",
                    "\\",
                    "@",
                    ":",
                    "443",
                    "8443",
                    "?",
                    "#",
                    ".",
                    " ",
                    "\t",
                    "\n",
                    "\x00",
                    "%2e",
                    "\u3002",
                    "[::1]",
                    "user",
                    "pools",
                    "ACCT",
                    "acct.eastus.batch.azure.com",
                    "evil.example",
                ]
            ),
            max_size=9,
        ).map("".join)
    )
    def test_no_link_leads_away(self, link):
        """Whatever a nextLink is made of, nothing is sent anywhere but to the account."""
        service = Service(answer(body=page_with(link)), answer())
        with BatchClient(ACCOUNT, transport=service) as client:
            try:
                list(client.pools())
            except UntrustedLink:
                assert 1 == len(service.requests)

        assert {("https", "acct.eastus.batch.azure.com", None)} == {
            (request.url.scheme, request.url.host, request.url.port) for request in service.requests
        }

    def test_redirects_are_not_followed(self, connect):
        """A redirect is an error of the service: credentials would follow it."""
        client, service = connect(answer(302, b"", Location="https://evil.example/"))
        error = failure_of(client.pools)

        assert "the service redirects, which is not followed" in str(error)
        assert (ServiceError, "HTTP 302", 1) == (type(error), error.code, len(service.requests))
