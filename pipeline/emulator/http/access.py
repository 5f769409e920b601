"""Authentication: Shared Key signatures, bearer tokens, and the endpoint that issues tokens.

Both use the wall clock, as the real service does, not the fleet's time. The
signature's rules are those of the Batch documentation ("Authenticate requests").
"""

import base64
import binascii
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, unquote_plus

from ..streams import fake_secret
from .replies import BatchError, Reply
from .requests import Request

_SIGNED_HEADERS = (
    "content-encoding", "content-language", "content-length", "content-md5", "content-type",
    "date", "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
)  # fmt: skip

ALLOWED_SKEW_SECONDS = 15 * 60
RESOURCES = (
    "https://batch.core.windows.net",
    "https://batch.core.usgovcloudapi.net",
    "https://batch.chinacloudapi.cn",
)


def strings_to_sign(request: Request, account: str) -> Iterator[str]:
    """Yield the texts that a client may have signed: clients differ over "+" and case in queries."""
    lines = [request.method]
    lines += [request.headers.get(name, "") for name in _SIGNED_HEADERS]
    head = "\n".join(lines) + "\n"
    for name in sorted(request.headers):
        if name.startswith("ocp-"):
            head += f"{name}:{request.headers[name]}\n"
    head += f"/{account}{request.raw_path}"
    pairs = [part.partition("=") for part in request.raw_query.split("&") if part]
    for decode in (unquote_plus, unquote):
        for spell in (str, str.lower):
            values: dict[str, str] = {}
            for name, _, value in pairs:
                if decode(value):
                    values.setdefault(spell(decode(name)), decode(value))
            yield head + "".join(f"\n{name}:{values[name]}" for name in sorted(values))


def sign(text: str, key: str) -> str:
    """Return the base64 HMAC-SHA256 of a text under a base64 key."""
    return base64.b64encode(
        hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    ).decode()


def check_shared_key(request: Request, account: str, key: str, now: float) -> None:
    """Raise AuthenticationFailed (403) unless the request has a valid, recent signature.

    ``now`` is the service's wall clock in epoch seconds.
    """
    _, _, credential = request.headers.get("authorization", "").partition(" ")
    name, _, signature = credential.partition(":")
    if name != account:
        raise _refused(f"The account {name!r} is not the one asked for.")
    text = request.headers.get("ocp-date") or request.headers.get("date", "")
    try:
        dated = parsedate_to_datetime(text).timestamp()
    except ValueError:
        raise _refused("The request has no valid ocp-date or date header.") from None
    if abs(now - dated) > ALLOWED_SKEW_SECONDS:
        raise _refused(f"Request date header too old: '{text}'")
    for to_sign in strings_to_sign(request, account):
        if hmac.compare_digest(sign(to_sign, key).encode(), signature.encode()):
            return
    raise _refused("The MAC signature found in the HTTP request is not the same as any computed"
                   " signature.")  # fmt: skip


def _refused(detail: str, *, status: int = 403, challenge: str | None = None) -> BatchError:
    headers = () if challenge is None else (("WWW-Authenticate", challenge),)
    return BatchError(
        "AuthenticationFailed",
        ("AuthenticationErrorDetail", detail),
        status=status,
        headers=headers,
    )


class Tokens:
    """Issues, checks and revokes bearer tokens."""

    def __init__(self, seed: int, lifetime_seconds: float = 3600.0) -> None:
        """Issue tokens of this lifetime; the identity header is made from the seed."""
        self.lifetime_seconds = lifetime_seconds
        self.identity_header = fake_secret(seed, "identity")[:32]
        self._seed = seed
        self._lock = threading.Lock()
        self._expiry: dict[str, float] = {}
        self._revoked: set[str] = set()
        self._issued = 0

    def issue(self, resource: str, now: float) -> tuple[str, int]:
        """Return a new token and its expiry in epoch seconds.

        It has a JWT's shape, for clients that parse tokens.
        """
        with self._lock:
            self._issued += 1
            number = self._issued
            expires = int(now + self.lifetime_seconds)
            claims = {"aud": resource, "exp": expires, "iat": int(now), "jti": str(number)}
            parts = [
                base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
                for part in ({"alg": "none", "typ": "JWT"}, claims)
            ]
            secret = fake_secret(self._seed, "token", number).replace("+", "-")
            token = ".".join([*parts, secret.replace("/", "_").rstrip("=")])
            self._expiry[token] = now + self.lifetime_seconds
            return token, expires

    def revoke(self) -> None:
        """Revoke every token issued so far."""
        with self._lock:
            self._revoked.update(self._expiry)

    def check(self, request: Request, now: float) -> None:
        """Raise AuthenticationFailed (401) unless the request's bearer token is valid.

        A revoked token is answered with a claims challenge, which azure-core handles itself.
        """
        token = request.headers.get("authorization", "").partition(" ")[2].strip()
        challenge = (
            'Bearer authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"'
        )
        with self._lock:
            if token in self._revoked:
                claims = {"access_token": {"nbf": {"essential": True, "value": str(int(now))}}}
                encoded = base64.b64encode(json.dumps(claims).encode()).decode()
                challenge += f', error="insufficient_claims", claims="{encoded}"'
                raise _refused("The access token was revoked.", status=401, challenge=challenge)
            expires = self._expiry.get(token)
        if expires is None or expires <= now:
            detail = "The access token is not known." if expires is None else (
                "The access token has expired."
            )  # fmt: skip
            raise _refused(detail, status=401, challenge=challenge + ', error="invalid_token"')

    def reply(self, request: Request, now: float) -> Reply:
        """Answer the token endpoint as App Service's managed identity does."""
        problem = None
        if request.headers.get("x-identity-header") != self.identity_header:
            problem = (401, "unauthorized_client", "X-Identity-Header is missing or wrong")
        elif request.query.get("api-version") != "2019-08-01":
            problem = (400, "invalid_request", "the api-version must be 2019-08-01")
        elif request.query.get("resource", "").rstrip("/") not in RESOURCES:
            problem = (400, "invalid_resource", "the resource is not Azure Batch")
        if problem is not None:
            status, code, text = problem
            body = {"error": code, "error_description": text}
            return Reply(status, json.dumps(body).encode(), content_type="application/json")
        resource = request.query["resource"]
        token, expires = self.issue(resource, now)
        body = {
            "access_token": token,
            "expires_on": str(expires),
            "resource": resource,
            "token_type": "Bearer",
        }
        return Reply(200, json.dumps(body).encode(), content_type="application/json")


def check_access(
    request: Request, account: str, key: str | None, tokens: Tokens, now: float
) -> None:
    """Raise AuthenticationFailed unless the request has a valid signature or token.

    An account without a key takes no signatures, like accounts in user-subscription mode.
    """
    scheme = request.headers.get("authorization", "").partition(" ")[0].lower()
    if scheme == "sharedkey":
        if key is None:
            raise _refused("Shared Key is not allowed for this account.")
        check_shared_key(request, account, key, now)
    elif scheme == "bearer":
        tokens.check(request, now)
    else:
        challenge = (
            'Bearer authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"'
        )
        raise _refused("The request has no Authorization header.", status=401, challenge=challenge)


def is_base64(text: str) -> bool:
    """Return whether a text is base64, as an account key must be."""
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return True
