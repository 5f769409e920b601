"""Which bodies are pages, and which are refused."""

from __future__ import annotations

import gzip
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Limits
from pipeline.extract import (
    BadResponse,
    BatchClient,
)
from pipeline.extract.body import read_listing
from tests.extract.made_up import (
    ACCOUNT,
    EMPTY,
    ENDPOINT,
    Service,
    answer,
    failure_of,
    page_with,
    patient,
)

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
            found = read_listing(bytes(body)).next_link or ""
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


@pytest.mark.parametrize("text", [rb"\ud800", rb"\uDFFF x", rb"\ud83d\ude80 \udc00", rb"\\ud800"])
def test_half_a_surrogate_pair_is_the_matter_of_its_node(text: bytes) -> None:
    """The page is whole, and its link is followed; a body that is cut short stays refused."""
    body = b'{"value":[{"id":"a","vmSize":"%b"}],"odata.nextLink":"https://a/b"}' % text

    assert "https://a/b" == read_listing(body).next_link
    with pytest.raises(BadResponse):
        read_listing(body[:-1])
