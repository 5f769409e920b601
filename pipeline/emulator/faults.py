"""Faults: what goes wrong, on which route, for which pool, how often.

This module matches faults with requests; ``http.breakage`` and ``http.content_faults`` apply them.
"""

import threading
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args

import msgspec

from .streams import stream

Route = Literal[
    "*", "pools", "pool", "nodes", "node", "files", "file", "nodecounts", "poolusagemetrics",
    "supportedimages", "token",
]  # fmt: skip

#: Replaces the answer: an error of the service, or of a proxy in front of it.
ErrorKind = Literal[
    "throttle", "busy", "internal_error", "timed_out", "unauthorized", "expired_token",
    "forbidden", "pool_not_found", "node_not_found", "html_page", "empty_body",
    "error_with_200", "file_not_found", "node_unusable",
]  # fmt: skip
#: Delays the answer or damages its bytes.
WireKind = Literal[
    "latency", "slow_body", "drop", "truncated_json", "malformed_json", "two_documents",
    "gzip_bomb", "oversized_body", "clock_skew",
]  # fmt: skip
#: Leaves valid JSON with unexpected content.
ContentKind = Literal[
    "next_link_host", "next_link_port", "next_link_scheme", "next_link_loop", "wrong_types",
    "missing_id", "duplicate_nodes", "vanishing_nodes", "unknown_fields", "unknown_enums",
    "explicit_nulls", "empty_containers", "planted_secrets", "mutate",
]  # fmt: skip
#: The largest body of a fault, after decompression.
MOST_BYTES = 4 << 30

Kind = ErrorKind | WireKind | ContentKind

ERROR_KINDS: frozenset[str] = frozenset(get_args(ErrorKind))
WIRE_KINDS: frozenset[str] = frozenset(get_args(WireKind))
CONTENT_KINDS: frozenset[str] = frozenset(get_args(ContentKind))
KINDS: tuple[str, ...] = (*get_args(ErrorKind), *get_args(WireKind), *get_args(ContentKind))


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One fault: where it applies, how often, and what it does.

    Where and how often: ``route`` ("*": any), ``pool`` (None: any), ``page`` (1: the first;
    None: any), ``times`` (None: no limit), ``rate`` (share of the matching requests).
    What: ``kind``, and the parameters that this kind reads:

    - ``status``: of throttle (429), html_page (502), unauthorized (401) and other errors
    - ``retry_after``: of any error: seconds as text, "http-date" (``seconds`` from the fleet's
      now), or None for no header
    - ``seconds``: latency before the answer; duration of a slow body; the http-date's distance
    - ``bytes``: where a body is dropped or truncated (None: half); size of an oversized body;
      decompressed size of a gzip bomb
    - ``minutes``: by which the service's clock is fast (negative: slow)
    - ``host``: of a foreign nextLink
    - ``count``: how many nodes of a page are changed, repeated or left out
    - ``node``: the one node id to change, instead of the first ``count`` of the page
    - ``mutate``: a callable that changes a node's (or pool's) dict in place; from Python only
    """

    kind: Kind
    route: Route = "*"
    pool: str | None = None
    page: int | None = None
    times: int | None = None
    rate: float = 1.0
    status: int | None = None
    retry_after: str | None = None
    seconds: float = 1.0
    bytes: int | None = None
    minutes: float = 0.0
    host: str = "elsewhere.example"
    count: int = 1
    node: str | None = None
    mutate: Any = None

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"key 'rate' is a share between 0 and 1: {self.rate}")
        if self.seconds < 0 or self.count < 0 or (self.times or 0) < 0 or (self.bytes or 0) < 0:
            raise ValueError("keys 'seconds', 'count', 'times' and 'bytes' must not be negative")
        if (self.bytes or 0) > MOST_BYTES:
            raise ValueError(f"key 'bytes' must not be above {MOST_BYTES} (4 GiB): {self.bytes}")
        if (self.kind == "mutate") != (self.mutate is not None) or not (
            self.mutate is None or callable(self.mutate)
        ):
            raise ValueError("key 'mutate' takes a callable, for kind 'mutate', from Python only")

    def meets(self, route: str, pool: str | None, page: int) -> bool:
        """Return whether the fault applies to a request on this route, pool and page."""
        return (
            self.route in ("*", route)
            and (self.route == "token" or route != "token")
            and self.pool in (None, pool)
            and self.page in (None, page)
        )


def read_fault(text: str) -> Fault:
    """Read a fault from a line: its kind, then ``key=value`` pairs.

    ``throttle route=nodes rate=0.1 retry_after=2``; ``ValueError`` says what is wrong with it.
    """
    kind, *pairs = text.split() or [""]
    document: dict[str, str] = {"kind": kind}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"fault {text!r}: {pair!r} is not key=value")
        document[key] = value
    try:
        return msgspec.convert(document, Fault, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"fault {text!r}: {error}") from error


class Faults:
    """The active faults, in the order in which they were added; thread-safe."""

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int = 0) -> None:
        """Start with these faults; ``seed`` makes their rates repeatable."""
        self._lock = threading.Lock()
        self._random = stream(seed, "faults")
        self._entries: list[tuple[Fault, list[int]]] = []
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> Fault:
        """Activate a fault, and return it."""
        with self._lock:
            self._entries.append((fault, [0]))
        return fault

    def clear(self) -> None:
        """Remove every fault."""
        with self._lock:
            self._entries.clear()

    def remove(self, fault: Fault) -> None:
        """Remove one fault; does nothing if it is not active."""
        with self._lock:
            self._entries = [entry for entry in self._entries if entry[0] is not fault]

    def __iter__(self) -> Iterator[Fault]:
        """Yield the active faults, and those that are used up."""
        with self._lock:
            return iter([fault for fault, _ in self._entries])

    def __len__(self) -> int:
        """Return how many faults are active or used up."""
        return len(self._entries)

    def met(self, fault: Fault) -> int:
        """Return how many requests this fault has affected so far."""
        with self._lock:
            return next((met[0] for entry, met in self._entries if entry is fault), 0)

    def for_request(
        self, route: str, pool: str | None, page: int, *, is_bearer: bool = False
    ) -> list[Fault]:
        """Return the faults that apply to this request, and count them.

        ``expired_token`` applies only to requests with a bearer token. Of several error kinds
        only the first applies.
        """
        met: list[Fault] = []
        is_answered = False
        with self._lock:
            for fault, count in self._entries:
                if not fault.meets(route, pool, page):
                    continue
                if fault.times is not None and count[0] >= fault.times:
                    continue
                if fault.kind in ERROR_KINDS and is_answered:
                    continue
                if fault.kind == "expired_token" and not is_bearer:
                    continue
                if fault.rate < 1 and self._random.random() >= fault.rate:
                    continue
                is_answered = is_answered or fault.kind in ERROR_KINDS
                count[0] += 1
                met.append(fault)
        return met
