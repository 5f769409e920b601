"""Pages: maxresults, and opaque skip tokens.

A token holds the item to continue after, so nodes that join or leave between two pages move no
other. It is scrambled, signed with the account's key, and partly percent-encoded in the nextLink
("^" is, "/", "=" and ":" are not), as in recordings.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from .replies import BatchError, Reply, bad_parameter
from .requests import Request

encode = msgspec.json.Encoder().encode

_PREFIX, _SUFFIX = "WATV2:", ":1$1"


def page_size(request: Request, most: int) -> int:
    """Return maxresults, 1 to ``most`` (also the default); raises for any other value."""
    text = request.query.get("maxresults")
    if text is None:
        return most
    try:
        wanted = int(text)
    except ValueError:
        raise bad_parameter("maxresults", text, "MaxResults must be an integer") from None
    if wanted < 1:
        raise bad_parameter("maxresults", text, "MaxResults cannot be less than 1")
    if wanted > most:
        raise bad_parameter("maxresults", text, f"MaxResults cannot be greater than {most}")
    return wanted


def _scramble(data: bytes, key: str, path: str) -> bytes:
    pad = b""
    while len(pad) < len(data):
        pad += hashlib.sha256(f"{key}/{path}/{len(pad)}".encode()).digest()
    return bytes(a ^ b for a, b in zip(data, pad, strict=False))


def skip_token(after: str, page: int, key: str, path: str) -> str:
    """Return the token of the page that starts after an item; ``page`` counts from 1."""
    data = json.dumps([after, page]).encode()
    signature = hmac.new(key.encode(), path.encode() + data, hashlib.sha256).digest()[:12]
    text = base64.b64encode(signature + _scramble(data, key, path)).decode().replace("+", "^")
    return f"{_PREFIX}{text}{_SUFFIX}"


def read_skip_token(request: Request, key: str) -> tuple[str, int]:
    """Return (item to continue after, page number) of a request; ("", 1) for the first page."""
    token = request.query.get("$skiptoken")
    if token is None:
        return "", 1
    path = request.path
    try:
        if not (token.startswith(_PREFIX) and token.endswith(_SUFFIX)):
            raise ValueError
        text = token[len(_PREFIX) : -len(_SUFFIX)].replace("^", "+")
        raw = base64.b64decode(text, validate=True)
        data = _scramble(raw[12:], key, path)
        signature = hmac.new(key.encode(), path.encode() + data, hashlib.sha256).digest()[:12]
        if not hmac.compare_digest(signature, raw[:12]):
            raise ValueError
        after, page = json.loads(data)
    except ValueError:
        raise bad_parameter("$skiptoken", token, "The skip token is invalid") from None
    return str(after), int(page)


def next_link(request: Request, token: str) -> str:
    """Return the absolute link to the next page: the request's own query and the token."""
    kept = [
        part
        for part in request.raw_query.split("&")
        if part and unquote(part.partition("=")[0]).lower() != "$skiptoken"
    ]
    query = "&".join([*kept, f"$skiptoken={quote(token, safe='/:=$')}"])
    return f"{request.base}{request.raw_path}?{query}"


def page_number(request: Request, key: str) -> int:
    """Return the page number of a request, from 1; 1 for an invalid token."""
    try:
        return read_skip_token(request, key)[1]
    except BatchError:
        return 1


def envelope(request: Request, kind: str, items: Iterable[bytes], token: str | None) -> Reply:
    """Return the reply for a page of encoded items."""
    head = encode(f"{request.base}/$metadata#{kind}")
    body = b'{"odata.metadata":' + head + b',"value":[' + b",".join(items) + b"]"
    if token is not None:
        body += b',"odata.nextLink":' + encode(next_link(request, token))
    return Reply(200, body + b"}")


def numbered_page(
    request: Request, kind: str, rows: Sequence[dict[str, Any]], size: int, key: str
) -> Reply:
    """Return a page of a list that does not change: its token counts the rows before it."""
    after, page = read_skip_token(request, key)
    skipped = int(after) if after else 0
    token = None
    if len(rows) > skipped + size:
        token = skip_token(str(skipped + size), page + 1, key, request.path)
    return envelope(request, kind, map(encode, rows[skipped : skipped + size]), token)
