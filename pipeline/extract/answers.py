"""Reads error answers: the service's error, whether to retry, and when."""

from __future__ import annotations

import re
from datetime import datetime

import httpx
import tenacity

from pipeline.extract import auth
from pipeline.extract import body as bodies
from pipeline.extract.errors import ExtractError, ServiceError

TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
# Full jitter: between 0 and 1, 2, 4 … 30 seconds, so that clients do not retry at the same time.
BACKOFF = tenacity.wait_random_exponential(multiplier=1, max=30)


def refusal(body: bytes, response: httpx.Response, now: datetime) -> ServiceError:
    """The error of an answer whose status is not 200, with this body."""
    status = response.status_code
    said = bodies.error_text(body)
    if 300 <= status < 400:
        said = "the service redirects, which is not followed: a key would go to another address"
    error = bodies.find_error(body, is_refusal=True) or bodies.ErrorBody(
        f"HTTP {status}", said, None
    )
    return service_error(error, response, now, status in TRANSIENT_STATUSES)


def service_error(
    error: bodies.ErrorBody, response: httpx.Response, now: datetime, is_transient: bool
) -> ServiceError:
    """The exception for an error body of the service."""
    # The message may quote the signature or token that was refused.
    sent = re.split("[ :]", response.request.headers.get("Authorization", ""))[-1]
    return ServiceError(
        error.code,
        error.message.replace(sent, "[redacted]") if sent else error.message,
        status=response.status_code,
        request_id=request_id(response) or error.request_id,
        is_transient=is_transient,
        retry_after_seconds=_retry_after(response, now),
    )


def _retry_after(response: httpx.Response, now: datetime) -> float | None:
    """Seconds of Retry-After; for a date, seconds from the response's Date, else from `now`."""
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,18}", text):
        return float(text)
    until = auth.http_date(text)
    date = auth.http_date(response.headers.get("Date", ""))
    if until is None:
        return None
    return max((until - (date or now)).total_seconds(), 0.0)


def request_id(response: httpx.Response) -> str | None:
    """The service's id of a request."""
    value: str | None = response.headers.get("request-id")
    return value


def is_transient(error: BaseException) -> bool:
    """Whether a retry may help."""
    return isinstance(error, ExtractError) and error.is_transient


def seconds_to_wait(state: tenacity.RetryCallState) -> float:
    """Seconds until the next try: the service's Retry-After, else an exponential back-off."""
    error = state.outcome and state.outcome.exception()
    if isinstance(error, ExtractError) and error.retry_after_seconds is not None:
        return error.retry_after_seconds
    return BACKOFF(state)


def without_bytes(message: str) -> str:
    """A message of h11 without the bytes that it quotes, which may be of another answer's body."""
    return re.sub(r"bytearray\(.*", "…", message, flags=re.DOTALL)
