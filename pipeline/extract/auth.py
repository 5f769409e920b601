"""Authentication with a Batch account: Shared Key and Entra tokens, each an `httpx.Auth`.

Both send credentials only to the account's own scheme, host and port, and over plain http only to this
machine; for other requests they raise AuthError before a byte is sent.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
import threading
import time
import zlib
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

import httpx

from pipeline.redact import redact_text

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

__all__ = [
    "AuthError",
    "Credential",
    "Entra",
    "SharedKey",
    "http_date",
    "is_loopback",
    "origin",
    "string_to_sign",
]

# The headers of the string to sign, in its order (service.md, "Shared Key").
SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
# The service accepts dates within 15 minutes: a smaller skew is never the reason of a refusal.
NEAR_SECONDS = 60.0
MAX_REFUSAL_BYTES = 64 * 1024
# Host suffix → scope and authority. The double slash is the official SDK's (service.md, "Entra").
PUBLIC_CLOUD = ("https://batch.core.windows.net//.default", "https://login.microsoftonline.com")
OTHER_CLOUDS = {
    ".batch.usgovcloudapi.net": (
        "https://batch.core.usgovcloudapi.net//.default",
        "https://login.microsoftonline.us",
    ),
    ".batch.chinacloudapi.cn": (
        "https://batch.chinacloudapi.cn//.default",
        "https://login.chinacloudapi.cn",
    ),
}
REFRESH_SECONDS = 300.0
FAILURE_HOLDS_SECONDS = 10.0


class AuthError(Exception):
    """Credentials could not be attached. The message says what to try and holds no secret."""


class Credential(Protocol):
    """The part of an azure-identity credential that is used."""

    def get_token(self, *scopes: str, claims: str | None = None) -> AccessToken:
        """Return a token and when it expires, in seconds since 1970."""
        ...


def origin(url: httpx.URL | str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL; a missing port is the scheme's default."""
    url = httpx.URL(url)
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


class _OwnOrigin(httpx.Auth):
    """Base of both: refuses to send credentials to another origin."""

    def __init__(self, endpoint: str) -> None:
        self._origin = origin(endpoint)
        scheme, host, _ = self._origin
        if scheme != "https" and not (scheme == "http" and is_loopback(host)):
            raise AuthError(f"{host}: credentials go over https, or over http to this machine only")

    def _require_own(self, url: httpx.URL) -> None:
        if origin(url) != self._origin:
            raise AuthError(
                f"refused to send credentials to {url.scheme}://{url.netloc.decode('ascii')}: "
                "not the account's own scheme, host and port"
            )


class SharedKey(_OwnOrigin):
    """Sign each request with the account's key.

    The signed date is this machine's clock. Where the service refuses a signature (403
    AuthenticationFailed) and its Date header is far from our clock, the request is signed once more
    with the service's clock; if that succeeds, later requests use it too.
    """

    def __init__(
        self,
        account: str,
        key_base64: str,
        *,
        endpoint: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(endpoint)
        self._account = account
        try:
            key = base64.b64decode(key_base64, validate=True)
        except (binascii.Error, ValueError):
            raise AuthError(f"the key of account {account} is not valid base64") from None
        # Holds the state of the HMAC, not the key: it cannot be printed by accident.
        self._mac = hmac.new(key, digestmod="sha256")
        self._now = now
        self._correction_seconds = 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign a request; sign it again after a 401, or where the clock explains a refusal."""
        self._require_own(request.url)
        used = self._correction_seconds
        self._sign(request, used)
        response = yield request
        if response.status_code == 401:
            # The service refuses signatures with 403: a 401 comes from something in between.
            _drop_body(response)
            self._sign(request, used)
            yield request
            return
        if response.status_code != 403:
            return
        skew = _seconds_ahead(response, self._now())
        if skew is None or abs(skew - used) < NEAR_SECONDS:
            return
        if not _is_about_signature(response):
            return
        _drop_body(response)
        self._sign(request, skew)
        response = yield request
        if response.status_code != 403:
            self._correction_seconds = skew

    def _sign(self, request: httpx.Request, correction_seconds: float) -> None:
        request.headers["ocp-date"] = formatdate(self._now() + correction_seconds, usegmt=True)
        mac = self._mac.copy()
        mac.update(string_to_sign(self._account, request).encode())
        signature = base64.b64encode(mac.digest()).decode("ascii")
        request.headers["Authorization"] = f"SharedKey {self._account}:{signature}"


def string_to_sign(account: str, request: httpx.Request) -> str:
    """Return the text whose HMAC is the signature: service.md, "Shared Key"."""
    lines = [request.method, *(request.headers.get(name, "") for name in SIGNED_HEADERS)]
    lines += sorted(
        f"{name.lower()}:{value}"
        for name, value in request.headers.items()
        if name.lower().startswith("ocp-")
    )
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    lines.append(f"/{account}{path}")
    # Decoded values, the first of each name, without blanks, as in the official SDK.
    values = parse_qs(query)
    lines += [f"{name}:{values[name][0]}" for name in sorted(values, key=str.lower)]
    return "\n".join(lines)


class Entra(_OwnOrigin):
    """Send an Entra token, from azure-identity unless a `credential` is given.

    All threads share one token until shortly before it expires. After a 401 one new token is
    requested, with the claims of the challenge where it has some. It comes from a new credential
    unless one was given: azure-identity caches tokens, and some credentials ignore claims.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        authority_host: str | None = None,
        credential: Credential | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(endpoint)
        host = self._origin[1]
        clouds = (cloud for suffix, cloud in OTHER_CLOUDS.items() if host.endswith(suffix))
        self.scope, authority = next(clouds, PUBLIC_CLOUD)
        self.authority_host = authority_host or authority
        self._given = credential
        self._credential = credential
        self._now = now
        self._lock = threading.Lock()
        self._token: AccessToken | None = None
        self._refresh_at = 0.0
        self._failed: tuple[float, str] | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Attach a token; after a 401 attach a new one, once."""
        self._require_own(request.url)
        request.headers["ocp-date"] = formatdate(self._now(), usegmt=True)
        token = self._get_token()
        request.headers["Authorization"] = f"Bearer {token.token}"
        response = yield request
        if response.status_code != 401:
            return
        claims = _claims(response.headers.get("WWW-Authenticate", ""))
        _drop_body(response)
        token = self._get_token(refused=token, claims=claims)
        request.headers["Authorization"] = f"Bearer {token.token}"
        yield request

    def _get_token(
        self, refused: AccessToken | None = None, claims: str | None = None
    ) -> AccessToken:
        with self._lock:
            # Another thread may have replaced the refused token while this one waited.
            held = self._token if self._token is not refused else None
            if held is not None and self._now() < self._refresh_at:
                return held
            if self._failed and self._now() - self._failed[0] < FAILURE_HOLDS_SECONDS:
                # Threads that waited for a failed attempt do not repeat it one by one.
                raise AuthError(self._failed[1])
            if refused is not None:
                self._credential = self._given
            try:
                if self._credential is None:
                    self._credential = self._default_credential()
                token = self._credential.get_token(
                    self.scope, **({"claims": claims} if claims else {})
                )
            except Exception as error:  # credentials raise any exception, with tokens in its frames
                if held is not None and self._now() < held.expires_on:
                    return held
                self._failed = (self._now(), _advice(error))
                raise AuthError(self._failed[1]) from None
            self._token, self._failed = token, None
            lifetime = token.expires_on - self._now()
            self._refresh_at = token.expires_on - min(REFRESH_SECONDS, lifetime / 2)
            return token

    def _default_credential(self) -> Credential:
        # Imported here: it takes half a second, and Shared Key does not need it.
        from azure.identity import DefaultAzureCredential

        return DefaultAzureCredential(authority=self.authority_host)


def _advice(error: Exception) -> str:
    # A chain of credentials lists a message for each: keep the first sentence of each.
    tried = re.findall(r"^\s+\w+: (.+?)(?:\.\s|\.?$)", str(error), re.MULTILINE)
    reason = "; ".join(tried) or " ".join(str(error).split()) or type(error).__name__
    return (
        "could not sign in with Entra: run `az login`, give this machine a managed identity with "
        "a role on the Batch account, or set AZURE_BATCH_ACCESS_KEY to use a key. "
        f"azure-identity says: {redact_text(reason)[:700]}"
    )


def _claims(challenge: str) -> str | None:
    """The claims that a 401's WWW-Authenticate header asks for, decoded; None without any."""
    match = re.search(r'\bclaims="?([A-Za-z0-9+/_=-]+)', challenge)
    if match is None:
        return None
    text = match[1].rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode() or None
    except ValueError:
        return None


def http_date(text: str) -> datetime | None:
    """Return an HTTP date as a UTC time, None where `text` is not one."""
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (OverflowError, TypeError, ValueError):
        return None


def _seconds_ahead(response: httpx.Response, now: float) -> float | None:
    """How far the service's clock is ahead of ours; None without a Date header."""
    date = http_date(response.headers.get("Date", ""))
    return None if date is None else date.timestamp() - now


def _is_about_signature(response: httpx.Response) -> bool:
    """Whether a 403 is AuthenticationFailed and not, for example, a missing role.

    Its body stays readable, up to a bound far above any error of the service.
    """
    start = bytearray()
    if isinstance(response.stream, httpx.SyncByteStream):
        for chunk in response.stream:
            start += chunk
            if len(start) > MAX_REFUSAL_BYTES:
                break
        response.stream.close()
    body = bytes(start[:MAX_REFUSAL_BYTES])
    response.stream = httpx.ByteStream(body)
    if "gzip" in response.headers.get("Content-Encoding", ""):
        try:
            body = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, MAX_REFUSAL_BYTES)
        except zlib.error:
            return False
    return b"AuthenticationFailed" in body


def _drop_body(response: httpx.Response) -> None:
    """Discard the body of a refusal unread: httpx would read all of it, whatever its size."""
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream.close()
    response.stream = httpx.ByteStream(b"")


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: 127.0.0.0/8, ::1 or localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
