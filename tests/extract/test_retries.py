"""What is tried again, when, for how long, and how it ends."""

from __future__ import annotations

import threading
from datetime import timedelta
from email.utils import format_datetime

import httpx
import pytest

from pipeline.config import Limits
from pipeline.extract import (
    BatchClient,
    Cancelled,
    DeadlineExceeded,
    ServiceError,
    TransportFailed,
)
from tests.extract.made_up import (
    ACCOUNT,
    EMPTY,
    NOW,
    Service,
    answer,
    failure_of,
    page_with,
    refusal,
)


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

    @pytest.mark.parametrize("seconds", [60.0, 1e9])
    def test_retry_after_past_the_deadline(self, connect, clock, seconds):
        """Where the wait would pass the deadline, the service's own error comes at once."""
        client, service = connect(
            refusal(429, "TooManyRequests", Retry_After=f"{seconds:.0f}"), deadline_seconds=59
        )
        error = failure_of(client.pools)

        assert ("TooManyRequests", seconds, 1, []) == (
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
        """A connection that fails is tried again, then reported with what happened."""
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
