"""Reads bodies of responses within bounds, checks that they are whole, recognises errors."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import httpx
import msgspec
from isal import isal_zlib

from pipeline.extract.envelope import (
    Envelope,
    TooManyElements,
    check_count,
    check_utf8,
    prove,
    shallow,
)
from pipeline.extract.errors import BadResponse
from pipeline.redact import DEFAULT, redact_text

T = TypeVar("T")

# Bytes of an error body that are read for its message.
MAX_ERROR_BYTES = 64 * 1024


class _Listing(msgspec.Struct):
    # Raw: an item is checked to be JSON and not parsed further. A number out of range (2^70) makes
    # its node malformed, not the page, so numbers are not converted here.
    value: list[msgspec.Raw]
    next_link: str | None = msgspec.field(default=None, name="odata.nextLink")


class _Single(msgspec.Struct):
    code: msgspec.Raw | None = None
    message: msgspec.Raw | None = None


class _Text(msgspec.Struct):
    value: str | None = None


class _Detail(msgspec.Struct):
    key: str | None = None
    value: str | None = None


class _Error(msgspec.Struct):
    # The OpenAPI requires no member of an error. Only the code is interpreted.
    code: str
    message: _Text | str | None = None
    values: list[_Detail | None] | None = None


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")

_LISTING = msgspec.json.Decoder(_Listing)
_SINGLE = msgspec.json.Decoder(_Single)
_ERROR = msgspec.json.Decoder(_Error)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """An error of the service: BatchError in the OpenAPI."""

    code: str
    message: str
    request_id: str | None


def read_body(response: httpx.Response, max_bytes: int, check: Callable[[], None]) -> bytes:
    """Return the decoded body of at most `max_bytes`, on the wire and decompressed.

    `check` is called for each chunk and may raise. Raises BadResponse, and httpx's own errors.
    httpx could decompress a chunk of 64 KB to 64 MB before anyone counts it, so raw chunks are
    decompressed here, up to the bound.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("gzip", "x-gzip", "identity", ""):
        raise BadResponse(
            "BadEncoding", f"a body encoded as {redact_text(encoding)[:40]!r} was not asked for"
        )
    if encoding in ("gzip", "x-gzip"):
        return b"".join(_inflate(response.iter_raw(), max_bytes, check))
    return b"".join(_bounded(response.iter_raw(), max_bytes, check))


def _bounded(chunks: Iterator[bytes], max_bytes: int, check: Callable[[], None]) -> Iterator[bytes]:
    received = 0
    for chunk in chunks:
        check()
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _inflate(chunks: Iterator[bytes], max_bytes: int, check: Callable[[], None]) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj(isal_zlib.MAX_WBITS | 16)
    left = max_bytes
    is_empty = True
    for chunk in _bounded(chunks, max_bytes, check):
        is_empty = is_empty and not chunk
        try:
            plain = inflater.decompress(chunk, left + 1)
        except isal_zlib.error:  # type: ignore[misc]  # a class, which its stub does not say
            raise BadResponse("BadEncoding", "the body is not valid gzip") from None
        left -= len(plain)
        if left < 0:
            raise _too_large(max_bytes)
        yield plain
    if inflater.unused_data:
        raise BadResponse("BadEncoding", "something follows the end of the gzip body")
    if not (inflater.eof or is_empty):
        raise BadResponse("Truncated", "the gzip body ends early")


def _too_large(max_bytes: int) -> BadResponse:
    # A retry would bring the same.
    return BadResponse(
        "TooLarge", f"the body is larger than {max_bytes:,} bytes", is_transient=False
    )


class CheckedBody(NamedTuple):
    """The nextLink of a checked body, None on the last page; and its envelope where it is regular."""

    next_link: str | None = None
    envelope: Envelope | None = None


def read_listing(body: bytes) -> CheckedBody:
    """Check a page of a listing.

    Raises BadResponse unless the body is exactly one JSON object with a list `value`.
    """
    try:
        try:
            envelope = prove(body)
        except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
            # The error may be in an element, and the envelope valid.
            listing = _decode(_LISTING, body)
            check_count(listing.value)
            return CheckedBody(listing.next_link or None)
    except TooManyElements as error:
        raise BadResponse("TooManyElements", str(error), is_transient=False) from None
    return CheckedBody(envelope.next_link or None, envelope)


def read_single(body: bytes) -> CheckedBody:
    """Check the body of a single pool or node.

    Raises BadResponse unless it is one JSON object that is not an error: pools and nodes never have
    both a code and a message.
    """
    single = _decode(_SINGLE, body)
    if single.code is not None and single.message is not None:
        raise BadResponse("NotAPage", "an error object in place of the answer")
    return CheckedBody()


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    if not body.strip():
        raise BadResponse("EmptyBody", "the body is empty")
    try:
        check_utf8(body)
        try:
            return decoder.decode(body)
        except RecursionError:
            return decoder.decode(shallow(body))
        except msgspec.DecodeError:
            # A lone surrogate makes its node malformed, not the page.
            if not (repaired := _SURROGATE.subn(rb"\\ufffd", body))[1]:
                raise
            return decoder.decode(repaired[0])
    except UnicodeDecodeError:
        raise BadResponse("NotUtf8", "the body is not UTF-8") from None
    except msgspec.ValidationError as error:
        raise BadResponse("NotAPage", f"not the expected object: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        # Text that is not JSON, such as a proxy's page, shows its source.
        hint = "" if body.lstrip().startswith((b"{", b"[")) else f"; it says: {error_text(body)!r}"
        raise BadResponse("MalformedJson", f"the body is not whole JSON: {error}{hint}") from None


def find_error(body: bytes, *, is_refusal: bool = False) -> ErrorBody | None:
    """Return the service's error in this body, None where it is not one.

    Where the status shows an error, a code alone is enough.
    """
    try:
        error = _ERROR.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if error.message is None and not is_refusal:
        return None
    said = error.message.value if isinstance(error.message, _Text) else error.message
    text = said or ""
    # Every message ends with lines RequestId:… and Time:…
    request_id = re.search(r"^RequestId:\s*(\S+)", text, re.MULTILINE)
    text = re.sub(r"^(?:RequestId|Time):.*$", "", text, flags=re.MULTILINE)
    parts = [text, *(_detail_text(each) for each in error.values or () if each is not None)]
    message = "; ".join(" ".join(part.split()) for part in parts if part) or "no message"
    return ErrorBody(error.code, message, request_id[1] if request_id else None)


def _detail_text(detail: _Detail) -> str:
    """A detail as text; empty where it has no value."""
    if not detail.value:
        return ""
    return f"{detail.key}: {detail.value}" if detail.key else detail.value


def error_text(body: bytes) -> str:
    """Return the essential text of an error page that is not JSON, such as a proxy's HTML."""
    text = body[:MAX_ERROR_BYTES].decode("utf-8", "replace")
    if text.lstrip()[:1] in ("{", "["):
        # It may be a page of nodes. Redaction needs whole JSON: names of members show secrets.
        try:
            text = json.dumps(DEFAULT.json(json.loads(text)), separators=(",", ":"))
        except (ValueError, RecursionError):
            return "JSON that is cut short"
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.IGNORECASE | re.DOTALL)
    text = title[1] if title else re.sub(r"<[^>]*>", " ", text)
    return redact_text(" ".join(text.split()))[:200] or "no text"


def strip_bom(body: bytes) -> bytes:
    """Drop a byte order mark, which some proxies add and most JSON readers refuse."""
    return body.removeprefix(codecs.BOM_UTF8)
