"""The read operations: from a request to the JSON of a reply. No faults, no sockets.

Paths, parameters and defaults are those of the published OpenAPI of 2024-07-01.20.0; the other
two api-versions differ from it as ``_for_version`` says.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from email.utils import parsedate_to_datetime
from operator import itemgetter
from typing import Any

import msgspec

from ..fleet.fleet import Fleet
from ..fleet.nodes import Node
from ..fleet.pools import Pool
from ..fleet.usage import INTERVAL
from ..times import HOUR, MINUTE, http_date, to_micros
from .odata import NODE_COUNTS, NODES, POOLS, USAGE, read_filter, read_select, read_time, select
from .paging import next_link, page_size, read_skip_token, skip_token
from .replies import Reply, ServiceError, bad_parameter
from .requests import Request

Json = dict[str, Any]

API_VERSIONS = ("2024-02-01.19.0", "2024-07-01.20.0", "2025-06-01")

_NODE_NAMES = frozenset({
    "id", "url", "state", "schedulingState", "stateTransitionTime", "lastBootTime",
    "allocationTime", "ipAddress", "ipv6Address", "affinityId", "vmSize", "totalTasksRun",
    "runningTasksCount", "runningTaskSlotsCount", "totalTasksSucceeded", "recentTasks",
    "startTask", "startTaskInfo", "certificateReferences", "errors", "isDedicated",
    "endpointConfiguration", "nodeAgentInfo", "virtualMachineInfo",
})  # fmt: skip
_POOL_NAMES = frozenset({
    "id", "displayName", "url", "eTag", "lastModified", "creationTime", "state",
    "stateTransitionTime", "allocationState", "allocationStateTransitionTime", "vmSize",
    "virtualMachineConfiguration", "resizeTimeout", "resizeErrors", "currentDedicatedNodes",
    "currentLowPriorityNodes", "targetDedicatedNodes", "targetLowPriorityNodes",
    "enableAutoScale", "autoScaleFormula", "autoScaleEvaluationInterval", "autoScaleRun",
    "enableInterNodeCommunication", "networkConfiguration", "startTask",
    "certificateReferences", "applicationPackageReferences", "taskSlotsPerNode",
    "taskSchedulingPolicy", "userAccounts", "metadata", "stats", "mountConfiguration",
    "identity", "targetNodeCommunicationMode", "currentNodeCommunicationMode", "upgradePolicy",
    "resourceTags",
})  # fmt: skip

_encode = msgspec.json.Encoder().encode


class Service:
    """Answers the six read operations from a fleet. Not safe between threads: the caller locks."""

    def __init__(self, fleet: Fleet, key: str, page_limit: int | None = None) -> None:
        """Serve a fleet; ``key`` keeps skip tokens from being made up.

        No page holds more than ``page_limit`` items, whatever a client asks for.
        """
        self.fleet = fleet
        self._page_limit = page_limit or 1000
        self._key = key
        self._routes: dict[str, Callable[[Request], Reply]] = {
            "pools": self._list_pools,
            "pool": self._get_pool,
            "nodes": self._list_nodes,
            "node": self._get_node,
            "nodecounts": self._list_counts,
            "poolusagemetrics": self._list_usage,
        }
        self._fragments: dict[tuple[str, str, str, str], tuple[int, int, bytes]] = {}

    def answer(self, request: Request) -> Reply:
        """Answer a request that is allowed; raises ``ServiceError`` for what cannot be done."""
        version = request.query.get("api-version")
        if version is None:
            raise ServiceError(
                "MissingRequiredQueryParameter", ("QueryParameterName", "api-version")
            )
        if version not in API_VERSIONS:
            reason = f"The api-versions known here are {', '.join(API_VERSIONS)}"
            raise bad_parameter("api-version", version, reason)
        if request.route not in self._routes:
            raise ServiceError("InvalidUri", status=404)
        if request.method != "GET":
            raise ServiceError("UnsupportedHttpVerb", headers=[("Allow", "GET")])
        _check_timeout(request)
        return self._routes[request.route](request)

    def _size(self, request: Request, most: int) -> int:
        return min(page_size(request, most), self._page_limit)

    def _pool(self, request: Request) -> Pool:
        pool = self.fleet.pool(request.pool_id or "")
        if pool is None:
            raise ServiceError("PoolNotFound")
        return pool

    def _envelope(
        self, request: Request, kind: str, items: Iterable[bytes], token: str | None
    ) -> Reply:
        head = _encode(f"{request.base}/$metadata#{kind}")
        body = b'{"odata.metadata":' + head + b',"value":[' + b",".join(items) + b"]"
        if token is not None:
            body += b',"odata.nextLink":' + _encode(next_link(request, token))
        return Reply(200, body + b"}")

    def _element(self, request: Request, kind: str, item: Json, headers: Any = ()) -> Reply:
        document = {"odata.metadata": f"{request.base}/$metadata#{kind}/@Element", **item}
        return Reply(200, _encode(document), list(headers))

    def _list_pools(self, request: Request) -> Reply:
        size = self._size(request, 1000)
        test = read_filter(request.query.get("$filter"), POOLS)
        paths = read_select(request.query.get("$select"), _POOL_NAMES)
        with_stats = _expands_stats(request)
        after, page = read_skip_token(request, self._key)
        items: list[bytes] = []
        last = ""
        for pool in self.fleet.pools():
            if after and pool.id <= after:
                continue
            document = self._pool_document(request, pool, with_stats=with_stats)
            if test is not None and not test(document):
                continue
            if len(items) == size:
                token = skip_token(last, page + 1, self._key, request.path)
                return self._envelope(request, "pools", items, token)
            items.append(_encode(select(document, paths)))
            last = pool.id
        return self._envelope(request, "pools", items, None)

    def _pool_document(self, request: Request, pool: Pool, *, with_stats: bool) -> Json:
        document = self.fleet.pool_document(pool, request.base, with_stats=with_stats)
        if request.query["api-version"] == "2025-06-01":
            for name in (
                "certificateReferences", "targetNodeCommunicationMode",
                "currentNodeCommunicationMode", "resourceTags",
            ):  # fmt: skip
                document.pop(name, None)
        return document

    def _get_pool(self, request: Request) -> Reply:
        paths = read_select(request.query.get("$select"), _POOL_NAMES)
        pool = self._pool(request)
        etag = self.fleet.pool_etag(pool)
        _, modified = self.fleet.pool_modified(pool)
        headers = [("ETag", etag), ("Last-Modified", http_date(modified))]
        _check_conditions(request, etag, modified, headers)
        document = self._pool_document(request, pool, with_stats=_expands_stats(request))
        return self._element(request, "pools", select(document, paths), headers)

    def _list_nodes(self, request: Request) -> Reply:
        size = self._size(request, 1000)
        test = read_filter(request.query.get("$filter"), NODES)
        paths = read_select(request.query.get("$select"), _NODE_NAMES)
        after, page = read_skip_token(request, self._key)
        pool = self._pool(request)
        items: list[bytes] = []
        last = ""
        places = self.fleet.places(pool)
        start = bisect_right(places, after, key=itemgetter(0)) if after else 0
        for number in range(start, len(places)):
            is_full = len(items) == size
            if test is not None or not is_full:
                node = self.fleet.node(pool, places[number])
            if test is not None and not test(self._node_document(request, node)):
                continue
            if is_full:
                token = skip_token(last, page + 1, self._key, request.path)
                return self._envelope(request, "nodes", items, token)
            items.append(self._node_bytes(request, node, paths))
            last = node.id
        return self._envelope(request, "nodes", items, None)

    def _node_document(self, request: Request, node: Node) -> Json:
        document = self.fleet.node_document(node, request.base)
        if request.query["api-version"] == "2025-06-01":
            document.pop("certificateReferences", None)
            if node.plan.config.profile == "windows":  # absent in every recording, so mostly here
                document["ipv6Address"] = f"fd00:20::{node.seat + 4:x}"
        return document

    def _node_bytes(self, request: Request, node: Node, paths: list[str] | None) -> bytes:
        """Return a node's JSON; followed nodes that did not change are not made anew."""
        if paths is not None or not self.fleet.keeps_truth:
            return _encode(select(self._node_document(request, node), paths))
        version = request.query["api-version"]
        key = (node.plan.config.id, node.id, request.base, version)
        known = self._fragments.get(key)
        if known is not None and known[:2] == (node.allocated_at, node.changes):
            return known[2]
        body = _encode(self._node_document(request, node))
        if len(self._fragments) > 30_000:  # nodes that have gone, hosts that asked once
            self._fragments.clear()
        self._fragments[key] = (node.allocated_at, node.changes, body)
        return body

    def _get_node(self, request: Request) -> Reply:
        paths = read_select(request.query.get("$select"), _NODE_NAMES)
        pool = self._pool(request)
        wanted = request.node_id or ""
        places = self.fleet.places(pool)
        at = bisect_left(places, wanted, key=itemgetter(0))
        if at == len(places) or places[at][0] != wanted:
            raise ServiceError("NodeNotFound")
        document = self._node_document(request, self.fleet.node(pool, places[at]))
        return self._element(request, "nodes", select(document, paths))

    def _list_counts(self, request: Request) -> Reply:
        size = self._size(request, 10)
        test = read_filter(request.query.get("$filter"), NODE_COUNTS)
        after, page = read_skip_token(request, self._key)
        pools = [p for p in self.fleet.pools() if p.id > after]
        if test is not None:
            pools = [pool for pool in pools if test({"poolId": pool.id})]
        items = []
        for pool in pools[:size]:
            counts = self.fleet.counts(pool)
            if request.query["api-version"] == "2024-02-01.19.0":  # deallocation came later
                counts = {
                    name: {k: v for k, v in kind.items() if not k.startswith("dealloc")}
                    if isinstance(kind, dict)
                    else kind
                    for name, kind in counts.items()
                }
            items.append(_encode(counts))
        token = None
        if len(pools) > size:
            token = skip_token(pools[size - 1].id, page + 1, self._key, request.path)
        return self._envelope(request, "poolnodecounts", items, token)

    def _list_usage(self, request: Request) -> Reply:
        size = self._size(request, 1000)
        test = read_filter(request.query.get("$filter"), USAGE)
        after, page = read_skip_token(request, self._key)
        until = self.fleet.usage_until
        started = _time(request, "starttime", until - INTERVAL)
        ended = _time(request, "endtime", until)
        if ended > self.fleet.now_micros - 2 * HOUR:
            reason = "endtime must be at least 2 hours before now"
            raise bad_parameter("endtime", request.query.get("endtime", ""), reason)
        if started > self.fleet.now_micros - 2 * HOUR - 30 * MINUTE:
            reason = "starttime must be at least 2 and a half hours before now"
            raise bad_parameter("starttime", request.query.get("starttime", ""), reason)
        if started >= ended:
            reason = "starttime must lie before endtime"
            raise bad_parameter("starttime", request.query.get("starttime", ""), reason)
        rows = self.fleet.usage(started, ended)
        if test is not None:
            rows = [row for row in rows if test(row)]
        skipped = int(after) if after else 0
        items = [_encode(row) for row in rows[skipped : skipped + size]]
        token = None
        if len(rows) > skipped + size:
            token = skip_token(str(skipped + size), page + 1, self._key, request.path)
        return self._envelope(request, "poolusagemetrics", items, token)


def _check_timeout(request: Request) -> None:
    text = request.query.get("timeout")
    if text is None:
        return
    # A value above 30 is taken for 30: the specification says so, and nothing here is that slow.
    if not text.isascii() or not text.lstrip("-").isdigit() or int(text) < 1:
        raise bad_parameter("timeout", text, "The timeout must be a number of seconds above 0")


def _expands_stats(request: Request) -> bool:
    text = request.query.get("$expand")
    if text is None or not text.strip():
        return False
    if text.strip() != "stats":
        raise bad_parameter("$expand", text, "The property cannot be expanded")
    return True


def _time(request: Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    when = read_time(text.strip("'"))
    if when is None:
        raise bad_parameter(name, text, "The value is not a time")
    return to_micros(when[0])


def _check_conditions(
    request: Request, etag: str, modified: int, headers: list[tuple[str, str]]
) -> None:
    """Raise 412 or 304 unless the conditional headers hold; times count in whole seconds."""
    second = modified // 1_000_000
    matches = request.headers.get("if-match")
    if matches is not None and not _has_tag(matches, etag):
        raise ServiceError("ConditionNotMet")
    unmodified = _header_time(request, "if-unmodified-since")
    if unmodified is not None and second > unmodified:
        raise ServiceError("ConditionNotMet")
    other = request.headers.get("if-none-match")
    if other is not None and _has_tag(other, etag):
        raise ServiceError("ConditionNotMet", status=304, headers=headers)
    since = _header_time(request, "if-modified-since")
    if other is None and since is not None and second <= since:
        raise ServiceError("ConditionNotMet", status=304, headers=headers)


def _has_tag(text: str, etag: str) -> bool:
    return any(tag.strip().strip('"') in ("*", etag) for tag in text.split(","))


def _header_time(request: Request, name: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except ValueError:
        header = ("HeaderName", name), ("HeaderValue", text)
        raise ServiceError("InvalidHeaderValue", *header) from None
