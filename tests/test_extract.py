"""The REST client against made-up answers: paging, retries, bounds, errors, and what is refused."""

from __future__ import annotations

import gzip
import json
import logging
import re
import subprocess
import sys
import threading
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import Account, ConfigError, Limits, Secret
from pipeline.extract import (
    AuthFailed,
    BadResponse,
    BatchClient,
    Cancelled,
    DeadlineExceeded,
    ExtractError,
    ServiceError,
    TransportFailed,
    UntrustedLink,
)
from pipeline.extract.body import find_error, read_listing, read_single

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "recordings"
ENDPOINT = "https://acct.eastus.batch.azure.com"
ACCOUNT = Account(ENDPOINT, "acct", "acct.eastus", key=Secret("a2V5a2V5a2V5a2V5"))
NOW = datetime(2025, 1, 17, tzinfo=UTC)
DATE = {"Date": format_datetime(NOW, usegmt=True)}
EMPTY = b'{"value":[]}'
# A cold or busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def answer(status=200, body=EMPTY, **headers):
    """An answer of the service, its body still on the wire."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def refusal(status, code="InternalError", text="no", **headers):
    """An error of the service, worded as it does."""
    message = {"lang": "en-US", "value": f"{text}\nRequestId:from-body\nTime:2025-01-17T00:00:00Z"}
    return answer(status, json.dumps({"code": code, "message": message}).encode(), **headers)


class Service(httpx.BaseTransport):
    """Gives its answers in turn and keeps the requests; an exception is raised in its turn."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def handle_request(self, request):
        """Give the next answer."""
        # A second signing changes the request itself: keep it as it is now.
        copy = httpx.Request(request.method, request.url, headers=request.headers.copy())
        copy.extensions = request.extensions
        self.requests.append(copy)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def urls(self):
        """The URLs asked for."""
        return [str(request.url) for request in self.requests]


class Clock:
    """A clock that `sleep` moves on; `waits` keeps the waits, in seconds."""

    def __init__(self):
        self.seconds = 0.0
        self.waits = []

    def __call__(self):
        """The time now, in seconds."""
        return self.seconds

    def sleep(self, seconds):
        """Move on."""
        self.waits.append(seconds)
        self.seconds += seconds


@pytest.fixture
def clock():
    """The clock of the clients that `connect` makes."""
    return Clock()


@pytest.fixture
def connect(clock):
    """Make a client of a Service with the given answers; returns both."""
    clients = []

    def connect(*answers, account=ACCOUNT, **options):
        service = Service(*answers)
        options = {"local_now": lambda: NOW, **options}
        client = BatchClient(
            account, transport=service, monotonic=clock, sleep=clock.sleep, **options
        )
        clients.append(client)
        return client, service

    yield connect
    for client in clients:
        client.close()


def failure_of(call, *args):
    """The ExtractError that a call, or the listing it returns, ends in."""
    with pytest.raises(ExtractError) as caught:
        list(call(*args))
    return caught.value


VERSION = "api-version=2024-07-01.20.0"
START = datetime(2025, 1, 16, 1, 30, tzinfo=UTC)
OPERATIONS = {
    "pools": (lambda c: list(c.pools()), f"/pools?{VERSION}&maxresults=1000"),
    "pool": (lambda c: [c.pool("p1")], f"/pools/p1?{VERSION}"),
    "nodes": (lambda c: list(c.nodes("p1")), f"/pools/p1/nodes?{VERSION}&maxresults=1000"),
    "node": (lambda c: [c.node("p1", "tvm_1")], f"/pools/p1/nodes/tvm_1?{VERSION}"),
    "node, parts": (
        lambda c: [c.node("p1", "n", select=["id", "state"], timeout=30)],
        f"/pools/p1/nodes/n?{VERSION}&$select=id,state&timeout=30",
    ),
    "node counts": (lambda c: list(c.node_counts()), f"/nodecounts?{VERSION}&maxresults=10"),
    "node counts of a pool": (
        lambda c: list(c.node_counts("p'1")),
        f"/nodecounts?{VERSION}&maxresults=10&$filter=poolId%20eq%20%27p%27%271%27",
    ),
    "usage": (
        lambda c: list(c.usage_metrics(START, NOW)),
        f"/poolusagemetrics?{VERSION}&starttime=2025-01-16T01%3A30%3A00Z"
        "&endtime=2025-01-17T00%3A00%3A00Z&maxresults=1000",
    ),
}


class TestRequests:
    """What is asked of the service, and how."""

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_operations(self, connect, name):
        """Each operation is one GET of its route, and its page is the body as sent."""
        call, route = OPERATIONS[name]
        client, service = connect(answer(body=b'{ "value" : [] }', request_id="r-1", **DATE))
        [page] = call(client)

        assert [("GET", ENDPOINT + route)] == [(r.method, str(r.url)) for r in service.requests]
        assert (b'{ "value" : [] }', None, NOW, "r-1", ENDPOINT + route) == (
            page.body,
            page.next_link,
            page.observed_at,
            page.request_id,
            page.url,
        )

    def test_headers(self, connect):
        """What each request carries; the client-request-id is a bare GUID of its own."""
        client, service = connect(answer(), answer())
        list(client.pools())
        list(client.pools())
        first, second = (request.headers for request in service.requests)

        assert "application/json;odata=minimalmetadata" == first["Accept"]
        assert "gzip" == first["Accept-Encoding"]
        assert "true" == first["return-client-request-id"]
        assert first["User-Agent"].startswith("nodelake/")
        assert first["ocp-date"].endswith(" GMT")
        assert first["Authorization"].startswith("SharedKey acct:")
        assert re.fullmatch(
            r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first["client-request-id"]
        )
        assert first["client-request-id"] != second["client-request-id"]

    def test_options(self, connect):
        """The api-version and the page size can be chosen."""
        client, service = connect(answer(), api_version="2025-06-01", limits=Limits(page_size=7))
        list(client.nodes("p"))

        assert [f"{ENDPOINT}/pools/p/nodes?api-version=2025-06-01&maxresults=7"] == service.urls

    def test_odd_ids(self, connect):
        """An id is one segment of the path, whatever it holds; what cannot be one is refused."""
        client, service = connect(answer(), answer(body=b"{}"))
        list(client.nodes("a/b?c#d%e é"))
        client.node("p", "../../jobs")

        assert (
            "/pools/a%2Fb%3Fc%23d%25e%20%C3%A9/nodes"
            == service.requests[0].url.raw_path.decode("ascii").partition("?")[0]
        )
        assert f"{ENDPOINT}/pools/p/nodes/..%2F..%2Fjobs?{VERSION}" == service.urls[1]
        for name in ("", ".", ".."):
            with pytest.raises(ValueError, match="is not an id"):
                client.pool(name)

    def test_arguments(self, connect):
        """A timeout beyond the service's, or a time without a zone, is refused before it is sent."""
        client, service = connect()
        for timeout in (0, 31):
            with pytest.raises(ValueError, match="1 to 30"):
                client.node("p", "n", timeout=timeout)
        with pytest.raises(ValueError, match="time zone"):
            client.usage_metrics(datetime(2025, 1, 1), NOW)
        assert [] == service.requests

    def test_a_listing_is_lazy(self, connect):
        """No page is fetched before it is asked for: memory is bounded by pages in flight."""
        link = f"{ENDPOINT}/pools?{VERSION}&$skiptoken=1"
        client, service = connect(answer(body=page_with(link)), answer())
        pages = client.pools()

        assert 0 == len(service.requests)
        next(pages)
        assert 1 == len(service.requests)


def page_with(link, *nodes):
    """A page whose nextLink is `link`, any JSON value."""
    return json.dumps({"odata.metadata": "m", "value": nodes, "odata.nextLink": link}).encode()


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

        assert (ServiceError, "HTTP 302", 1) == (type(error), error.code, len(service.requests))


class TestRetries:
    """What is tried again, when, and for how long."""

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_healed(self, connect, clock, status):
        """What may pass is tried again, and a success is all that the caller sees."""
        client, _ = connect(refusal(status), refusal(status), answer())

        assert 1 == len(list(client.pools()))
        figures = client.figures
        throttled = 2 if status in (429, 503) else 0
        assert (3, 2, throttled) == (figures.requests, figures.retries, figures.throttled)
        # Full jitter: anything up to 1, then 2 seconds.
        assert [True, True] == [0 <= wait <= 2**n for n, wait in enumerate(clock.waits)]

    @pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 412, 501, 505])
    def test_final(self, connect, clock, status):
        """What no other try can heal is raised at once."""
        client, service = connect(refusal(status, "PoolNotFound"))
        error = failure_of(client.nodes, "p")

        assert (ServiceError, status, "PoolNotFound", "p", 1, []) == (
            type(error),
            error.status,
            error.code,
            error.pool_id,
            len(service.requests),
            clock.waits,
        )

    def test_given_up(self, connect, clock):
        """After `attempts` tries the last error is raised, itself."""
        answers = [refusal(503, "ServerBusy", f"busy {n}", request_id=f"r-{n}") for n in range(9)]
        client, service = connect(*answers, limits=Limits(attempts=4))
        error = failure_of(client.pools)

        assert ("ServerBusy", "busy 3", "r-3", 503) == (
            error.code,
            error.message,
            error.request_id,
            error.status,
        )
        assert (4, 3) == (len(service.requests), len(clock.waits))

    @pytest.mark.parametrize(
        ("headers", "waits"),
        [
            ({"Retry_After": "7"}, [7.0]),
            ({"Retry_After": "0"}, [0.0]),
            ({"Retry_After": format_datetime(NOW + timedelta(seconds=9), usegmt=True)}, [9.0]),
            (
                {
                    "Retry_After": format_datetime(NOW + timedelta(seconds=609), usegmt=True),
                    "Date": format_datetime(NOW + timedelta(minutes=10), usegmt=True),
                },
                [9.0],
            ),
            ({"Retry_After": format_datetime(NOW - timedelta(seconds=9), usegmt=True)}, [0.0]),
        ],
    )
    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after(self, connect, clock, status, headers, waits):
        """Retry-After is kept to, in seconds or as a date by the service's own clock."""
        client, _ = connect(refusal(status, **headers), answer())
        list(client.pools())

        assert waits == clock.waits

    @pytest.mark.parametrize("text", ["soon", "-1", "1e9", "inf", "", "0x10", "9" * 30])
    def test_retry_after_that_says_nothing(self, connect, clock, text):
        """A Retry-After that is neither seconds nor a date counts for nothing."""
        client, _ = connect(refusal(503, Retry_After=text), answer())
        list(client.pools())

        assert [True] == [0 <= wait <= 1 for wait in clock.waits]

    def test_retry_after_past_the_deadline(self, connect, clock):
        """Where the wait would pass the deadline, the service's own error comes at once."""
        client, service = connect(
            refusal(429, "TooManyRequests", Retry_After="60"), deadline_seconds=59
        )
        error = failure_of(client.pools)

        assert ("TooManyRequests", 60.0, 1, []) == (
            error.code,
            error.retry_after_seconds,
            len(service.requests),
            clock.waits,
        )

    @pytest.mark.parametrize(
        "kind",
        [
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.ReadError,
            httpx.ReadTimeout,
            httpx.RemoteProtocolError,
            httpx.WriteError,
            httpx.ProxyError,
        ],
    )
    def test_transport_failures(self, connect, kind):
        """A connection that fails is tried again, then told by what happened."""
        client, service = connect(kind("it broke"), answer(), *[kind("it broke")] * 6)

        assert 1 == len(list(client.pools()))
        error = failure_of(client.nodes, "p")
        assert (TransportFailed, kind.__name__, "it broke", "p") == (
            type(error),
            error.code,
            error.message,
            error.pool_id,
        )
        assert 8 == len(service.requests)

    def test_wrong_certificate(self, connect):
        """A certificate that does not verify is no matter for another try."""
        wrong = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
        client, service = connect(wrong)

        assert "ConnectError" == failure_of(client.pools).code
        assert 1 == len(service.requests)

    def test_deadline(self, connect, clock):
        """After the deadline nothing is sent any more."""
        client, service = connect(answer(body=page_with("/pools?$skiptoken=1")), answer())
        pages = client.pools()
        next(pages)
        clock.seconds = 240.0
        error = failure_of(lambda: pages)

        assert (DeadlineExceeded, 1) == (type(error), len(service.requests))
        assert "240 seconds" in error.message

    def test_timeouts_end_with_the_deadline(self, connect, clock):
        """No silence is waited for beyond the deadline."""
        client, service = connect(answer(), answer())
        clock.seconds = 100.0
        list(client.pools())
        clock.seconds = 235.0
        list(client.pools())

        assert [
            {"connect": 10.0, "read": 60.0, "write": 60.0, "pool": 140.0},
            {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0},
        ] == [request.extensions["timeout"] for request in service.requests]


BOMB = gzip.compress(b" " * 1_000_000 + EMPTY)
BAD_BODIES = {
    "empty": (b"", {}, "EmptyBody"),
    "blank": (b" \r\n", {}, "EmptyBody"),
    "truncated": (b'{"value":[{"id":"a"}', {}, "MalformedJson"),
    "malformed": (b'{"value":[}]}', {}, "MalformedJson"),
    "not a number": (b'{"value":[NaN]}', {}, "MalformedJson"),
    "nested without end": (b'{"value":[' + b"[" * 100_000, {}, "MalformedJson"),
    "two documents": (EMPTY + EMPTY, {}, "MalformedJson"),
    "html": (b"<html><title>Sign in</title></html>", {}, "MalformedJson"),
    "a list": (b"[]", {}, "NotAPage"),
    "a string": (b'"value"', {}, "NotAPage"),
    "null": (b"null", {}, "NotAPage"),
    "no value": (b'{"values":[]}', {}, "NotAPage"),
    "value is null": (b'{"value":null}', {}, "NotAPage"),
    "value is an object": (b'{"value":{}}', {}, "NotAPage"),
    "link is a number": (b'{"value":[],"odata.nextLink":1}', {}, "NotAPage"),
    "half an error": (b'{"code":"ServerBusy"}', {}, "NotAPage"),
    "not utf-8": (b'{"value":["\xff"]}', {}, "NotUtf8"),
    "utf-16": (EMPTY.decode().encode("utf-16"), {}, "NotUtf8"),
    "deflate": (EMPTY, {"Content_Encoding": "deflate"}, "BadEncoding"),
    "no gzip": (EMPTY, {"Content_Encoding": "gzip"}, "BadEncoding"),
    "cut gzip": (gzip.compress(EMPTY)[:-9], {"Content_Encoding": "gzip"}, "Truncated"),
    "gzip and more": (gzip.compress(EMPTY) + b"x", {"Content_Encoding": "gzip"}, "BadEncoding"),
    "empty gzip": (b"", {"Content_Encoding": "gzip"}, "EmptyBody"),
}


class TestBodies:
    """What is a page."""

    @pytest.mark.parametrize("name", BAD_BODIES)
    def test_bad_bodies(self, connect, name):
        """A body that is no whole page is tried again and then an error, never an empty page."""
        body, headers, code = BAD_BODIES[name]
        bad = {"body": body, "request_id": "r-1", **headers}
        client, service = connect(
            answer(**bad), answer(), *(answer(**bad) for _ in range(3)), limits=Limits(attempts=3)
        )

        assert [EMPTY] == [page.body for page in client.nodes("p")]
        error = failure_of(client.nodes, "p")
        assert (BadResponse, code, 200, "r-1", "p", f"{ENDPOINT}/pools/p/nodes") == (
            type(error),
            error.code,
            error.status,
            error.request_id,
            error.pool_id,
            error.url,
        )
        assert 5 == len(service.requests)

    @pytest.mark.parametrize(
        "body",
        [
            b'{"value":[1e999,18446744073709551616]}',
            b'{"value":[1,null,"x",{"id":7}]}',
            b'\n{"value":[],"new":{"a":[]}}\n',
        ],
    )
    def test_odd_nodes_are_no_bad_page(self, connect, body):
        """What is wrong in one node is that node's matter; the page is handed on as it came."""
        client, _ = connect(answer(body=body))

        assert [body] == [page.body for page in client.nodes("p")]

    @patient
    @given(st.data())
    def test_pages_as_the_standard_library_sees_them(self, data):
        """A body is a page exactly where Python's own parser finds an object with a list."""
        body = bytearray(
            b'{"value":[{"id":"a\\u0041","n":-1.5e3,"l":[true,null]}],"odata.nextLink":"l"}'
        )
        for _ in range(data.draw(st.integers(0, 2))):
            at = data.draw(st.integers(0, len(body) - 1))
            body[at : at + data.draw(st.integers(0, 2))] = data.draw(
                st.sampled_from([b"", b"{", b"}", b"[", b"]", b'"', b",", b":", b"0", b"-", b"\\"])
                | st.binary(max_size=1)
            )
        try:
            page = json.loads(body.decode(), parse_constant=lambda name: [][name])
            expected = type(page["value"]) is list and (page.get("odata.nextLink") or "") + ""
        except (ValueError, TypeError, KeyError):
            expected = False

        try:
            found = read_listing(bytes(body)) or ""
        except BadResponse:
            found = False
        assert expected == found

    @patient
    @given(st.binary(max_size=300), st.lists(st.integers(1, 40), min_size=1, max_size=8))
    def test_gzip_in_pieces(self, text, sizes):
        """However a compressed body is cut into chunks, the page is the same."""
        body = json.dumps({"value": [text.hex()]}).encode()
        packed = gzip.compress(body)

        class Pieces(httpx.SyncByteStream):
            def __iter__(self):
                at = 0
                for size in sizes * len(packed):
                    yield packed[at : at + size]
                    at += size

        service = Service(
            httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Pieces())
        )
        with BatchClient(ACCOUNT, transport=service, limits=Limits(max_page_bytes=1024)) as client:
            assert [body] == [page.body for page in client.pools()]

    def test_byte_order_mark(self, connect):
        """A byte order mark is dropped: most readers of JSON refuse it."""
        client, _ = connect(answer(body=b"\xef\xbb\xbf" + EMPTY))

        assert [EMPTY] == [page.body for page in client.pools()]

    def test_gzip(self, connect):
        """Bodies travel compressed, and it is the compressed bytes that are counted."""
        body = page_with(None, *[{"id": "x" * 50}] * 100)
        packed = gzip.compress(body)
        client, _ = connect(answer(body=packed, Content_Encoding="gzip"))

        assert [body] == [page.body for page in client.pools()]
        assert len(packed) == client.figures.bytes_received < len(body)

    @pytest.mark.parametrize(
        ("body", "headers"),
        [(b" " * 2000, {}), (BOMB, {"Content_Encoding": "gzip"})],
        ids=["plain", "bomb"],
    )
    def test_too_large(self, connect, body, headers):
        """A body beyond the bound, on the wire or decompressed, is an error at once."""
        client, service = connect(answer(body=body, **headers), limits=Limits(max_page_bytes=1999))
        error = failure_of(client.pools)

        assert (BadResponse, "TooLarge", 1) == (type(error), error.code, len(service.requests))

    def test_at_the_bound(self, connect):
        """A body of exactly the bound is taken, plain or compressed."""
        body = EMPTY + b" " * (2000 - len(EMPTY))
        client, _ = connect(
            answer(body=body),
            answer(body=gzip.compress(body), Content_Encoding="gzip"),
            limits=Limits(max_page_bytes=2000),
        )

        assert [body, body] == [page.body for _ in range(2) for page in client.pools()]

    def test_rest_of_a_bomb_is_not_read(self, connect):
        """Reading stops at the bound, however much is still to come."""
        taken = []

        class Endless(httpx.SyncByteStream):
            def __iter__(self):
                while True:
                    taken.append(1)
                    yield b" " * 1000

        client, _ = connect(
            httpx.Response(200, stream=Endless()), limits=Limits(max_page_bytes=5000)
        )

        assert "TooLarge" == failure_of(client.pools).code
        assert 6 == len(taken)

    @pytest.mark.parametrize("body", [b"[]", b"null", b'{"id":', b"", b"<html>"])
    def test_single(self, connect, body):
        """A single pool or node is one JSON object."""
        client, _ = connect(answer(body=body), limits=Limits(attempts=1))

        with pytest.raises(BadResponse):
            client.node("p", "n")


class TestErrors:
    """How a failure is told."""

    def test_wording(self, connect):
        """Code, message and details are the service's, without the lines that vary."""
        body = {
            "code": "InvalidQueryParameterValue",
            "message": {"value": "Not valid.\nRequestId:from-body\nTime:2020-03-21T02:12:12Z"},
            "values": [{"key": "Reason", "value": "MaxResults cannot be\nless than 1"}],
        }
        client, _ = connect(
            *(
                answer(400, json.dumps(body).encode(), **headers)
                for headers in ({"request_id": "from-header"}, {})
            )
        )
        first, second = failure_of(client.pools), failure_of(client.pools)

        assert ("Not valid.; Reason: MaxResults cannot be less than 1", "from-header") == (
            first.message,
            first.request_id,
        )
        assert "from-body" == second.request_id
        assert (
            "InvalidQueryParameterValue: Not valid.; Reason: MaxResults cannot be less than 1 "
            "(request-id from-header)"
        ) == str(first)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (
                b"<html><head><title>502 Bad\n Gateway</title></head><body>x</body></html>",
                "502 Bad Gateway",
            ),
            (b"<p>It is <b>down</b></p><script>alert(1)</script>", "It is down"),
            (b"upstream connect error", "upstream connect error"),
            (b'{"error":"x"}', '{"error":"x"}'),
            (b"", "no text"),
            (b"\xff\xfe", "\ufffd\ufffd"),
            (b"x" * 100_000, "no text"),
        ],
    )
    def test_errors_of_proxies(self, connect, body, message):
        """An error that is not the service's JSON is told by its status and its text."""
        client, _ = connect(answer(502, body), limits=Limits(attempts=1))
        error = failure_of(client.pools)

        assert (ServiceError, "HTTP 502", message) == (type(error), error.code, error.message)

    @pytest.mark.parametrize("call", ["pools", "single"])
    def test_error_under_status_200(self, connect, call):
        """An error object is an error whatever its status says; a passing one is tried again."""
        client, service = connect(
            refusal(200, "ServerBusy"), refusal(200, "PoolNotFound", request_id="r-1")
        )
        error = failure_of(client.pools if call == "pools" else lambda: [client.pool("p")])

        assert (ServiceError, "PoolNotFound", 200, "r-1", 2) == (
            type(error),
            error.code,
            error.status,
            error.request_id,
            len(service.requests),
        )

    def test_what_a_refusal_quotes(self, connect):
        """A refusal that quotes the signature it refuses does not carry it into our message."""

        class Quoting(Service):
            def handle_request(self, request):
                """Give the next answer."""
                self.signature = request.headers["Authorization"].rpartition(":")[2]
                return refusal(403, "AuthenticationFailed", f"The MAC '{self.signature}' is wrong")

        service = Quoting()
        with BatchClient(ACCOUNT, transport=service) as client:
            error = failure_of(client.pools)

        assert ("AuthenticationFailed", "The MAC '[redacted]' is wrong") == (
            error.code,
            error.message,
        )
        assert service.signature not in str(error)

    @pytest.mark.parametrize(
        "answers",
        [
            [httpx.ReadTimeout("x", request=httpx.Request("GET", ENDPOINT))],
            [answer(body=b"\xff")],
            [answer(body=b"{")],
            [refusal(403)],
            [refusal(200)],
            [answer(body=b"x", Content_Encoding="gzip")],
        ],
        ids=["transport", "utf-8", "json", "403", "200", "gzip"],
    )
    def test_no_error_holds_the_request(self, connect, answers):
        """No error is chained to one of httpx; no traceback, nor its frames, has the request."""
        client, service = connect(*answers, limits=Limits(attempts=1))
        error = failure_of(client.pools)
        text = "".join(traceback.format_exception(error))
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]

        assert (None, None) == (error.__cause__, error.__context__)
        assert [] == [
            name
            for frame in frames
            if "pipeline" in frame.f_code.co_filename
            for name, value in frame.f_locals.items()
            if isinstance(value, httpx.Request | httpx.Response | bytes)
        ]
        assert "SharedKey" not in text
        assert service.requests[0].headers["Authorization"] not in text + repr(vars(error))

    def test_messages_are_redacted(self, connect):
        """A secret in the service's words does not get into the error."""
        text = "cannot read https://s.blob.core.windows.net/c?sv=1&sig=c2VjcmV0c2VjcmV0c2VjcmV0"
        client, _ = connect(refusal(400, "X", text))
        error = failure_of(client.pools)

        assert "c2VjcmV0" not in str(error) + error.message
        assert "[redacted]" in error.message


class Credential:
    """A numbered token on each call, or an error."""

    calls = 0
    error = None

    def get_token(self, *scopes, claims=None):
        """Hand out the next token."""
        self.calls += 1
        if self.error:
            raise self.error
        return type("Token", (), {"token": f"token-{self.calls}", "expires_on": 4_102_444_800})


class TestSigningIn:
    """Refusals of credentials."""

    def test_401_that_heals(self, connect):
        """A 401 gets one fresh token, and the page is there."""
        client, service = connect(refusal(401), answer(), credential=Credential())
        list(client.pools())

        assert ["Bearer token-1", "Bearer token-2"] == [
            request.headers["Authorization"] for request in service.requests
        ]
        assert (2, 0) == (client.figures.requests, client.figures.retries)

    def test_403_that_does_not(self, connect):
        """A 403 is the service's answer."""
        client, service = connect(refusal(403, "Forbidden", "no role"))
        error = failure_of(client.pools)

        assert (ServiceError, "Forbidden", "no role", 1) == (
            type(error),
            error.code,
            error.message,
            len(service.requests),
        )

    def test_clock_far_off(self, connect):
        """A refusal for time is healed by the service's clock, without a retry."""
        date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
        client, service = connect(refusal(403, "AuthenticationFailed", Date=date), answer())
        list(client.pools())

        assert date == service.requests[1].headers["ocp-date"]
        assert (2, 0) == (client.figures.requests, client.figures.retries)

    def test_no_token(self, connect):
        """Without a token nothing is sent, and the error says what to do."""
        credential = Credential()
        credential.error = RuntimeError("no identity here; access_token=hunter2hunter2")
        client, service = connect(credential=credential)
        error = failure_of(client.pools)

        assert (AuthFailed, [], 1) == (type(error), service.requests, credential.calls)
        assert error.message.startswith("could not sign in with Entra: run `az login`, give ")
        assert "AZURE_BATCH_ACCESS_KEY to use a key. azure-identity says: no id" in error.message
        assert "hunter2" not in str(error)

    def test_missing_key(self):
        """An account whose key is missing makes no client, and does not fall back to Entra."""
        account = Account(ENDPOINT, "acct", "acct.eastus", key_env="MY_KEY")

        with pytest.raises(ConfigError, match="MY_KEY"):
            BatchClient(account)

    def test_plain_http(self):
        """An account that is far away and not on https makes no client."""
        account = Account("http://acct.example", "acct", "a", key=Secret("a2V5"))

        with pytest.raises(AuthFailed, match="over https"):
            BatchClient(account)


class TestClocks:
    """The service's clock and ours."""

    def test_observed_at_without_a_date(self, connect):
        """Without a Date header, our clock is corrected by the skew seen so far."""
        date = format_datetime(NOW + timedelta(minutes=10), usegmt=True)
        client, _ = connect(answer(), answer(Date=date), answer(Date="x"))
        observed = [page.observed_at - NOW for _ in range(3) for page in client.pools()]

        assert [timedelta(0), timedelta(minutes=10), timedelta(minutes=10)] == observed
        assert 600.0 == client.figures.clock_skew_seconds

    def test_no_skew_yet(self, connect):
        """Before any dated answer the skew is not known."""
        client, _ = connect(answer())
        list(client.pools())

        assert client.figures.clock_skew_seconds is None

    def test_observed_at_is_utc(self, connect):
        """A date in another zone is brought to UTC."""
        client, _ = connect(answer(Date="Fri, 17 Jan 2025 02:00:00 +0200"))

        assert [(NOW, UTC)] == [(p.observed_at, p.observed_at.tzinfo) for p in client.pools()]


class TestLogs:
    """What is logged."""

    def test_retry_is_a_warning(self, connect, clock, caplog):
        """A retry is logged with what the ledger would say of it, and no secret."""
        caplog.set_level(logging.DEBUG, "nodelake")
        client, service = connect(
            refusal(429, "TooManyRequests", request_id="r-1", Retry_After="7"), answer()
        )
        list(client.nodes("p"))
        [warning] = [record for record in caplog.records if record.levelname == "WARNING"]

        assert ("nodelake.extract", "p", 429, "TooManyRequests", "r-1", 7.0, 1) == (
            warning.name,
            warning.pool_id,
            warning.status,
            warning.code,
            warning.request_id,
            warning.wait_seconds,
            warning.attempt,
        )
        logged = repr([vars(record) for record in caplog.records])
        assert service.requests[0].headers["Authorization"] not in logged

    def test_each_request_is_a_debug_line(self, connect, caplog):
        """What was asked and answered is logged, without the query."""
        caplog.set_level(logging.DEBUG, "nodelake")
        client, _ = connect(answer(request_id="r-1"))
        list(client.nodes("p"))
        [line] = [record for record in caplog.records if record.name == "nodelake.extract"]

        assert (f"{ENDPOINT}/pools/p/nodes", 200, "r-1", len(EMPTY)) == (
            line.url,
            line.status,
            line.request_id,
            line.bytes_received,
        )


class TestCancel:
    """The end, asked for from outside."""

    def test_before(self, connect):
        """A cancelled client sends nothing more."""
        client, service = connect(answer())
        client.cancel()
        client.cancel()

        assert Cancelled is type(failure_of(client.nodes, "p"))
        assert [] == service.requests

    def test_waiting_for_a_retry(self):
        """A wait before a retry ends when another thread cancels."""
        service = Service(refusal(503, Retry_After="200"))
        with BatchClient(ACCOUNT, transport=service) as client:
            threading.Timer(0.05, client.cancel).start()
            error = failure_of(client.pools)

        assert (Cancelled, 1) == (type(error), len(service.requests))

    def test_interrupted(self, connect):
        """Ctrl-C in the middle of a request is no failure of it: it is not tried again."""

        class Interrupted(Service):
            def handle_request(self, request):
                super().handle_request(request)
                raise KeyboardInterrupt

        service = Interrupted(answer())
        with BatchClient(ACCOUNT, transport=service) as client, pytest.raises(KeyboardInterrupt):
            list(client.pools())
        assert 1 == len(service.requests)

    def test_closed(self, connect):
        """What is asked of a closed client is cancelled."""
        client, _ = connect(answer())
        client.close()

        assert Cancelled is type(failure_of(client.pools))

    def test_between_chunks(self, connect):
        """A body that is being read is given up."""

        class Body(httpx.SyncByteStream):
            def __iter__(self):
                yield EMPTY[:5]
                client.cancel()
                yield EMPTY[5:]

        client, _ = connect(httpx.Response(200, stream=Body()))

        assert Cancelled is type(failure_of(client.pools))


def recorded(pattern):
    """The recordings of a kind, as parameters: name and content."""
    paths = sorted(RECORDINGS.glob(pattern)) if RECORDINGS.is_dir() else []
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in paths]


class TestRecordings:
    """The real service's answers, where ../shared has them."""

    @pytest.mark.parametrize("recording", recorded("*list-*") + recorded("*nodecounts-*"))
    def test_listings(self, connect, recording):
        """Every recorded listing is a page, and its nextLink is the one it has."""
        body = json.dumps(recording["body"]).encode()

        assert recording["body"].get("odata.nextLink") == read_listing(body)

    @pytest.mark.parametrize("recording", recorded("*get-*"))
    def test_singles(self, recording):
        """Every recorded pool or node is a single one and no error."""
        body = json.dumps(recording["body"]).encode()

        assert read_single(body) is None
        assert find_error(body) is None

    @pytest.mark.parametrize("recording", recorded("*-error-*"))
    def test_errors(self, connect, recording):
        """Every recorded error is told by its own code and first line, with its request-id."""
        body, status = recording["body"], recording["_provenance"]["status"]
        client, _ = connect(answer(status, json.dumps(body).encode()), limits=Limits(attempts=1))
        error = failure_of(client.pools)

        assert (body["code"], status) == (error.code, error.status)
        assert f"RequestId:{error.request_id}\n" in body["message"]["value"]
        assert error.message.startswith(body["message"]["value"].splitlines()[0].strip())
        assert not re.search(r"RequestId|Time:", error.message)


def test_the_tree_of_errors():
    """Every error is an ExtractError with the same fields, so one handler sees all."""
    kinds = [
        AuthFailed,
        BadResponse,
        Cancelled,
        DeadlineExceeded,
        ServiceError,
        TransportFailed,
        UntrustedLink,
    ]

    for kind in kinds:
        error = kind("Code", "words", pool_id="p", request_id="r")
        assert isinstance(error, ExtractError)
        assert "Code: words (pool p, request-id r)" == str(error)
        assert (None, None, None) == (error.status, error.url, error.retry_after_seconds)


def test_page_does_not_show_its_body():
    """A page's repr has no body in it: it may hold secrets, and megabytes."""
    from pipeline.extract import Page

    assert "hunter2" not in repr(Page(b"hunter2", None, NOW, None, ENDPOINT))


def test_imports_are_light():
    """Importing the room does not import azure-identity, which takes half a second."""
    code = "import sys, pipeline.extract; print('azure.identity' in sys.modules)"
    result = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "False" == result.stdout.strip()
