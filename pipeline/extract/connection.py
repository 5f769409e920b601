"""One account's connection: a GET with its retries, its bounds and its deadline.

Everything it does ends by one deadline; what it waits for ends soon after `cancel`.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
import uuid
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import httpx
import tenacity

from pipeline import __version__
from pipeline.config import ConfigError, Limits
from pipeline.extract import auth
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
)
from pipeline.redact import redact_text

logger = logging.getLogger("nodelake.extract")

THROTTLING_STATUSES = frozenset({429, 503})
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
# The same under status 200: an error object where a page should be.
TRANSIENT_CODES = frozenset({"InternalError", "OperationTimedOut", "ServerBusy", "TooManyRequests"})
# Full jitter: between 0 and 1, 2, 4 … 30 seconds, so that many clients do not come back together.
BACKOFF = tenacity.wait_random_exponential(multiplier=1, max=30)


@dataclass(frozen=True, slots=True)
class Page:
    """One checked answer of the service.

    `body` is the JSON as sent, decompressed; `next_link` stands as the page has it; `observed_at`
    is the service's clock: its Date header, else our clock corrected by the skew seen so far.
    `envelope` is what the check of a listing made of `body`, unless its elements are odd.
    """

    body: bytes = field(repr=False)
    next_link: str | None
    observed_at: datetime
    request_id: str | None
    url: str
    envelope: Envelope | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a client has done so far.

    `requests` counts everything sent, `retries` and second signings too; `throttled` the answers
    429 and 503; `bytes_received` bodies on the wire, compressed. `clock_skew_seconds` is the
    service's clock less ours, None before the first dated answer.
    """

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes_received: int = 0
    clock_skew_seconds: float | None = None


class Connection:
    """GET with everything around it, for many threads over one `httpx.Client`."""

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
        self._local_now = local_now
        self._monotonic = monotonic
        self._deadline_seconds = deadline_seconds
        self._ends_at = monotonic() + deadline_seconds
        self._cancelled = threading.Event()
        self._sleep = sleep or tenacity.sleep_using_event(self._cancelled)
        self._lock = threading.Lock()
        self._figures = Figures()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._http = _http_client(endpoint, sign_in, limits, transport)
        self._http.event_hooks = {"request": [self._before_request]}
        # Timeouts bound the silence between two bytes; this ends an answer that only trickles.
        self._alarm = threading.Timer(deadline_seconds, self._shut_sockets)
        self._alarm.daemon = True
        self._alarm.start()

    def close(self) -> None:
        """Cancel what is under way and close the sockets."""
        self.cancel()
        self._alarm.cancel()
        self._http.close()

    def cancel(self) -> None:
        """End every request and wait with Cancelled, now and later."""
        self._cancelled.set()
        self._shut_sockets()

    @property
    def figures(self) -> Figures:
        """The figures at this moment."""
        with self._lock:
            return self._figures

    def get(self, url: str, read: Callable[[bytes], bodies.Told], pool_id: str | None) -> Page:
        """Return the answer to a GET, once `read` takes its body for whole.

        As many tries as limits and deadline allow, for what another try may heal. Where the wait
        for it would pass the deadline, the service's own error is raised at once: it is worth more
        than a DeadlineExceeded later.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_transient),
            wait=_seconds_to_wait,
            stop=self._is_last,
            before_sleep=self._note_retry,
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(self._try, url, read, pool_id)

    def _is_last(self, state: tenacity.RetryCallState) -> bool:
        return (
            state.attempt_number >= self._limits.attempts
            or self._monotonic() + state.upcoming_sleep >= self._ends_at
        )

    def _try(self, url: str, read: Callable[[bytes], bodies.Told], pool_id: str | None) -> Page:
        failure: ExtractError
        try:
            return self._exchange(url, read)
        except ExtractError as error:
            failure = error
        except auth.AuthError as error:
            failure = AuthFailed("AuthFailed", str(error))
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            failure = TransportFailed(
                type(error).__name__,
                _without_bytes(str(error)) or "no answer",
                # What is wrong with a certificate stays wrong.
                is_transient="CERTIFICATE_VERIFY_FAILED" not in str(error),
            )
        if isinstance(failure, TransportFailed | BadResponse):
            # A socket that was shut under a request looks like a dropped connection.
            failure = self._ended() or failure
        failure.pool_id, failure.url = pool_id, without_query(url)
        # Raised out here, unchained and without the frames it came through: httpx's errors and
        # those frames hold the request with its credentials, and a body of megabytes.
        failure.__cause__ = failure.__context__ = None
        raise failure.with_traceback(None)

    def _exchange(self, url: str, read: Callable[[bytes], bodies.Told]) -> Page:
        self._check_time()
        left = self._ends_at - self._monotonic()
        silence = min(self._limits.read_timeout_seconds, left)
        connect = min(self._limits.connect_timeout_seconds, left)
        request = self._http.build_request(
            "GET",
            url,
            timeout=httpx.Timeout(connect=connect, read=silence, write=silence, pool=left),
            extensions={"trace": self._trace},
        )
        started_at = self._monotonic()
        response = self._http.send(request, stream=True)
        try:
            observed_at = self._observe(response)
            if response.status_code != 200:
                raise self._service_error(response)
            body = bodies.read_body(response, self._limits.max_page_bytes, self._check_time)
            body = bodies.strip_bom(body)
            told = self._check_body(body, read, response)
        except BadResponse as error:
            error.status, error.request_id = response.status_code, _request_id(response)
            raise
        finally:
            response.close()
            with self._lock:
                received = self._figures.bytes_received + response.num_bytes_downloaded
                self._figures = replace(self._figures, bytes_received=received)
            logger.debug(
                "answered",
                extra={
                    "url": without_query(url),
                    "status": response.status_code,
                    "request_id": _request_id(response),
                    "bytes_received": response.num_bytes_downloaded,
                    "seconds": round(self._monotonic() - started_at, 3),
                },
            )
        return Page(body, told.next_link, observed_at, _request_id(response), url, told.envelope)

    def _check_body(
        self, body: bytes, read: Callable[[bytes], bodies.Told], response: httpx.Response
    ) -> bodies.Told:
        try:
            return read(body)
        except BadResponse as refusal:
            error = bodies.find_error(body)
            if error is None:
                raise
            # An error object under status 200.
            is_transient = error.code in TRANSIENT_CODES
            raise self._told_error(error, response, is_transient) from refusal

    def _service_error(self, response: httpx.Response) -> ServiceError:
        status = response.status_code
        if status in THROTTLING_STATUSES:
            with self._lock:
                self._figures = replace(self._figures, throttled=self._figures.throttled + 1)
        try:
            body = bodies.read_body(response, bodies.MAX_ERROR_BYTES, self._check_time)
        except (BadResponse, httpx.HTTPError, httpx.StreamError):
            body = b""  # the status says enough
        error = bodies.find_error(body, is_refusal=True) or bodies.ErrorBody(
            f"HTTP {status}", bodies.error_text(body), None
        )
        return self._told_error(error, response, status in TRANSIENT_STATUSES)

    def _told_error(
        self, error: bodies.ErrorBody, response: httpx.Response, is_transient: bool
    ) -> ServiceError:
        # A refusal may quote the signature or the token that it refuses.
        sent = re.split("[ :]", response.request.headers.get("Authorization", ""))[-1]
        return ServiceError(
            error.code,
            error.message.replace(sent, "[redacted]") if sent else error.message,
            status=response.status_code,
            request_id=_request_id(response) or error.request_id,
            is_transient=is_transient,
            retry_after_seconds=self._retry_after(response),
        )

    def _retry_after(self, response: httpx.Response) -> float | None:
        """Seconds as Retry-After has them, or until its date by the response's own clock."""
        text = response.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,18}", text):
            return float(text)
        until = auth.http_date(text)
        if until is None:
            return None
        return max((until - self._observe(response)).total_seconds(), 0.0)

    def _observe(self, response: httpx.Response) -> datetime:
        """The service's clock at this answer, in UTC; notes how far it is from ours."""
        date = auth.http_date(response.headers.get("Date", ""))
        local = self._local_now()
        with self._lock:
            if date is not None:
                skew = (date - local).total_seconds()
                self._figures = replace(self._figures, clock_skew_seconds=skew)
                return date
            return local + timedelta(seconds=self._figures.clock_skew_seconds or 0.0)

    def _note_retry(self, state: tenacity.RetryCallState) -> None:
        with self._lock:
            self._figures = replace(self._figures, retries=self._figures.retries + 1)
        error = state.outcome and state.outcome.exception()
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
        """Called by httpx for everything it sends, a second signing too."""
        request.headers["client-request-id"] = str(uuid.uuid4())  # not signed
        with self._lock:
            self._figures = replace(self._figures, requests=self._figures.requests + 1)

    # The end: by deadline or by `cancel`

    def _ended(self) -> ExtractError | None:
        if self._cancelled.is_set():
            return Cancelled("Cancelled", "the run was cancelled")
        if self._monotonic() >= self._ends_at:
            return DeadlineExceeded(
                "DeadlineExceeded", f"the deadline of {self._deadline_seconds:g} seconds has passed"
            )
        return None

    def _check_time(self) -> None:
        if ended := self._ended():
            raise ended

    def _trace(self, event: str, info: Mapping[str, object]) -> None:
        """Told by httpcore of each step: https://www.encode.io/httpcore/extensions/#trace."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            stream = info["return_value"]
            opened = stream.get_extra_info("socket")  # type: ignore[attr-defined]
            if isinstance(opened, socket.socket):
                with self._lock:
                    self._sockets.add(opened)
        elif event.endswith((".connect_tcp.started", ".send_request_headers.started")):
            # A thread that waited for a free connection gets here after the end, too.
            self._check_time()

    def _shut_sockets(self) -> None:
        """Wake the threads that wait for bytes: closing would not, a shutdown does."""
        with self._lock:
            sockets = list(self._sockets)
        for opened in sockets:
            try:
                # Not SSLSocket.shutdown: that takes the TLS state from under the reading thread.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)
            except OSError:
                continue  # closed already


def _http_client(
    endpoint: str, sign_in: httpx.Auth, limits: Limits, transport: httpx.BaseTransport | None
) -> httpx.Client:
    url = httpx.URL(endpoint)
    try:
        return httpx.Client(
            auth=sign_in,
            headers={
                "Accept": "application/json;odata=minimalmetadata",
                "Accept-Encoding": "gzip",
                "User-Agent": f"nodelake/{__version__}",
                "return-client-request-id": "true",
            },
            # The environment's proxy may be the only way out; to ourselves it is none: httpx asks
            # it for 127.0.0.1 too unless NO_PROXY says otherwise. SSL_CERT_FILE holds for both;
            # plain http needs no certificates, which take 18 ms to load.
            trust_env=not auth.is_loopback(url.host),
            verify=httpx.create_ssl_context()
            if url.scheme == "https" and transport is None
            else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            limits=httpx.Limits(
                max_connections=limits.connections,
                max_keepalive_connections=limits.connections,
            ),
            transport=transport,
        )
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        # SSL_CERT_FILE is not there, or a proxy is of a kind or form that httpx does not know.
        raise ConfigError(
            "the environment's certificates or proxies cannot be used: "
            + redact_text(f"{type(error).__name__}: {error}")
        ) from None


def _without_bytes(message: str) -> str:
    """A message of h11's without the bytes it quotes: they may be the body of another answer."""
    return re.sub(r"bytearray\(.*", "…", message, flags=re.DOTALL)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, ExtractError) and error.is_transient


def _seconds_to_wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome and state.outcome.exception()
    if isinstance(error, ExtractError) and error.retry_after_seconds is not None:
        return error.retry_after_seconds
    return BACKOFF(state)


def _request_id(response: httpx.Response) -> str | None:
    value: str | None = response.headers.get("request-id")
    return value


def without_query(url: str) -> str:
    """Return `url` as far as its path, at most 300 characters: fit for messages and logs."""
    return redact_text(re.split(r"[?#]", url, maxsplit=1)[0])[:300]
