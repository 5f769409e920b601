"""The connection to one account: GET with retries, bounds and one deadline for everything.

`cancel` ends requests and waits.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import httpcore
import httpx
import tenacity

from pipeline.config import Limits
from pipeline.extract import answers, auth
from pipeline.extract import body as bodies
from pipeline.extract.envelope import Envelope
from pipeline.extract.errors import (
    AuthFailed,
    BadResponse,
    Cancelled,
    DeadlineExceeded,
    ExtractError,
    ServiceError,
    TransportFailed,
    TurnOver,
)
from pipeline.extract.figures import Tally
from pipeline.extract.http_client import http_client
from pipeline.extract.turns import SLICE_SECONDS, Turn, read_in_slices
from pipeline.redact import redact_text

logger = logging.getLogger("nodelake.extract")

THROTTLING_STATUSES = frozenset({429, 503})
# The same with status 200: an error object in place of a page.
TRANSIENT_CODES = frozenset({"InternalError", "OperationTimedOut", "ServerBusy", "TooManyRequests"})


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """One checked answer of the service.

    `body` is the decompressed JSON; `next_link` is verbatim; `observed_at` is the service's clock: its
    Date header, else our clock corrected by the last skew. A Date more than a day from our clock is
    ignored: then it is our clock. `envelope` is the checked envelope of a listing, None where its
    elements need the slow path.
    """

    body: bytes = field(repr=False)
    next_link: str | None
    observed_at: datetime
    request_id: str | None
    url: str
    envelope: Envelope | None = field(default=None, repr=False)


#: For files: the length of the file, not of a compressed answer.
_AS_IT_IS = {"Accept": "application/octet-stream", "Accept-Encoding": "identity"}


class HttpConnection:
    """Requests with retries, bounds and a deadline, for many threads over one `httpx.Client`."""

    def __init__(
        self,
        endpoint: str,
        sign_in: httpx.Auth,
        limits: Limits,
        *,
        deadline_seconds: float,
        transport: httpx.BaseTransport | None,
        local_now: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None] | None,
    ) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._deadline_seconds = deadline_seconds
        self._ends_at = monotonic() + deadline_seconds
        self._cancelled = threading.Event()
        self._sleep = sleep or self._wait
        self._lock = threading.Lock()
        self.tally = Tally(local_now)
        self._of_thread = threading.local()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._http = http_client(endpoint, sign_in, limits, transport)
        self._http.event_hooks = {"request": [self._before_request]}
        # Timeouts bound the silence between two bytes; this also ends an answer that trickles.
        self._alarm = threading.Timer(deadline_seconds, self._shut_sockets)
        self._alarm.daemon = True
        self._alarm.start()

    @contextmanager
    def turn(self, seconds: float, is_wanted: Callable[[], bool]) -> Iterator[None]:
        """A context in which requests of this thread raise TurnOver after `seconds`, if `is_wanted`."""
        self._of_thread.turn = Turn(self._monotonic() + seconds, is_wanted)
        try:
            yield
        finally:
            self._of_thread.turn = None

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline."""
        return self._ends_at - self._monotonic()

    def close(self) -> None:
        """Cancel requests and close the sockets."""
        self.cancel()
        self._alarm.cancel()
        self._http.close()

    def cancel(self) -> None:
        """Make every request and wait raise Cancelled, now and later."""
        self._cancelled.set()
        self._shut_sockets()

    def get(
        self,
        url: str,
        read: Callable[[bytes], bodies.CheckedBody],
        pool_id: str | None,
        tries: int = 0,
    ) -> Page:
        """Return the answer to a GET, once `read` accepts its body.

        Retries transient errors as often as limits and deadline allow; `tries` are those already made.
        Where the wait would pass the deadline, the service's error is raised at once: it says more
        than a later DeadlineExceeded. Raises TurnOver once this thread's turn is over.
        """

        def page(response: httpx.Response, observed_at: datetime) -> Page:
            body = bodies.read_body(response, self._limits.max_page_bytes, self._check_time)
            body = bodies.strip_bom(body)
            checked = self._check_body(body, read, response, observed_at)
            request_id = answers.request_id(response)
            return Page(body, checked.next_link, observed_at, request_id, url, checked.envelope)

        return self._ask("GET", url, {}, page, pool_id, tries)

    def size_of(self, url: str, pool_id: str, attempts: int) -> int:
        """Return the Content-Length in the answer to a HEAD."""

        def size(response: httpx.Response, observed_at: datetime) -> int:
            text = response.headers.get("Content-Length", "")
            if not re.fullmatch(r"[0-9]{1,18}", text):
                raise BadResponse("NoLength", "the answer to HEAD has no valid Content-Length")
            return int(text)

        return self._ask("HEAD", url, _AS_IT_IS, size, pool_id, self._limits.attempts - attempts)

    def part_of(
        self, url: str, first: int, last: int, pool_id: str, attempts: int, max_bytes: int
    ) -> tuple[bytes, datetime]:
        """Return the bytes from `first` to `last` of a file, at most `max_bytes`, and the time."""

        def part(response: httpx.Response, observed_at: datetime) -> tuple[bytes, datetime]:
            return bodies.read_body(response, max_bytes, self._check_time), observed_at

        headers = {"ocp-range": f"bytes={first}-{last}", **_AS_IT_IS}
        return self._ask("GET", url, headers, part, pool_id, self._limits.attempts - attempts)

    def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        finish: Callable[[httpx.Response, datetime], T],
        pool_id: str | None,
        tries: int,
    ) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(answers.is_transient),
            wait=answers.seconds_to_wait,
            stop=lambda state: self._is_last(state, tries),
            before_sleep=self._note_retry,
            sleep=self._sleep,
            reraise=True,
        )
        answer: T = retrying(self._try, method, url, headers, finish, pool_id)
        return answer

    def _is_last(self, state: tenacity.RetryCallState, tries: int) -> bool:
        return (
            state.attempt_number + tries >= self._limits.attempts
            or self._monotonic() + state.upcoming_sleep >= self._ends_at
        )

    def _try(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        finish: Callable[[httpx.Response, datetime], T],
        pool_id: str | None,
    ) -> T:
        failure: ExtractError
        try:
            return self._exchange(method, url, headers, finish)
        except ExtractError as error:
            failure = error
        except auth.AuthError as error:
            failure = AuthFailed("AuthFailed", str(error))
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            failure = TransportFailed(
                type(error).__name__,
                answers.without_bytes(str(error)) or "no answer",
                # A retry does not help with a bad certificate.
                is_transient="CERTIFICATE_VERIFY_FAILED" not in str(error),
            )
        if isinstance(failure, TransportFailed | BadResponse):
            # A socket that was shut under a request looks like a dropped connection.
            failure = self._ended() or failure
        failure.pool_id, failure.url = pool_id, without_query(url)
        # Raised here, unchained and without its frames: httpx's errors and those frames hold the
        # request with its credentials, and a body of megabytes.
        failure.__cause__ = failure.__context__ = None
        raise failure.with_traceback(None)

    def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        finish: Callable[[httpx.Response, datetime], T],
    ) -> T:
        self._check_time()
        left = self._ends_at - self._monotonic()
        silence = min(self._limits.read_timeout_seconds, left)
        connect = min(self._limits.connect_timeout_seconds, left)
        request = self._http.build_request(
            method,
            url,
            headers=headers,
            timeout=httpx.Timeout(connect=connect, read=silence, write=silence, pool=left),
            extensions={"trace": self._trace},
        )
        started_at = self._monotonic()
        response = self._http.send(request, stream=True)
        try:
            observed_at = self.tally.observe(response)
            is_part = response.status_code == 206 and "ocp-range" in headers
            if response.status_code != 200 and not is_part:
                raise self._service_error(response, observed_at)
            answer = finish(response, observed_at)
        except BadResponse as error:
            error.status, error.request_id = response.status_code, answers.request_id(response)
            raise
        finally:
            response.close()
            self.tally.count("bytes_received", response.num_bytes_downloaded)
            logger.debug(
                "answered",
                extra={
                    "url": without_query(url),
                    "status": response.status_code,
                    "request_id": answers.request_id(response),
                    "bytes_received": response.num_bytes_downloaded,
                    "seconds": round(self._monotonic() - started_at, 3),
                },
            )
        self.tally.note_seconds(self._monotonic() - started_at)
        return answer

    def _check_body(
        self,
        body: bytes,
        read: Callable[[bytes], bodies.CheckedBody],
        response: httpx.Response,
        now: datetime,
    ) -> bodies.CheckedBody:
        try:
            return read(body)
        except BadResponse as refusal:
            error = bodies.find_error(body)
            if error is None:
                raise
            # An error object with status 200.
            is_transient = error.code in TRANSIENT_CODES
            raise answers.service_error(error, response, now, is_transient) from refusal

    def _service_error(self, response: httpx.Response, now: datetime) -> ServiceError:
        if response.status_code in THROTTLING_STATUSES:
            self.tally.count("throttled")
        try:
            body = bodies.read_body(response, bodies.MAX_ERROR_BYTES, self._check_time)
        except (BadResponse, httpx.HTTPError, httpx.StreamError):
            body = b""  # the status suffices
        return answers.refusal(body, response, now)

    def _wait(self, seconds: float) -> None:
        """Waits; raises early on `cancel` or at the end of a turn."""
        ends_at = self._monotonic() + seconds
        while (left := ends_at - self._monotonic()) > 0:
            self._cancelled.wait(min(left, SLICE_SECONDS))
            if (ended := self._ended()) is not None:
                ended.retry_after_seconds = max(ends_at - self._monotonic(), 0)
                raise ended

    def _note_retry(self, state: tenacity.RetryCallState) -> None:
        turn: Turn | None = getattr(self._of_thread, "turn", None)
        error = state.outcome and state.outcome.exception()
        if turn is not None and turn.is_over(self._monotonic() + state.upcoming_sleep):
            raise TurnOver(
                "TurnOver",
                f"other listings go first while this waits:  {error}",
                retry_after_seconds=state.upcoming_sleep,
                tries=state.attempt_number,
            )
        self.tally.count("retries")
        if isinstance(error, ExtractError):
            logger.warning(
                "retrying",
                extra={
                    "pool_id": error.pool_id,
                    "url": error.url,
                    "status": error.status,
                    "code": error.code,
                    "request_id": error.request_id,
                    "attempt": state.attempt_number,
                    "wait_seconds": round(state.upcoming_sleep, 3),
                },
            )

    def _before_request(self, request: httpx.Request) -> None:
        """Called by httpx before each request, repeated signatures included."""
        request.headers["client-request-id"] = str(uuid.uuid4())  # not signed
        self.tally.count("requests")

    # The end: by deadline or by `cancel`

    def _ended(self) -> ExtractError | None:
        if self._cancelled.is_set():
            return Cancelled("Cancelled", "the run was cancelled")
        if self._monotonic() >= self._ends_at:
            return DeadlineExceeded(
                "DeadlineExceeded", f"the deadline of {self._deadline_seconds:g} seconds has passed"
            )
        turn: Turn | None = getattr(self._of_thread, "turn", None)
        if turn is not None and turn.is_over(self._monotonic()):
            return TurnOver("TurnOver", "the listing is slow, and others wait")
        return None

    def _check_time(self) -> None:
        if ended := self._ended():
            raise ended

    def _trace(self, event: str, info: Mapping[str, object]) -> None:
        """Called by httpcore at each step (https://www.encode.io/httpcore/extensions/#trace)."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            stream = info["return_value"]
            assert isinstance(stream, httpcore.NetworkStream)
            read_in_slices(stream, self._check_time)
            opened = stream.get_extra_info("socket")
            if isinstance(opened, socket.socket):
                with self._lock:
                    self._sockets.add(opened)
        elif event.endswith((".connect_tcp.started", ".send_request_headers.started")):
            # A thread that waited for a free connection may get here after the end.
            self._check_time()

    def _shut_sockets(self) -> None:
        """Wake threads that wait for bytes: a shutdown does, a close does not."""
        with self._lock:
            sockets = list(self._sockets)
        for opened in sockets:
            try:
                # Not SSLSocket.shutdown: it removes the TLS state that the reading thread uses.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)
            except OSError:
                continue  # closed already


def without_query(url: str) -> str:
    """Return `url` without its query, at most 300 characters, for messages and logs."""
    return redact_text(re.split(r"[?#]", url, maxsplit=1)[0])[:300]
