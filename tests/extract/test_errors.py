"""How a failure is reported, and logged."""

from __future__ import annotations

import json
import logging
import traceback

import httpx
import pytest

from pipeline.config import Limits
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
from tests.extract.made_up import (
    ACCOUNT,
    EMPTY,
    ENDPOINT,
    Service,
    answer,
    failure_of,
    refusal,
)

ONE_TRY = Limits(attempts=1)


class TestErrors:
    """How a failure is reported."""

    @pytest.mark.parametrize("status", [201, 500])
    @pytest.mark.parametrize("body", [b"[%s]", b'{"value":[%s]}', b"[%s,"])
    def test_a_page_is_quoted_redacted_or_not_at_all(self, connect, status, body):
        """Only the names of a node's members show which values are secrets."""
        node = b'{"environmentSettings":[{"name":"A","value":"hunter2"}]}'
        client, _ = connect(answer(status, body % node), limits=ONE_TRY)
        assert "hunter2" not in str(failure_of(client.pools))

    def test_json_that_is_cut_short_is_not_quoted(self, connect):
        """A bare list is no page, whole or not."""
        client, _ = connect(answer(200, b'[{"x":"hunter2"},'), limits=ONE_TRY)
        assert "hunter2" not in str(failure_of(client.pools))

    def test_what_follows_an_answer_is_not_quoted(self, connect):
        """h11 quotes the bytes where a status line should be: the rest of another answer."""

        def quoting(request):
            raise httpx.RemoteProtocolError('illegal status line: bytearray(b\'"x": "hunter2"\')')

        with BatchClient(ACCOUNT, transport=httpx.MockTransport(quoting), limits=ONE_TRY) as client:
            assert failure_of(client.pools).message == "illegal status line: …"

    def test_codes_and_request_ids_are_bounded_and_redacted(self, connect):
        """The ledger takes both, whatever wrote them."""
        body = {"code": "C" * 500, "message": "no\nRequestId:password=hunter2"}
        client, _ = connect(answer(403, json.dumps(body).encode()))
        failure = failure_of(client.pools)
        assert (failure.code, failure.request_id) == ("C" * 200, "password=[redacted]")

    @pytest.mark.parametrize("before", range(900, 1001, 7))
    def test_a_secret_across_the_cut_is_masked(self, connect, before):
        """A message is redacted, then cut: the half of a key that would stay is none a rule knows."""
        key = "A1b2C3d4/+" * 8 + "A1b2C3=="
        body = {"code": "Refused", "message": "x" * before + f" {key} and sig={key}"}
        client, _ = connect(answer(403, json.dumps(body).encode()))
        message = failure_of(client.pools).message
        assert "A1b2" not in message
        assert len(message) <= 1000

    def test_a_page_is_redacted_before_it_is_cut(self, connect):
        """A proxy's page is quoted by its first letters."""
        for before in range(150, 200, 3):
            page = f"<html>{'x' * before} https://me:hunter2hunter2hunter2@host/</html>"
            client, _ = connect(answer(502, page.encode()), limits=ONE_TRY)
            assert "hunter" not in failure_of(client.pools).message

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
        ("rest", "message"),
        [
            ({}, "no message"),
            ({"message": None, "values": None}, "no message"),
            ({"message": {"lang": None, "value": None}}, "no message"),
            ({"message": "gone", "values": []}, "gone"),
            (
                {"message": {}, "values": [None, {}, {"key": "a"}, {"value": "b"}, {"key": None}]},
                "b",
            ),
        ],
    )
    def test_an_error_that_leaves_members_out(self, connect, rest, message):
        """The contract requires none: the code is kept, which identifies a pool that is gone."""
        client, _ = connect(answer(404, json.dumps({"code": "PoolNotFound", **rest}).encode()))
        failure = failure_of(client.pools)
        assert ("PoolNotFound", message) == (failure.code, failure.message)

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
        """An error that is not the service's JSON is reported by its status and its text."""
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


@pytest.mark.parametrize("before", [980, 990, 995, 1000])
def test_a_secret_across_the_cut_is_masked_before_it(before):
    """Messages are cut to a thousand characters: what is left of a secret is no secret any more."""
    secret = "AccountKey=" + "Zm9vYmFyYmF6cXV4" * 5 + "=="
    error = ExtractError("x", "a" * (before - 1) + " " + secret)
    assert len(error.message) <= 1000
    assert "Zm9v" not in error.message


@pytest.mark.parametrize("before", [960, 990, 995])
def test_a_service_s_secret_across_the_cut_is_masked(connect, before):
    """The same of an error's body, of one that is no JSON, and of its code."""
    secret = "SharedAccessKey=" + "Zm9vYmFyYmF6cXV4" * 5 + "=="
    text = "a" * (before - 1) + " " + secret
    for body in (
        json.dumps({"code": "X", "message": {"value": text}}).encode(),
        ("<html>" + "b" * 185 + " " + secret).encode(),
        json.dumps({"code": "c" * 190 + " " + secret, "message": {"value": "m"}}).encode(),
    ):
        client, _ = connect(answer(400, body))
        error = failure_of(client.pools)
        assert "Zm9v" not in f"{error} {error.code} {error.message}"
