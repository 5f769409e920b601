"""The administrative path ``/_emulator/…``: move the clock, set faults, read the truth log.

It takes no key, so it answers only tools on this machine: loopback clients that name a loopback
host, and no web page of another origin.

- ``GET /_emulator/``: the fleet's now, its pools and their sizes, the faults in force
- ``POST /_emulator/advance`` ``{"seconds": 300}`` or ``{"to": "2026-11-02T00:05:00Z"}``;
  ``DELETE /_emulator/advance`` stops one that is under way
- ``GET | POST | DELETE /_emulator/faults``: list, add one (an object), take all away
- ``GET | POST /_emulator/versions`` ``{"refused": ["2024-07-01.20.0"]}``: api-versions that are refused
- ``POST /_emulator/tokens/revoke`` ``{}``: revoke all bearer tokens
- ``GET /_emulator/truth``: the truth log, one JSON object a line
"""

import ipaddress
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ..faults import Fault
from ..truth import Record
from .account import EmulatedAccount
from .odata import read_time
from .replies import Reply
from .requests import Request

_MOST_BODY = 1 << 20
_FARTHEST = timedelta(days=366)
_STEP = timedelta(hours=1)  # other requests are answered between two steps of a long advance


class _Advance(msgspec.Struct, forbid_unknown_fields=True):
    seconds: float | None = None
    to: str | None = None


class _Versions(msgspec.Struct, forbid_unknown_fields=True):
    refused: list[str]


class _Refusal(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def administer(emulator: EmulatedAccount, environ: dict[str, Any], request: Request) -> Reply:
    """Answer a request on the administrative path; errors have the body {"error": text}."""
    try:
        _check_caller(emulator, environ, request)
        path = environ.get("PATH_INFO", "")[len("/_emulator") :].strip("/")
        return _answer(emulator, environ, request.method, path)
    except _Refusal as refusal:
        return _json({"error": str(refusal)}, refusal.status)
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        return _json({"error": str(error)}, 400)


def _check_caller(emulator: EmulatedAccount, environ: dict[str, Any], request: Request) -> None:
    """Raise 403 or 415 unless a tool on this machine asks, and no web page in its browser."""
    if not _is_loopback(request.remote):
        raise _Refusal(403, "the administrative path answers loopback clients only")
    if not _is_own_host(emulator, environ, request):
        # DNS rebinding: a page whose name resolves to 127.0.0.1 sends its own name as Host
        raise _Refusal(403, "the Host header must name the loopback address and port served")
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() != request.base.lower():
        raise _Refusal(403, "cross-origin requests are refused")
    if request.headers.get("sec-fetch-site", "none").lower() not in ("none", "same-origin"):
        raise _Refusal(403, "cross-site requests are refused")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and kind != "application/json":
        # HTML forms can send other types to any site; JSON needs the permission of the server
        raise _Refusal(415, "a POST needs Content-Type: application/json")


def _is_own_host(emulator: EmulatedAccount, environ: dict[str, Any], request: Request) -> bool:
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}")
        port = host.port
    except ValueError:
        return False
    scheme = environ.get("wsgi.url_scheme", "http")
    if port is None:
        port = 443 if scheme == "https" else 80
    name = (host.hostname or "").lower()
    is_named = name == "localhost" or name in emulator.listens_on or _is_loopback(name)
    return is_named and str(port) == str(environ.get("SERVER_PORT"))


def _is_loopback(remote: str) -> bool:
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


_PATHS = {
    "": ("GET",),
    "advance": ("POST", "DELETE"),
    "faults": ("GET", "POST", "DELETE"),
    "versions": ("GET", "POST"),
    "tokens/revoke": ("POST",),
    "truth": ("GET",),
}


def _answer(emulator: EmulatedAccount, environ: dict[str, Any], method: str, path: str) -> Reply:
    if path not in _PATHS:
        raise _Refusal(404, "no such administrative path")
    if method not in _PATHS[path]:
        raise _Refusal(405, f"{path or 'the overview'} takes {' or '.join(_PATHS[path])}")
    match (method, path):
        case ("POST", "advance"):
            order = msgspec.json.decode(_body(environ), type=_Advance)
            return _advance(emulator, order)
        case ("DELETE", "advance"):
            emulator.interrupted.set()
            return _json({"now": emulator.fleet.now})
        case ("GET", "faults"):
            return _json(_faults(emulator))
        case ("POST", "faults"):
            emulator.faults.add(msgspec.json.decode(_body(environ), type=Fault))
            return _json(_faults(emulator), 201)
        case ("DELETE", "faults"):
            emulator.faults.clear()
            return _json([])
        case (_, "versions"):
            if method == "POST":
                versions = msgspec.json.decode(_body(environ), type=_Versions)
                emulator.refused_versions = frozenset(versions.refused)
            return _json({"refused": sorted(emulator.refused_versions)})
        case (_, "tokens/revoke"):
            emulator.tokens.revoke()
            return _json({"revoked": True})
        case (_, "truth"):
            with emulator.lock:
                records = list(emulator.fleet.truth)
            return Reply(200, _lines(records), content_type="application/x-ndjson")
    return _json(_overview(emulator))


def _json(document: Any, status: int = 200) -> Reply:
    return Reply(
        status, msgspec.json.encode(document), content_type="application/json", has_length=True
    )


def _body(environ: dict[str, Any]) -> bytes:
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise _Refusal(400, "Content-Length is not a number") from None
    if length > _MOST_BODY:
        raise _Refusal(413, "the body is too large")
    body: bytes = environ["wsgi.input"].read(length)
    return body


def _overview(emulator: EmulatedAccount) -> dict[str, Any]:
    with emulator.lock:
        fleet = emulator.fleet
        return {
            "account": emulator.account,
            "now": fleet.now,
            "seed": fleet.seed,
            "speed": emulator.speed,
            "refused_versions": sorted(emulator.refused_versions),
            "pools": {
                pool.id: {"dedicated": len(pool.dedicated), "spot": len(pool.spot)}
                for pool in fleet.pools()
            },
            "faults": _faults(emulator),
        }


def _faults(emulator: EmulatedAccount) -> list[dict[str, Any]]:
    return [
        {**msgspec.to_builtins(fault, enc_hook=repr), "met": emulator.faults.met(fault)}
        for fault in emulator.faults
    ]


def _advance(emulator: EmulatedAccount, order: _Advance) -> Reply:
    """Move the clock in steps; a step cannot be interrupted."""
    fleet = emulator.fleet
    if (order.seconds is None) == (order.to is None):
        raise ValueError("give 'seconds' or 'to', not both")
    if emulator.speed is not None:
        raise ValueError("the clock runs by itself; start with --speed 0 to move it")
    to = fleet.now + timedelta(seconds=order.seconds or 0)
    if order.to is not None:
        when = read_time(order.to)
        if when is None:
            raise ValueError(f"not a time: {order.to!r}")
        to = when[0]
    if to - fleet.now > _FARTHEST:
        raise ValueError("at most a year at once: a month takes seconds")
    emulator.interrupted.clear()
    if to < fleet.now:
        raise ValueError(f"time cannot move backwards: {to} is before {fleet.now}")
    while fleet.now < to:
        if emulator.interrupted.is_set() or emulator.closing.is_set():
            raise _Refusal(503, f"stopped at {fleet.now.isoformat()}")
        with emulator.lock:
            fleet.advance(max(fleet.now, min(to, fleet.now + _STEP)))
    return _json({"now": fleet.now})


def _lines(records: list[Record]) -> Iterator[bytes]:
    for record in records:
        document = {"kind": type(record).__name__, **msgspec.to_builtins(record)}
        yield msgspec.json.encode(document) + b"\n"
