"""Applies faults to a reply's JSON: valid documents with content that clients do not expect."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from ..faults import Fault
from .paging import next_link, skip_token
from .replies import Reply
from .requests import Request

Json = dict[str, Any]


@dataclass(frozen=True)
class _Page:
    """A page: its request, its number, and the key that signs its links."""

    request: Request
    number: int
    key: str


def change_content(
    faults: list[Fault], request: Request, reply: Reply, number: int, key: str
) -> Reply:
    """Return the reply with the content faults applied to its JSON.

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
    """Return a file's bytes with planted secrets at their end; other kinds do not apply to files."""
    body = reply.body
    for fault in faults:
        if fault.kind == "planted_secrets" and request.method == "GET" and isinstance(body, bytes):
            body += b"\n" + _secret_text().encode() + b"\n"
    return replace(reply, body=body)


def _items(fault: Fault, document: Json) -> list[Json]:
    """Return the nodes (or other items) of a reply that a fault changes."""
    items: list[Json] = document.get("value", [document])
    if fault.node is not None:
        return [item for item in items if item.get("id") == fault.node]
    return items[: fault.count]


def _link_to(fault: Fault, document: Json, page: _Page) -> None:
    """Replace the next link; a last page gets one too."""
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


#: Made-up secrets in the forms in which real ones leak; tests search for these values.
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
    """Repeat nodes: the next page begins with the last of this one; a single page repeats its own."""
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
    if isinstance(items, list) and page.number > 1:  # the first page was sent before they left
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
