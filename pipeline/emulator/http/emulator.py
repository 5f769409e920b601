"""The emulator: one WSGI app in front of a fleet, used in process or over a socket.

A request passes access control, faults, the service and the page cache, in this order.
"""

import gzip
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..faults import CONTENT_KINDS, ERROR_KINDS, Fault, Faults
from ..fleet.fleet import Fleet
from ..streams import fake_guid
from ..times import MINUTE, SECOND, fine_service_time, http_date
from .access import check_access
from .account import EmulatedAccount
from .admin import administer
from .breakage import answer_instead, break_body, in_pieces, unpacked
from .content_faults import change_content
from .paging import page_number
from .replies import REASONS, BatchError, Reply, error_reply
from .requests import Request, read_request
from .service import Service
from .versions import check_version

if TYPE_CHECKING:
    import httpx

    from .server import Server

StartResponse = Callable[..., Any]

_CACHE_BYTES = 512 << 20


class Emulator(EmulatedAccount):
    """A made-up Batch account.

    ``key`` is the account's Shared Key in base64, made from the fleet's seed if none is given.
    ``speed`` makes the fleet's clock run by itself, in simulated seconds per second; without it
    the clock stands until it is moved. The truth log of a running clock keeps
    its last 48 hours only, unless ``fleet.truth_hours`` is set: it would fill the memory.
    ``allows_shared_key`` is off for an account in user-subscription mode, which takes tokens
    only. ``refused_versions`` are api-versions that the service no longer supports, beside those
    of the fleet file. ``page_limit`` makes pages shorter than clients ask for, so that a few
    pools or nodes fill several. ``clock`` and ``sleep`` stand in for the wall clock (epoch seconds) and
    ``time.sleep``.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        account: str = "emulated",
        key: str | None = None,
        faults: Faults | None = None,
        speed: float | None = None,
        allows_shared_key: bool = True,
        refused_versions: Iterable[str] = (),
        page_limit: int | None = None,
        token_lifetime_seconds: float = 3600.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Serve a fleet; the faults of its file follow those given."""
        super().__init__(
            fleet,
            account=account,
            key=key,
            faults=faults,
            speed=speed,
            allows_shared_key=allows_shared_key,
            refused_versions=refused_versions,
            token_lifetime_seconds=token_lifetime_seconds,
            clock=clock,
            sleep=sleep,
        )
        self._service = Service(fleet, self.key, page_limit)
        self._numbers = itertools.count(1)
        self._cache: OrderedDict[tuple[str, str, str, bool], bytes] = OrderedDict()
        self._cached_bytes = 0
        self._cached_revision = -1

    def serve(
        self, port: int = 0, host: str = "127.0.0.1", *, tls: bool = False, threads: int = 16
    ) -> "AbstractContextManager[Server]":
        """Serve the app over a socket until the context ends; on loopback unless `host` is given.

        Port 0 takes a free one. With ``tls`` the certificate is new: its file for
        clients is ``server.ca_file``.
        """
        from .server import Server

        return Server(self, self.app, port=port, host=host, tls=tls, threads=threads)

    def transport(self) -> "httpx.BaseTransport":
        """Return an httpx transport to the app in process; dropped bodies raise httpx's errors."""
        from .transport import EmulatorTransport

        return EmulatorTransport(self.app)

    def app(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request: the WSGI application."""
        self.tick()
        request = read_request(environ)
        request_id = fake_guid(self.fleet.seed, "request", next(self._numbers))
        if environ.get("PATH_INFO", "").startswith("/_emulator"):
            reply = administer(self, environ, request)
            return self._send(request, reply, request_id, [], 0, start_response)
        reply, faults, skew = self._answer(request, request_id)
        return self._send(request, reply, request_id, faults, skew, start_response)

    def _answer(self, request: Request, request_id: str) -> tuple[Reply, list[Fault], int]:
        """Return the reply, the faults left for its bytes, and the skew of the clock."""
        page = page_number(request, self.key)
        is_bearer = request.headers.get("authorization", "")[:7].lower() == "bearer "
        faults = self.faults.for_request(
            request.route or "", request.pool_id, page, is_bearer=is_bearer
        )
        skew = sum(int(f.minutes * MINUTE) for f in faults if f.kind == "clock_skew")
        for fault in faults:
            if fault.kind == "latency":
                self.sleep(fault.seconds)
        now = self.fleet.now_micros + skew
        wall = self.clock() + skew / SECOND
        try:
            reply = self._reply(request, faults, page, now, wall, request_id)
        except BatchError as error:
            reply = error_reply(request.base, error, request_id, fine_service_time(now))
        if faults:
            reply = unpacked(reply)
        for fault in faults:
            reply = break_body(fault, reply)
        return reply, faults, skew

    def _reply(
        self,
        request: Request,
        faults: list[Fault],
        page: int,
        now: int,
        wall: float,
        request_id: str,
    ) -> Reply:
        instead = next((fault for fault in faults if fault.kind in ERROR_KINDS), None)
        if request.route == "token":
            if instead is not None:
                return answer_instead(instead, request, now, request_id)
            return self.tokens.reply(request, wall)
        key = self.key if self.allows_shared_key else None
        check_access(request, self.account, key, self.tokens, wall)
        if instead is not None:
            if instead.kind == "expired_token":
                self.tokens.revoke()
            return answer_instead(instead, request, now, request_id)
        content = [fault for fault in faults if fault.kind in CONTENT_KINDS]
        with self.lock:
            reply = self._cached(request)
        if not content:
            return reply
        return change_content(content, request, unpacked(reply), page, self.key)

    def _cached(self, request: Request) -> Reply:
        """Return the service's answer; while the clock stands, a list is made once.

        For a client that takes gzip only the compressed bytes are kept: a million nodes then
        fit into the cache.
        """
        version = check_version(request.query.get("api-version"), self.refused_versions)
        if request.route in ("pool", "node", "file") or request.method != "GET":
            return self._service.answer(request, version)
        if self._cached_revision != self.fleet.revision:
            self._cache.clear()
            self._cached_bytes = 0
            self._cached_revision = self.fleet.revision
        is_gzip = request.accepts_gzip
        key = (request.base, request.raw_path, request.raw_query, is_gzip)
        body = self._cache.get(key)
        if body is not None:
            self._cache.move_to_end(key)
        else:
            made = self._service.answer(request, version).body
            assert isinstance(made, bytes)
            body = self._cache[key] = _compress(made) if is_gzip else made
            self._cached_bytes += len(body)
            while self._cached_bytes > _CACHE_BYTES:
                _, oldest = self._cache.popitem(last=False)
                self._cached_bytes -= len(oldest)
        return Reply(200, body, encoding="gzip" if is_gzip else None)

    def _send(
        self,
        request: Request,
        reply: Reply,
        request_id: str,
        faults: list[Fault],
        skew: int,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        body, encoding = reply.body, reply.encoding
        is_large = isinstance(body, bytes) and len(body) > 512
        is_plain = encoding is None and not (reply.has_length and reply.status == 200)
        if isinstance(body, bytes) and is_large and is_plain and request.accepts_gzip:
            body, encoding = _compress(body), "gzip"
        headers = [
            ("Content-Type", reply.content_type),
            ("Server", "Microsoft-HTTPAPI/2.0"),
            ("request-id", request_id),
            ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
            ("X-Content-Type-Options", "nosniff"),
            ("DataServiceVersion", "3.0"),
            ("Date", http_date(self.fleet.now_micros + skew)),
            *reply.headers,
        ]
        if encoding is not None:
            headers += [("Content-Encoding", encoding), ("Vary", "Accept-Encoding")]
        if request.method == "HEAD":
            body = b""
        elif reply.has_length and isinstance(body, bytes) and reply.status != 304:
            headers.append(("Content-Length", str(len(body))))
        if request.headers.get("return-client-request-id", "").lower() == "true":
            client_id = request.headers.get("client-request-id")
            if client_id is not None:
                headers.append(("client-request-id", client_id))
        start_response(f"{reply.status} {REASONS.get(reply.status, 'Unknown')}", headers)
        if not isinstance(body, bytes):
            return body
        pieces = in_pieces(body, faults, self.sleep)
        return [pieces] if isinstance(pieces, bytes) else pieces


def _compress(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=1, mtime=0)
