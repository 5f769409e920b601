"""The read operations, from a request to the JSON of a reply, without faults and sockets.

Paths, parameters and defaults are those of the published OpenAPI files (``versions``).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from ..fleet.fleet import Fleet
from ..fleet.nodes import Node
from ..fleet.pools import Pool
from ..fleet.usage import INTERVAL
from ..times import HOUR, MINUTE, http_date, to_micros
from .conditions import check_conditions
from .files import check_reachable, get_file, list_files
from .odata import (
    IMAGES,
    NODE_COUNTS,
    NODES,
    POOLS,
    USAGE,
    read_filter,
    read_select,
    read_time,
    select,
)
from .paging import encode, envelope, numbered_page, page_size, read_skip_token, skip_token
from .replies import BatchError, Reply, bad_parameter
from .requests import Request
from .versions import for_version, has_route, names_for

Json = dict[str, Any]

_NODE_NAMES = frozenset({
    "id", "url", "state", "schedulingState", "stateTransitionTime", "lastBootTime",
    "allocationTime", "ipAddress", "ipv6Address", "affinityId", "vmSize", "totalTasksRun",
    "runningTasksCount", "runningTaskSlotsCount", "totalTasksSucceeded", "recentTasks",
    "startTask", "startTaskInfo", "certificateReferences", "errors", "isDedicated",
    "endpointConfiguration", "nodeAgentInfo", "virtualMachineInfo", "publicIPAddress",
    "publicIPv6Address",
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
    "resourceTags", "vmSkuProfile",
})  # fmt: skip


class Service:
    """Answers the read operations from a fleet. Not safe between threads: the caller locks."""

    def __init__(self, fleet: Fleet, key: str, page_limit: int | None = None) -> None:
        """Serve a fleet; ``key`` signs skip tokens.

        A page has at most ``page_limit`` items, whatever the client asks for.
        """
        self.fleet = fleet
        self._page_limit = page_limit or 1000
        self._key = key
        self._routes: dict[str, Callable[[Request, str], Reply]] = {
            "pools": self._list_pools,
            "pool": self._get_pool,
            "nodes": self._list_nodes,
            "node": self._get_node,
            "files": self._list_files,
            "file": self._get_file,
            "nodecounts": self._list_counts,
            "poolusagemetrics": self._list_usage,
            "supportedimages": self._list_images,
        }
        self._fragments: dict[tuple[str, str, str, str], tuple[int, int, bytes]] = {}

    def answer(self, request: Request, version: str) -> Reply:
        """Answer a request in an api-version; raises ``BatchError`` where that is not possible."""
        if request.route not in self._routes or not has_route(request.route, version):
            raise BatchError("InvalidUri", status=404)
        allowed = ("GET", "HEAD") if request.route == "file" else ("GET",)
        if request.method not in allowed:
            raise BatchError("UnsupportedHttpVerb", headers=[("Allow", ", ".join(allowed))])
        _check_timeout(request)
        return self._routes[request.route](request, version)

    def _size(self, request: Request, most: int) -> int:
        return min(page_size(request, most), self._page_limit)

    def _pool(self, request: Request) -> Pool:
        pool = self.fleet.pool(request.pool_id or "")
        if pool is None:
            raise BatchError("PoolNotFound")
        return pool

    def _node(self, request: Request, pool: Pool) -> Node:
        wanted = request.node_id or ""
        entries = self.fleet.entries(pool)
        at = bisect_left(entries, wanted, key=itemgetter(0))
        if at == len(entries) or entries[at][0] != wanted:
            raise BatchError("NodeNotFound")
        return self.fleet.node(pool, entries[at])

    def _element(self, request: Request, kind: str, item: Json, headers: Any = ()) -> Reply:
        document = {"odata.metadata": f"{request.base}/$metadata#{kind}/@Element", **item}
        return Reply(200, encode(document), list(headers))

    def _list_pools(self, request: Request, version: str) -> Reply:
        size = self._size(request, 1000)
        test = read_filter(request.query.get("$filter"), POOLS)
        paths = read_select(request.query.get("$select"), names_for("pool", _POOL_NAMES, version))
        with_stats = _expands_stats(request)
        after, page = read_skip_token(request, self._key)
        items: list[bytes] = []
        last = ""
        for pool in self.fleet.pools():
            if after and pool.id <= after:
                continue
            document = self._pool_document(request, version, pool, with_stats=with_stats)
            if test is not None and not test(document):
                continue
            if len(items) == size:
                token = skip_token(last, page + 1, self._key, request.path)
                return envelope(request, "pools", items, token)
            items.append(encode(select(document, paths)))
            last = pool.id
        return envelope(request, "pools", items, None)

    def _pool_document(
        self, request: Request, version: str, pool: Pool, *, with_stats: bool
    ) -> Json:
        document = self.fleet.pool_document(pool, request.base, with_stats=with_stats)
        return for_version("pool", document, version)

    def _get_pool(self, request: Request, version: str) -> Reply:
        paths = read_select(request.query.get("$select"), names_for("pool", _POOL_NAMES, version))
        pool = self._pool(request)
        etag = self.fleet.pool_etag(pool)
        _, modified = self.fleet.pool_modified(pool)
        headers = [("ETag", etag), ("Last-Modified", http_date(modified))]
        check_conditions(request, etag, modified, headers)
        document = self._pool_document(request, version, pool, with_stats=_expands_stats(request))
        return self._element(request, "pools", select(document, paths), headers)

    def _list_nodes(self, request: Request, version: str) -> Reply:
        size = self._size(request, 1000)
        test = read_filter(request.query.get("$filter"), NODES)
        paths = read_select(request.query.get("$select"), names_for("node", _NODE_NAMES, version))
        after, page = read_skip_token(request, self._key)
        pool = self._pool(request)
        items: list[bytes] = []
        last = ""
        entries = self.fleet.entries(pool)
        start = bisect_right(entries, after, key=itemgetter(0)) if after else 0
        for number in range(start, len(entries)):
            is_full = len(items) == size
            if test is not None or not is_full:
                node = self.fleet.node(pool, entries[number])
            if test is not None and not test(self._node_document(request, version, node)):
                continue
            if is_full:
                token = skip_token(last, page + 1, self._key, request.path)
                return envelope(request, "nodes", items, token)
            items.append(self._node_bytes(request, version, node, paths))
            last = node.id
        return envelope(request, "nodes", items, None)

    def _node_document(self, request: Request, version: str, node: Node) -> Json:
        return for_version("node", self.fleet.node_document(node, request.base), version)

    def _node_bytes(
        self, request: Request, version: str, node: Node, paths: list[str] | None
    ) -> bytes:
        """Return a node's JSON; that of a simulated node is cached until the node changes."""
        if paths is not None or not self.fleet.keeps_truth:
            return encode(select(self._node_document(request, version, node), paths))
        key = (node.plan.config.id, node.id, request.base, version)
        known = self._fragments.get(key)
        if known is not None and known[:2] == (node.allocated_at, node.changes):
            return known[2]
        body = encode(self._node_document(request, version, node))
        if (
            len(self._fragments) > 30_000
        ):  # entries of nodes that left, and of hosts that asked once
            self._fragments.clear()
        self._fragments[key] = (node.allocated_at, node.changes, body)
        return body

    def _get_node(self, request: Request, version: str) -> Reply:
        paths = read_select(request.query.get("$select"), names_for("node", _NODE_NAMES, version))
        node = self._node(request, self._pool(request))
        document = self._node_document(request, version, node)
        return self._element(request, "nodes", select(document, paths))

    def _list_files(self, request: Request, version: str) -> Reply:
        size = self._size(request, 1000)
        pool = self._pool(request)
        node = self._node(request, pool)
        check_reachable(pool, node)
        return list_files(request, version, node, self.fleet.now_micros, size, self._key)

    def _get_file(self, request: Request, version: str) -> Reply:
        pool = self._pool(request)
        node = self._node(request, pool)
        check_reachable(pool, node)
        return get_file(request, node, self.fleet.now_micros)

    def _list_images(self, request: Request, version: str) -> Reply:
        size = self._size(request, 1000)
        test = read_filter(request.query.get("$filter"), IMAGES)
        rows = [row for row in self.fleet.supported_images() if test is None or test(row)]
        return numbered_page(request, "supportedimages", rows, size, self._key)

    def _list_counts(self, request: Request, version: str) -> Reply:
        size = self._size(request, 10)
        test = read_filter(request.query.get("$filter"), NODE_COUNTS)
        after, page = read_skip_token(request, self._key)
        pools = [p for p in self.fleet.pools() if p.id > after]
        if test is not None:
            pools = [pool for pool in pools if test({"poolId": pool.id})]
        items = []
        for pool in pools[:size]:
            counts = for_version("counts", self.fleet.counts(pool), version)
            items.append(encode(counts))
        token = None
        if len(pools) > size:
            token = skip_token(pools[size - 1].id, page + 1, self._key, request.path)
        return envelope(request, "poolnodecounts", items, token)

    def _list_usage(self, request: Request, version: str) -> Reply:
        size = self._size(request, 1000)
        test = read_filter(request.query.get("$filter"), USAGE)
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
        return numbered_page(request, "poolusagemetrics", rows, size, self._key)


def _check_timeout(request: Request) -> None:
    text = request.query.get("timeout")
    if text is None:
        return
    # The specification reads a value above 30 as 30; nothing here is that slow.
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
