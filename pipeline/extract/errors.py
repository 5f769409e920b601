"""The exceptions of the REST client.

* ExtractError
  x ServiceError       the service answered with an error
  x BadResponse        an answer that is no whole page: cut short, malformed, too large, not JSON
  x UntrustedLink      a nextLink to another place, or one that never ends
  x TransportFailed    no whole answer: refused, dropped, silent for too long
  x AuthFailed         no credentials could be had
  x DeadlineExceeded   the client's time is over
  x TurnOver           a listing is slow and others wait: ask again later
  x Cancelled          `BatchClient.cancel` was called

None of them is chained to an exception of httpx: those hold the request, and so its credentials.
"""

from __future__ import annotations

from pipeline.redact import redact_text

#: Codes, request ids and messages are cut to these lengths after redaction: no rule would recognise a
#: secret that is cut in two.
MAX_CODE, MAX_MESSAGE = 200, 1000


class ExtractError(Exception):
    """Base of these exceptions: the facts for the ledger, redacted and cut to a length.

    `code` is the service's where there is one (``PoolNotFound``), else ours (``ReadTimeout``,
    ``HTTP 502``). `url` has no query. `retry_after_seconds` is the service's Retry-After.
    """

    is_transient = False
    """Whether a retry may help."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        pool_id: str | None = None,
        url: str | None = None,
        is_transient: bool | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.code = redact_text(code)[:MAX_CODE]
        self.message = redact_text(message)[:MAX_MESSAGE]
        self.status = status
        self.request_id = redact_text(request_id)[:MAX_CODE] if request_id else request_id
        self.pool_id = pool_id
        self.url = url
        self.retry_after_seconds = retry_after_seconds
        if is_transient is not None:
            self.is_transient = is_transient
        super().__init__(f"{self.code}: {self.message}")

    def __str__(self) -> str:
        about = ", ".join(
            f"{name} {value}"
            for name, value in (("pool", self.pool_id), ("request-id", self.request_id))
            if value
        )
        return f"{self.code}: {self.message}" + (f" ({about})" if about else "")


class ServiceError(ExtractError):
    """The service answered with an error, or with an error object and status 200."""


class BadResponse(ExtractError):
    """A body that is not one whole JSON object of the expected kind, or larger than allowed."""

    is_transient = True


class UntrustedLink(ExtractError):
    """A nextLink that leaves the account's scheme, host and port, or repeats."""


class TransportFailed(ExtractError):
    """The connection failed before the answer was complete."""

    is_transient = True


class AuthFailed(ExtractError):
    """There is no token, or it may not be sent there; no request was sent."""


class DeadlineExceeded(ExtractError):
    """The client's overall deadline has passed."""


class TurnOver(ExtractError):
    """A listing is slow and others wait; the same page may be requested again later.

    Not before `retry_after_seconds`, if that is not None. `tries` counts the requests so far.
    """

    def __init__(
        self, code: str, message: str, *, retry_after_seconds: float | None = None, tries: int = 1
    ) -> None:
        super().__init__(code, message, retry_after_seconds=retry_after_seconds)
        self.tries = tries


class Cancelled(ExtractError):
    """`BatchClient.cancel` was called."""
