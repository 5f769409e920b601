"""A request, read from a WSGI environment."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

_ROUTES = (
    ("pools", re.compile(r"/pools")),
    ("pool", re.compile(r"/pools/([^/]+)")),
    ("nodes", re.compile(r"/pools/([^/]+)/nodes")),
    ("node", re.compile(r"/pools/([^/]+)/nodes/([^/]+)")),
    ("files", re.compile(r"/pools/([^/]+)/nodes/([^/]+)/files/?")),
    ("file", re.compile(r"/pools/([^/]+)/nodes/([^/]+)/files/(.+)", re.DOTALL)),
    ("nodecounts", re.compile(r"/nodecounts")),
    ("poolusagemetrics", re.compile(r"/poolusagemetrics")),
    ("supportedimages", re.compile(r"/supportedimages")),
    ("token", re.compile(r"/msi/token")),
)


@dataclass(frozen=True)
class Request:
    """One request. ``query`` holds each parameter's first value by lower-case name."""

    method: str
    base: str  # scheme, host and port, without a slash at the end
    raw_path: str
    raw_query: str
    route: str | None
    pool_id: str | None
    node_id: str | None
    file_path: str | None
    query: dict[str, str]
    headers: dict[str, str]  # by lower-case name
    remote: str

    @property
    def path(self) -> str:
        """The decoded path, whatever its encoding."""
        return unquote(self.raw_path)

    @property
    def accepts_gzip(self) -> bool:
        """Return whether the client takes a gzip body."""
        for part in self.headers.get("accept-encoding", "").split(","):
            name, _, weight = part.strip().partition(";")
            if name.strip().lower() in ("gzip", "*"):
                return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
        return False


def read_request(environ: dict[str, Any]) -> Request:
    """Read a request from a WSGI environment; an unknown path has no route."""
    path = environ.get("PATH_INFO", "/").encode("latin-1", "replace").decode("utf-8", "replace")
    raw_path = environ.get("REQUEST_URI") or quote(path, safe="/:@!$&'()*+,;=~-._")
    raw_path = re.sub(r"^https?://[^/]*", "", str(raw_path)).partition("?")[0]
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    host = headers.get("host") or f"{environ.get('SERVER_NAME')}:{environ.get('SERVER_PORT')}"
    raw_query = environ.get("QUERY_STRING", "")
    query: dict[str, str] = {}
    for name, value in parse_qsl(raw_query, keep_blank_values=True):
        query.setdefault(name.lower(), value)  # the official client writes timeOut and startTime
    route, pool_id, node_id, file_path = _route(path)
    return Request(
        method=environ.get("REQUEST_METHOD", "GET"),
        base=f"{environ.get('wsgi.url_scheme', 'http')}://{host}",
        raw_path=raw_path,
        raw_query=raw_query,
        route=route,
        pool_id=pool_id,
        node_id=node_id,
        file_path=file_path,
        query=query,
        headers=headers,
        remote=environ.get("REMOTE_ADDR", ""),
    )


def _route(path: str) -> tuple[str | None, str | None, str | None, str | None]:
    for name, pattern in _ROUTES:
        found = pattern.fullmatch(path)
        if found:
            # servers do not decode %2F in the path, so that it is no separator
            names = [unquote(group) for group in found.groups()] + [None] * 3
            return name, names[0], names[1], names[2]
    return None, None, None, None
