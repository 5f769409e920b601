"""The emulator: one WSGI app in front of a fleet, used in process or over a socket.

It holds what belongs to neither: the account, the keys, the faults in force, the lock, the
cache of pages, and how the fleet's clock runs.
"""

import gzip
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .access import Tokens, check_access, is_base64
from .admin import administer
from .breakage import answer_instead, break_body, change_content, in_pieces, unpacked
from .faults import CONTENT_KINDS, ERROR_KINDS, Fault, Faults
from .fleet import Fleet
from .paging import page_number
from .replies import REASONS, Reply, ServiceError, error_reply
from .requests import Request, read_request
from .service import Service
from .streams import made_up_guid, made_up_secret
from .times import MINUTE, SECOND, fine_service_time, http_date

if TYPE_CHECKING:
    import httpx

    from .server import Server

StartResponse = Callable[..., Any]

_CACHE_BYTES = 512 << 20
_TRUTH_HOURS = 48.0  # what a clock that runs by itself leaves in the truth log
_TICKS_PER_SECOND = 4  # how often a running clock moves: pages stay cached in between


class Emulator:
    """A Batch account that nobody has.

    ``key`` is the account's Shared Key in base64, made from the fleet's seed if none is given.
    ``speed`` lets the fleet's clock run by itself, so many simulated seconds to the second;
    without it the clock stands until somebody moves it. A running clock would fill the memory
    with truth, so its fleet remembers the last 48 of its hours, unless ``fleet.truth_hours`` is
    set. ``allows_shared_key`` is off for an account in user-subscription mode, which takes
    tokens only. ``page_limit`` makes pages shorter than clients ask for, so that a few pools or
    nodes fill several. ``clock`` and ``sleep`` stand in for the wall clock (epoch seconds) and
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
        page_limit: int | None = None,
        token_lifetime_seconds: float = 3600.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Put a face on a fleet; its file's faults come before those given."""
        self.fleet = fleet
        self.account = account
        self.key = made_up_secret(fleet.seed, "account", account) if key is None else key
        if not is_base64(self.key):
            raise ValueError("an account key is base64")
        self.allows_shared_key = allows_shared_key
        self.faults = Faults(seed=fleet.seed) if faults is None else faults
        for fault in fleet.config.faults:
            self.faults.add(fault)
        self.tokens = Tokens(fleet.seed, token_lifetime_seconds)
        self.speed = speed or None
        if self.speed and fleet.truth_hours is None:
            fleet.truth_hours = _TRUTH_HOURS
        self.clock = clock
        self.sleep = sleep
        self.lock = fleet.lock
        self._service = Service(fleet, self.key, page_limit)
        self._numbers = itertools.count(1)
        self._cache: OrderedDict[tuple[str, str, str, bool], bytes] = OrderedDict()
        self._cached_bytes = 0
        self._cached_revision = -1
        self._began = clock()
        self._began_at = fleet.now

    @property
    def endpoint(self) -> str:
        """The account's URL as the real service would build it: for use in process."""
        return f"https://{self.account}.{self.fleet.config.region}.batch.azure.com"

    @property
    def settings(self) -> dict[str, str]:
        """The settings that clients read from their environment, for use in process."""
        return self.settings_for(self.endpoint)

    def settings_for(self, endpoint: str) -> dict[str, str]:
        """Return the settings for an endpoint at which the app is served."""
        return {
            "AZURE_BATCH_ENDPOINT": endpoint,
            "AZURE_BATCH_ACCOUNT": self.account,
            "AZURE_BATCH_ACCESS_KEY": self.key,
        }

    def serve(
        self, port: int = 0, host: str = "127.0.0.1", *, tls: bool = False, threads: int = 16
    ) -> "AbstractContextManager[Server]":
        """Serve the app over a socket until the context is left; loopback unless told otherwise.

        Port 0 takes a free one. With ``tls`` the certificate is made on the spot:
        ``server.ca_file`` is what clients must trust.
        """
        from .server import Server

        return Server(self, port=port, host=host, tls=tls, threads=threads)

    def transport(self) -> "httpx.BaseTransport":
        """Return an httpx transport to the app in process; dropped bodies are its own errors."""
        from .transport import EmulatorTransport

        return EmulatorTransport(self)

    def tick(self) -> None:
        """Let a running clock catch up with the wall clock."""
        if self.speed is None:
            return
        elapsed = int((self.clock() - self._began) * _TICKS_PER_SECOND) / _TICKS_PER_SECOND
        to = self._began_at + timedelta(seconds=elapsed * self.speed)
        with self.lock:
            if to > self.fleet.now:
                self.fleet.advance(to)

    def app(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request: the WSGI application."""
        self.tick()
        request = read_request(environ)
        request_id = made_up_guid(self.fleet.seed, "request", next(self._numbers))
        if environ.get("PATH_INFO", "").startswith("/_emulator"):
            reply = administer(self, environ, request)
            return self._send(request, reply, request_id, [], 0, start_response)
        reply, faults, skew = self._answer(request, request_id)
        return self._send(request, reply, request_id, faults, skew, start_response)

    def _answer(self, request: Request, request_id: str) -> tuple[Reply, list[Fault], int]:
        """Return the reply, the faults still to be done to its bytes, and the clock's skew."""
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
        except ServiceError as error:
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
        odd = [fault for fault in faults if fault.kind in CONTENT_KINDS]
        with self.lock:
            reply = self._cached(request)
        if not odd:
            return reply
        return change_content(odd, request, unpacked(reply), page, self.key)

    def _cached(self, request: Request) -> Reply:
        """Return the service's answer; while the clock stands still lists are made once.

        For a client that takes gzip only the compressed bytes are kept: a million nodes then
        fit into the cache.
        """
        if request.route in ("pool", "node") or request.method != "GET":
            return self._service.answer(request)
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
            made = self._service.answer(request).body
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
        if isinstance(body, bytes) and is_large and encoding is None and request.accepts_gzip:
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
        # An error comes with its length; anything else is chunked, as recorded.
        if reply.is_error and isinstance(body, bytes) and reply.status != 304:
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
