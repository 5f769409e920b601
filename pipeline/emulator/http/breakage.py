"""What a fault does to a reply: errors in its place, odd content, broken bytes."""

import functools
import gzip
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from ..faults import Fault
from ..times import SECOND, http_date
from .paging import next_link, skip_token
from .replies import Reply, ServiceError, error_body
from .requests import Request

Json = dict[str, Any]


class ConnectionDropped(ConnectionResetError):
    """The server hangs up in the middle of a body: no error of the program's own."""


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
    """Return what an error kind answers in the service's place, or raise its ServiceError."""
    if fault.kind == "html_page":
        status = fault.status or 502
        return Reply(status, _HTML % status, _retry_after(fault, now), content_type="text/html")
    if fault.kind == "empty_body":
        return Reply(fault.status or 200, b"")
    error = ServiceError(_CODES[fault.kind], headers=_retry_after(fault, now))
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


# ---- odd content: whole JSON that says something else


@dataclass(frozen=True)
class _Page:
    """Where a page comes from: its request, its number, and the key that signs its links."""

    request: Request
    number: int
    key: str


def change_content(
    faults: list[Fault], request: Request, reply: Reply, number: int, key: str
) -> Reply:
    """Return the reply with the content faults worked into its JSON.

    ``number`` is the page's, from 1; ``key`` is the account's.
    """
    if not isinstance(reply.body, bytes) or reply.status != 200:
        return reply
    if request.route == "file":
        return _change_file(faults, request, reply)
    document = json.loads(reply.body)
    page = _Page(request, number, key)
    for fault in faults:
        _CONTENT[fault.kind](fault, document, page)
    return replace(reply, body=json.dumps(document).encode())


def _change_file(faults: list[Fault], request: Request, reply: Reply) -> Reply:
    """Return a file's bytes with planted secrets at their end; no other kind is for files."""
    body = reply.body
    for fault in faults:
        if fault.kind == "planted_secrets" and request.method == "GET" and isinstance(body, bytes):
            body += b"\n" + _secret_text().encode() + b"\n"
    return replace(reply, body=body)


def _items(fault: Fault, document: Json) -> list[Json]:
    """Return the nodes (or other items) of a reply that a fault is for."""
    items: list[Json] = document.get("value", [document])
    if fault.node is not None:
        return [item for item in items if item.get("id") == fault.node]
    return items[: fault.count]


def _link_to(fault: Fault, document: Json, page: _Page) -> None:
    """Lead the next page elsewhere; a last page gets such a link too."""
    request = page.request
    parts = urlsplit(request.base)
    link = document.get("odata.nextLink")
    if link is None:
        link = f"{request.base}{request.raw_path}?{request.raw_query}&$skiptoken=WATV2:lost:1$1"
    scheme, netloc = parts.scheme, parts.netloc
    if fault.kind == "next_link_host":
        netloc = fault.host
    elif fault.kind == "next_link_port":
        netloc = f"{parts.hostname}:{(parts.port or 443) + 1}"
    else:
        scheme = "http" if scheme == "https" else "https"
    document["odata.nextLink"] = link.replace(request.base, f"{scheme}://{netloc}", 1)


def _loop(fault: Fault, document: Json, page: _Page) -> None:
    request = page.request
    document["odata.nextLink"] = f"{request.base}{request.raw_path}?{request.raw_query}"


def _wrong_types(fault: Fault, document: Json, page: _Page) -> None:
    for item in _items(fault, document):
        item["totalTasksRun"] = "12"
        item["allocationTime"] = 5
        item["recentTasks"] = {}


def _missing_id(fault: Fault, document: Json, page: _Page) -> None:
    for item in _items(fault, document):
        item.pop("id", None)


def _unknown_fields(fault: Fault, document: Json, page: _Page) -> None:
    for item in _items(fault, document):
        item["healthScore"] = 0.97
        item["rackInfo"] = {"row": 4, "tags": ["a", "b"], "owner": {"name": "hall-2"}}
        if isinstance(item.get("startTask"), dict):
            item["startTask"]["priorityClass"] = "high"
        for task in item.get("recentTasks") or []:
            task["traceId"] = "00-4bf92f3577b34da6"
            task["executionInfo"]["peakMemoryBytes"] = 123456789


def _unknown_enums(fault: Fault, document: Json, page: _Page) -> None:
    for item in _items(fault, document):
        item["state"] = "hibernating"
        item["schedulingState"] = "draining"
        if "startTaskInfo" in item:
            item["startTaskInfo"]["result"] = "skipped"
        for task in item.get("recentTasks") or []:
            task["taskState"] = "suspended"


def _explicit_nulls(fault: Fault, document: Json, page: _Page) -> None:
    for item in _items(fault, document):
        item["affinityId"] = None
        item["errors"] = None
        item["virtualMachineInfo"] = None
        if "startTask" in item:
            item["startTask"]["userIdentity"] = None
        if "startTaskInfo" in item:
            item["startTaskInfo"]["failureInfo"] = None


def _empty_containers(fault: Fault, document: Json, page: _Page) -> None:
    for item in _items(fault, document):
        item["recentTasks"] = []
        item["errors"] = []
        item["virtualMachineInfo"] = {}
        item["endpointConfiguration"] = {"inboundEndpoints": []}
        if "startTask" in item:
            item["startTask"]["resourceFiles"] = []
            item["startTask"]["containerSettings"] = {
                "imageName": "farm/base", "containerHostBatchBindMounts": [],
            }  # fmt: skip


#: Made-up secrets in the forms in which real ones leak; tests look for them by these values.
PLANTED_SECRETS = (
    "cGxhbnRlZC1zYXMtc2lnbmF0dXJlLTAwMDAwMDAwMDA=",
    "cGxhbnRlZC1hY2NvdW50LWtleS0wMDAwMDAwMDAwMDA=",
    "cGxhbnRlZC1zaGFyZWQtYWNjZXNzLWtleS0wMDAwMDA=",
    "planted.bearer.token-0000000000",
    "planted-password-in-url",
    "planted-password-argument",
    "planted-env-value",
)


def _secret_text() -> str:
    sas, key, shared, bearer, in_url, argument, value = PLANTED_SECRETS
    quoted = sas.replace("=", "%3D")
    return (
        f"GET https://store.blob.core.windows.net/c/b?sv=2024-11-04&sr=b&sig={quoted} failed;"
        f" AccountName=store;AccountKey={key};EndpointSuffix=core.windows.net;"
        f" Endpoint=sb://bus.example/;SharedAccessKeyName=all;SharedAccessKey={shared};"
        f" Authorization: Bearer {bearer};"
        f" git clone https://bot:{in_url}@git.example/repo.git;"
        f" login --user bot --password {argument}; docker run -e TOKEN={value} --env KEY={value}"
    )


def _planted_secrets(fault: Fault, document: Json, page: _Page) -> None:
    text, argument = _secret_text(), PLANTED_SECRETS[5]
    details = [{"name": "Output", "value": text}]
    for item in _items(fault, document):
        if "allocationState" in item:  # a pool
            error = {"code": "AllocationFailed", "message": text, "values": details}
            item["resizeErrors"] = [error]
            item["autoScaleRun"] = {
                "timestamp": item["lastModified"], "results": f"$note={text}", "error": error
            }  # fmt: skip
            continue
        item["errors"] = [
            {
                "code": "SetupFailed",
                "message": text,
                "errorDetails": details,
            }
        ]
        item["operatorNote"] = {"text": text, "password": argument}
        if isinstance(item.get("startTask"), dict):
            item["startTask"]["commandLine"] = text


def _duplicate_nodes(fault: Fault, document: Json, page: _Page) -> None:
    """Repeat nodes: the next page begins with this one's last; a single page repeats its own."""
    items = document.get("value")
    if not isinstance(items, list) or not items:
        return
    kept = len(items) - fault.count
    if "odata.nextLink" in document and kept > 0 and "id" in items[kept - 1]:
        request = page.request
        token = skip_token(items[kept - 1]["id"], page.number + 1, page.key, request.path)
        document["odata.nextLink"] = next_link(request, token)
    elif page.number == 1:
        document["value"] = items + items[-fault.count :]


def _vanishing_nodes(fault: Fault, document: Json, page: _Page) -> None:
    items = document.get("value")
    if isinstance(items, list) and page.number > 1:  # the first page has been sent before they went
        document["value"] = items[fault.count :]


def _mutate(fault: Fault, document: Json, page: _Page) -> None:
    for item in _items(fault, document):
        fault.mutate(item)


_CONTENT: dict[str, Callable[[Fault, Json, _Page], None]] = {
    "next_link_host": _link_to,
    "next_link_port": _link_to,
    "next_link_scheme": _link_to,
    "next_link_loop": _loop,
    "wrong_types": _wrong_types,
    "missing_id": _missing_id,
    "duplicate_nodes": _duplicate_nodes,
    "vanishing_nodes": _vanishing_nodes,
    "unknown_fields": _unknown_fields,
    "unknown_enums": _unknown_enums,
    "explicit_nulls": _explicit_nulls,
    "empty_containers": _empty_containers,
    "planted_secrets": _planted_secrets,
    "mutate": _mutate,
}


# ---- broken bytes


def unpacked(reply: Reply) -> Reply:
    """Return the reply with its body as it was before compression."""
    if reply.encoding == "gzip" and isinstance(reply.body, bytes):
        return replace(reply, body=gzip.decompress(reply.body), encoding=None)
    return reply


def break_body(fault: Fault, reply: Reply) -> Reply:
    """Return the reply with a wire fault worked into its bytes.

    Drops and slow bodies are done by ``in_pieces`` after compression.
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
    """Yield a body made ``size`` bytes long by white space, which JSON allows after "{"."""
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
    # A block flushed whole stands on its own, so the same few kilobytes can be sent over and
    # over in one deflate stream; only the checksum needs the length.
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
    """Yield a gzip body of a few kilobytes a block that unpacks to about ``size`` bytes.

    Unpacked it is a valid page without a node: only its size is wrong.
    """
    begin, block, finish, blocks = _bomb(size)
    yield begin
    for _ in range(blocks):
        yield block
    yield finish


def in_pieces(
    body: bytes, faults: list[Fault], sleep: Callable[[float], None] = time.sleep
) -> bytes | Iterator[bytes]:
    """Return the bytes as they go over the wire: at once, slowly, or cut off."""
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
        raise ConnectionDropped("connection dropped on order")
