"""The distinct start tasks of a pool's nodes: their identities and rows.

The nodes of a pool mostly carry one start task: it is redacted and hashed once, and recognised by its
bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.flatten import shape
from pipeline.flatten.validator import Steps, Validator
from pipeline.redact import DEFAULT, SIGNATURE, Redactor
from pipeline.schema import REDACTED

# A query string with a signature, masked or not: a renewed SAS is no change of the definition. The
# search goes word by word: one pattern over the whole text would take quadratic time.
_WORD = re.compile(r"[^\s\"'<>,;|()]+")
_SIGNATURE = re.compile(SIGNATURE, re.IGNORECASE)
_QUERY = re.compile(r"\?|%(?:25)*3f", re.IGNORECASE)
# A SAS without a URL begins with one of its parameters: sv=2022-11-02&ss=b&…
_PARAMETER = re.compile(
    r"(?<![a-z0-9])(?:s[a-z]{1,6}|rsc[cdelt]|[ers]rk|[es]pk|tn)=", re.IGNORECASE
)


#: The most start tasks of a pool that are recognised by their bytes.
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class StartTaskIdentity:
    """One distinct start task: hex digests, and its redacted JSON (enums lower-cased)."""

    start_task_id: str
    start_task_definition_id: str
    start_task_fingerprint: str | None
    redacted: dict[str, object]


def canonical(value: object) -> bytes:
    """JSON with sorted keys, no blanks, UTF-8; arrays keep their order; null, {} and [] stay."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate has no UTF-8 form


def identify(
    value: dict[str, object], redactor: Redactor, hash_key: bytes | None
) -> StartTaskIdentity:
    """Redacts a start task as the service sent it and derives its identities."""
    # Redaction comes before lower case: it needs the case of secrets.
    redacted = shape.lowered(redactor.json(value, "startTask"), shape.START_TASK)
    assert isinstance(redacted, dict)
    with_nothing_kept: object = redacted
    if redactor.keep_env:
        with_nothing_kept = shape.lowered(DEFAULT.json(value, "startTask"), shape.START_TASK)
    definition = _definition(with_nothing_kept)
    fingerprint = None
    if hash_key is not None:
        unredacted = canonical(shape.lowered(value, shape.START_TASK))
        fingerprint = hmac.new(hash_key, unredacted, hashlib.sha256).hexdigest()
    return StartTaskIdentity(
        hashlib.sha256(canonical(redacted)).hexdigest(),
        hashlib.sha256(canonical(definition)).hexdigest(),
        fingerprint,
        redacted,
    )


def _definition(value: object, name: str = "") -> object:
    """A redacted value without environment values, masked members and signed query strings."""
    if isinstance(value, dict):
        return {
            member: _definition(x, member)
            for member, x in value.items()
            if x != REDACTED and not (name == "environmentSettings" and member == "value")
        }
    if isinstance(value, list):
        return [_definition(x, name) for x in value]
    return _unsigned(value) if isinstance(value, str) else value


@lru_cache(maxsize=1024)
def _unsigned(text: str) -> str:
    """A redacted text without signed query strings; cached, because a pool has few."""
    return _WORD.sub(_unsigned_word, text) if _SIGNATURE.search(text) else text


def _unsigned_word(match: re.Match[str]) -> str:
    """A word without its signed query string."""
    word = match.group()
    signature = _SIGNATURE.search(word)
    if signature is None:
        return word
    before = word[: signature.start()]
    starts = [query.start() for query in _QUERY.finditer(before)][-1:]
    starts += [query.start() for query in _PARAMETER.finditer(before)][:1]
    return word[: next(iter(starts), signature.start())]


class StartTasks:
    """The distinct start tasks met so far in one pool."""

    def __init__(self, redactor: Redactor, hash_key: bytes | None = None) -> None:
        self._redactor = redactor
        self._hash_key = hash_key
        self._known: dict[bytes, StartTaskIdentity] = {}
        self._ids: set[str] = set()
        self._fitting: dict[bytes, Sequence[Steps]] = {}
        self._validator = Validator(shape.START_TASK, ignored=())

    def unknown(self, raw: bytes) -> Sequence[Steps] | None:
        """The unknown members of a start task (its JSON); None where it needs the slow path.

        On the fast path it has members, and declared ones have their types.
        """
        if raw not in self._fitting:
            try:
                value = json.loads(raw, object_pairs_hook=shape.unique_members)
            except (ValueError, RecursionError):
                return None  # an integer of thousands of digits, or a deep unknown value
            validation = self._validator.validate(value)
            if not value or validation.problems:
                return None
            if len(self._fitting) >= _REMEMBERED:
                return validation.unknown
            self._fitting[raw] = validation.unknown
        return self._fitting[raw]

    def add(self, raw: bytes, fresh: list[StartTaskIdentity]) -> StartTaskIdentity:
        """The start task of this JSON; appended to ``fresh`` if it is new."""
        known = self._known.get(raw)
        if known is None:
            value = json.loads(raw)
            known = identify(value, self._redactor, self._hash_key)
            # Bytes that differ only in secrets or white space are one row. The cache is bounded, because
            # in some pools every node differs (a signature each).
            if len(self._known) < _REMEMBERED:
                self._known[raw] = known
            if known.start_task_id not in self._ids:
                self._ids.add(known.start_task_id)
                fresh.append(known)
        return known
