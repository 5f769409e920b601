"""The administrative path ``/_emulator/…``: move the clock, set faults, read the truth.

It is no part of the Batch service. It takes no key, so it answers loopback clients only.

- ``GET /_emulator/``: the fleet's now, its pools and their sizes, the faults in force
- ``POST /_emulator/advance`` ``{"seconds": 300}`` or ``{"to": "2026-11-02T00:05:00Z"}``
- ``GET | POST | DELETE /_emulator/faults``: list, add one (an object), take all away
- ``POST /_emulator/tokens/revoke``: every bearer token issued so far is good no more
- ``GET /_emulator/truth``: the truth log, one JSON object a line
"""

import ipaddress
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec

from ..faults import Fault
from ..truth import Record
from .account import EmulatedAccount
from .odata import read_time
from .replies import Reply
from .requests import Request

_MOST_BODY = 1 << 20
_FARTHEST = timedelta(days=366)


class _Advance(msgspec.Struct, forbid_unknown_fields=True):
    seconds: float | None = None
    to: str | None = None


class _Refusal(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def administer(emulator: EmulatedAccount, environ: dict[str, Any], request: Request) -> Reply:
    """Answer a request on the administrative path; problems come back as {"error": text}."""
    try:
        if not _is_loopback(request.remote):
            raise _Refusal(403, "the administrative path answers loopback clients only")
        path = environ.get("PATH_INFO", "")[len("/_emulator") :].strip("/")
        return _answer(emulator, environ, request.method, path)
    except _Refusal as refusal:
        return _json({"error": str(refusal)}, refusal.status)
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        return _json({"error": str(error)}, 400)


def _is_loopback(remote: str) -> bool:
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _answer(emulator: EmulatedAccount, environ: dict[str, Any], method: str, path: str) -> Reply:
    match (method, path):
        case ("GET", ""):
            return _json(_overview(emulator))
        case ("POST", "advance"):
            order = msgspec.json.decode(_body(environ), type=_Advance)
            return _advance(emulator, order)
        case ("GET", "faults"):
            return _json(_faults(emulator))
        case ("POST", "faults"):
            emulator.faults.add(msgspec.json.decode(_body(environ), type=Fault))
            return _json(_faults(emulator), 201)
        case ("DELETE", "faults"):
            emulator.faults.clear()
            return _json([])
        case ("POST", "tokens/revoke"):
            emulator.tokens.revoke()
            return _json({"revoked": True})
        case ("GET", "truth"):
            with emulator.lock:
                records = list(emulator.fleet.truth)
            return Reply(200, _lines(records), content_type="application/x-ndjson")
        case (_, "" | "advance" | "faults" | "tokens/revoke" | "truth"):
            raise _Refusal(405, f"{method} is not for this path")
    raise _Refusal(404, "no such administrative path")


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
    with emulator.lock:
        fleet = emulator.fleet
        if (order.seconds is None) == (order.to is None):
            raise ValueError("either 'seconds' or 'to', one of them")
        if emulator.speed is not None:
            raise ValueError("the clock runs by itself; start without a speed to move it")
        to = fleet.now + timedelta(seconds=order.seconds or 0)
        if order.to is not None:
            when = read_time(order.to)
            if when is None:
                raise ValueError(f"not a time: {order.to!r}")
            to = when[0]
        if to - fleet.now > _FARTHEST:
            raise ValueError("at most a year at once: it takes seconds a month")
        fleet.advance(to)
        return _json({"now": fleet.now})


def _lines(records: list[Record]) -> Iterator[bytes]:
    for record in records:
        document = {"kind": type(record).__name__, **msgspec.to_builtins(record)}
        yield msgspec.json.encode(document) + b"\n"
