"""Applies faults to replies: errors in place of answers, and damaged bytes."""

import functools
import gzip
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ..faults import Fault
from ..times import SECOND, http_date
from .replies import BatchError, Reply, error_body
from .requests import Request

Json = dict[str, Any]


class ConnectionDropped(ConnectionResetError):
    """A fault closes the connection in the middle of a body."""


_CODES = {
    "throttle": "TooManyRequests",
    "busy": "ServerBusy",
    "internal_error": "InternalError",
    "timed_out": "OperationTimedOut",
    "unauthorized": "AuthenticationFailed",
    "expired_token": "AuthenticationFailed",
    "forbidden": "Forbidden",
    "pool_not_found": "PoolNotFound",
    "node_not_found": "NodeNotFound",
    "file_not_found": "FileNotFound",
    "node_unusable": "NodeStateUnusable",
    "error_with_200": "InternalError",
}

_HTML = b"""<!DOCTYPE html>
<html><head><title>%d</title></head>
<body><h1>We are sorry</h1><p>The gateway had no answer. Reference #18.4f.</p></body></html>
"""


def answer_instead(fault: Fault, request: Request, now: int, request_id: str) -> Reply:
    """Return the reply of an error kind, or raise its BatchError."""
    if fault.kind == "html_page":
        status = fault.status or 502
        return Reply(status, _HTML % status, _retry_after(fault, now), content_type="text/html")
    if fault.kind == "empty_body":
        return Reply(fault.status or 200, b"")
    error = BatchError(_CODES[fault.kind], headers=_retry_after(fault, now))
    if fault.kind in ("unauthorized", "expired_token"):
        error.status = 401
        error.headers.append(("WWW-Authenticate", 'Bearer error="invalid_token"'))
    if fault.kind == "error_with_200":
        return Reply(200, error_body(request.base, error, request_id, http_date(now)))
    error.status = fault.status or error.status
    raise error


def _retry_after(fault: Fault, now: int) -> list[tuple[str, str]]:
    if fault.retry_after is None:
        return []
    if fault.retry_after == "http-date":
        return [("Retry-After", http_date(now + int(fault.seconds * SECOND)))]
    return [("Retry-After", fault.retry_after)]


# ---- broken bytes


def unpacked(reply: Reply) -> Reply:
    """Return the reply with its body decompressed."""
    if reply.encoding == "gzip" and isinstance(reply.body, bytes):
        return replace(reply, body=gzip.decompress(reply.body), encoding=None)
    return reply


def break_body(fault: Fault, reply: Reply) -> Reply:
    """Return the reply with a wire fault applied to its bytes.

    ``in_pieces`` applies drops and slow bodies, after compression.
    """
    body = reply.body
    if not isinstance(body, bytes):
        return reply
    if fault.kind == "truncated_json":
        end = len(body) // 2 if fault.bytes is None else fault.bytes
        return replace(reply, body=body[:end])
    if fault.kind == "malformed_json":
        return replace(reply, body=body.replace(b'":', b'"=', 1))
    if fault.kind == "two_documents":
        return replace(reply, body=body + b"\n" + body)
    if fault.kind == "gzip_bomb":
        size = 1 << 30 if fault.bytes is None else fault.bytes
        return replace(reply, body=gzip_bomb(size), encoding="gzip")
    if fault.kind == "oversized_body":
        size = 256 << 20 if fault.bytes is None else fault.bytes
        return replace(reply, body=_padded(body, size))
    return reply


_BLOCK = 1 << 24
_PIECE = 1 << 16


def _padded(body: bytes, size: int) -> Iterator[bytes]:
    """Yield a body of ``size`` bytes, padded with white space after "{"."""
    yield body[:1]
    left = max(0, size - len(body))
    while left:
        yield b" " * min(left, _PIECE)
        left -= min(left, _PIECE)
    yield body[1:]


@functools.lru_cache(maxsize=4)
def _bomb(size: int) -> tuple[bytes, bytes, bytes, int]:
    head, tail = b'{"odata.metadata":"bomb","value":[', b"]}"
    blocks = max(0, size - len(head) - len(tail)) // _BLOCK
    padding = b" " * _BLOCK
    # A block after a full flush is independent of those before, so one deflate stream can repeat
    # the same few kilobytes; only the checksum needs the length.
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = raw.compress(padding) + raw.flush(zlib.Z_FULL_FLUSH)
    checksum = zlib.crc32(head)
    for _ in range(blocks):
        checksum = zlib.crc32(padding, checksum)
    checksum = zlib.crc32(tail, checksum)
    length = len(head) + blocks * _BLOCK + len(tail)
    start = zlib.compressobj(9, zlib.DEFLATED, -15)
    begin = gzip.compress(b"", mtime=0)[:10] + start.compress(head)
    begin += start.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -15)
    finish = end.compress(tail) + end.flush()
    finish += struct.pack("<II", checksum, length & 0xFFFFFFFF)
    return begin, block, finish, blocks


def gzip_bomb(size: int) -> Iterator[bytes]:
    """Yield a gzip body, in blocks of a few kilobytes, that decompresses to about ``size`` bytes.

    Decompressed it is a valid page without nodes: only its size is wrong.
    """
    begin, block, finish, blocks = _bomb(size)
    yield begin
    for _ in range(blocks):
        yield block
    yield finish


def in_pieces(
    body: bytes, faults: list[Fault], sleep: Callable[[float], None] = time.sleep
) -> bytes | Iterator[bytes]:
    """Return the bytes as they are sent: at once, slowly, or cut off."""
    slow = next((fault for fault in faults if fault.kind == "slow_body"), None)
    drop = next((fault for fault in faults if fault.kind == "drop"), None)
    if slow is None and drop is None:
        return body
    return _pieces(body, slow, drop, sleep)


def _pieces(
    body: bytes, slow: Fault | None, drop: Fault | None, sleep: Callable[[float], None]
) -> Iterator[bytes]:
    end = len(body)
    if drop is not None:
        end = len(body) // 2 if drop.bytes is None else min(drop.bytes, len(body))
    count = 10 if slow is not None else 1
    step = max(1, -(-end // count))
    for at in range(0, end, step):
        if slow is not None and at:
            sleep(slow.seconds / count)
        yield body[at : min(at + step, end)]
    if drop is not None:
        raise ConnectionDropped("connection dropped by a fault")
