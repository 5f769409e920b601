"""Files on nodes: listed, their properties (HEAD), and their bytes, whole or a range."""

import re
from typing import Any

from ..fleet.node_files import NodeFile, node_files
from ..fleet.nodes import Node
from ..fleet.pools import Pool
from ..streams import digest
from ..times import http_date, service_time
from .conditions import check_conditions
from .odata import FILES, read_filter
from .paging import numbered_page
from .replies import BatchError, Headers, Reply, bad_parameter
from .requests import Request
from .versions import for_version

Json = dict[str, Any]

#: State → the error of a file request to such a node. No recording shows the real ones.
_REFUSALS = {
    "creating": "NodeBeingCreated",
    "starting": "NodeBeingStarted",
    "rebooting": "NodeBeingRebooted",
    "reimaging": "NodeBeingReimaged",
    "unusable": "NodeStateUnusable",
    "unknown": "NodeStateUnusable",
    "leavingpool": "NodeNotReady",
    "preempted": "OperationInvalidForCurrentState",
    "deallocated": "OperationInvalidForCurrentState",
    "deallocating": "OperationInvalidForCurrentState",
    "upgradingos": "OperationInvalidForCurrentState",
}


def check_reachable(pool: Pool, node: Node) -> None:
    """Raise the service's 409 unless the node's agent can serve files now."""
    if pool.state == "deleting":
        raise BatchError("PoolBeingDeleted")
    code = _REFUSALS.get(node.state)
    if code is not None:
        raise BatchError(code, ("Reason", f"The node is in state {node.state}"))


def list_files(request: Request, version: str, node: Node, now: int, size: int, key: str) -> Reply:
    """Return the requested page of a node's files."""
    test = read_filter(request.query.get("$filter"), FILES)
    recursive = request.query.get("recursive", "false").strip().lower()
    if recursive not in ("true", "false"):
        raise bad_parameter("recursive", recursive, "The value is not a boolean")
    rows = [
        _document(request, version, node, file)
        for file in node_files(node, now)
        if recursive == "true" or "/" not in file.path
    ]
    if test is not None:
        rows = [row for row in rows if test(row)]
    return numbered_page(request, "files", rows, size, key)


def _url(request: Request, node: Node, file: NodeFile) -> str:
    return f"{request.base}/pools/{node.plan.config.id}/nodes/{node.id}/files/{file.path}"


def _is_windows(node: Node) -> bool:
    return node.plan.config.profile == "windows"


def _document(request: Request, version: str, node: Node, file: NodeFile) -> Json:
    name = file.path.replace("/", "\\") if _is_windows(node) else file.path
    document: Json = {
        "name": name,
        "url": _url(request, node, file),
        "isDirectory": file.is_directory,
    }
    if file.content is not None:
        properties: Json = {}
        if _is_windows(node):
            properties["creationTime"] = service_time(file.created_at)
        properties["lastModified"] = service_time(file.modified_at)
        properties["contentLength"] = len(file.content)
        properties["contentType"] = "text/plain"
        if not _is_windows(node):
            properties["fileMode"] = "0o100644"
        document["properties"] = properties
    return for_version("file", document, version)


def get_file(request: Request, node: Node, now: int) -> Reply:
    """Answer GET (the bytes, or those of ocp-range) and HEAD (the properties) of a file."""
    wanted = (request.file_path or "").replace("\\", "/").strip("/")
    files = {file.path: file for file in node_files(node, now)}
    file = files.get(wanted)
    if file is None or (file.is_directory and request.method == "GET"):
        parent = wanted.rpartition("/")[0]
        is_known = not parent or (parent in files and files[parent].is_directory)
        raise BatchError("FileNotFound" if is_known else "PathNotFound")
    tag = digest("file", node.id, file.path, file.modified_at, len(file.content or b"")).hex()
    etag = f"0x8D{tag[:12].upper()}"
    headers: Headers = [("ETag", etag), ("Last-Modified", http_date(file.modified_at))]
    check_conditions(request, etag, file.modified_at, headers, by_tag=False)
    if _is_windows(node):
        headers.append(("ocp-creation-time", http_date(file.created_at)))
    else:
        headers.append(("ocp-batch-file-mode", "0o40755" if file.is_directory else "0o100644"))
    headers += [
        ("ocp-batch-file-isdirectory", str(file.is_directory).lower()),
        ("ocp-batch-file-url", _url(request, node, file)),
    ]
    content = file.content or b""
    if request.method == "HEAD":
        headers.append(("Content-Length", str(len(content))))
        return Reply(200, b"", headers, content_type="text/plain")
    part = _range(request, len(content))
    return Reply(200, content[part], headers, content_type="text/plain", has_length=True)


def _range(request: Request, length: int) -> slice:
    """Return the bytes of ocp-range, both ends included; all of them without one."""
    text = request.headers.get("ocp-range")
    if text is None:
        return slice(None)
    found = re.fullmatch(r"bytes=(\d{1,18})-(\d{0,18})", text.strip())
    if found is None:
        raise BatchError("InvalidHeaderValue", ("HeaderName", "ocp-range"), ("HeaderValue", text))
    first = int(found[1])
    last = int(found[2]) if found[2] else length - 1
    if first >= length or last < first:
        raise BatchError("InvalidRange")
    return slice(first, last + 1)
