"""Cuts unknown fields of nodes out of a page, so that the rest can take the fast path.

A newer service sends its new fields with every node, and the slow path takes five times as long; so
only the first page takes it, and the fields found there are cut out of the next pages.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from pipeline.flatten import pages, shape
from pipeline.flatten.validator import Steps, flaw

#: The most fields that are searched for; with more, pages take the slow path.
_KNOWN_AT_MOST = 32


class UnknownValue(NamedTuple):
    """A value that no column holds, and its place.

    ``node`` is the index of its node in the page; ``row`` and ``steps`` are as in ``Validation.extra``;
    ``path`` leads from the node to the value, with 0 for every index of a list.
    """

    node: int
    row: Steps
    steps: Steps
    path: Steps
    value: object


class UnknownFields:
    """The unknown fields found so far in nodes; thread-safe."""

    def __init__(self) -> None:
        self._paths: set[Steps] = set()
        self._lock = threading.Lock()
        self._reader: _Reader | None = None

    def learn(self, unknown: Iterable[Steps]) -> bool:
        """Adds the paths of unknown fields; returns whether any is new.

        Those of start tasks are handled elsewhere.
        """
        before = self._reader
        for steps in unknown:
            path = _path(steps)
            name = str(path[-1])
            # A quote in a name would falsify the count of quotes (see ``pages``).
            is_plain = name.isprintable() and '"' not in name and "\\" not in name and name != ""
            if path in self._paths or path[0] == "startTask" or not is_plain:
                continue
            with self._lock:
                if len(self._paths) < _KNOWN_AT_MOST:
                    self._paths.add(path)
                    self._reader = _Reader(self._paths)
        return self._reader is not before

    def cut(self, body: bytes) -> tuple[bytes, list[UnknownValue]] | None:
        """The page with 0 for each unknown value, and these values; None: it needs the slow path."""
        reader = self._reader
        if reader is None:
            return body, []
        try:
            return reader.cut(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None


def _path(steps: Steps) -> Steps:
    return tuple(0 if isinstance(step, int) else step for step in steps)


class _Member(NamedTuple):
    """A member on a path to an unknown field; without ``inner`` the field itself."""

    attribute: str
    name: str
    path: Steps
    inner: list[_Member]
    is_list: bool
    has_table: bool


class _Reader:
    """Finds the unknown fields at given paths in a page."""

    def __init__(self, paths: Iterable[Steps]) -> None:
        self._members, node = _struct(sorted(paths, key=str), (), shape.NODE)
        page = msgspec.defstruct("Page", [("value", list[node])])  # type: ignore[valid-type]  # made here
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(page)

    def cut(self, body: bytes) -> tuple[bytes, list[UnknownValue]]:
        """As ``UnknownFields.cut``. Raises msgspec.MsgspecError, ValueError, RecursionError."""
        found: list[UnknownValue] = []
        spans: list[tuple[int, int]] = []
        values: dict[bytes, object] = {}
        address = pa.py_buffer(body).address
        for number, node in enumerate(self._decoder.decode(body).value):
            for row, steps, path, raw in _within(node, self._members, (), ()):
                begin, text = pa.py_buffer(raw).address - address, bytes(raw)
                if text not in values:
                    values[text] = pages.parse(text.decode())
                    if flaw(values[text]) is not None:
                        raise ValueError("a value that cannot be stored unchanged")
                found.append(UnknownValue(number, row, steps, path, values[text]))
                spans.append((begin, begin + len(text)))
        if not found:
            return body, found
        parts: list[bytes | memoryview] = []
        view, end = memoryview(body), 0
        for begin, after in sorted(spans):
            parts += (view[end:begin], b"0")
            end = after
        parts.append(view[end:])
        return b"".join(parts), found


def _struct(
    paths: list[Steps], above: Steps, of: shape.Members
) -> tuple[list[_Member], type[msgspec.Struct]]:
    """The members on these paths, and a msgspec type that finds them in an object."""
    members: list[_Member] = []
    fields: list[tuple[str, Any, Any]] = []
    names: dict[str, str] = {}
    for number, name in enumerate(dict.fromkeys(str(path[0]) for path in paths)):
        deeper = [path[1:] for path in paths if path[0] == name and len(path) > 1]
        is_list = bool(deeper) and deeper[0][0] == 0
        path = (*above, name, 0) if is_list else (*above, name)
        known = of.members.get(name)
        inner: list[_Member] = []
        kind: Any = msgspec.Raw
        if isinstance(known, shape.Elements):
            inner, element = _struct([path[1:] for path in deeper], path, known.element)
            kind = list[element]  # type: ignore[valid-type]  # made here
        elif isinstance(known, shape.Members):
            inner, kind = _struct(deeper, path, known)
        has_table = isinstance(known, shape.Elements) and known.has_table
        names[f"m{number}"] = name
        members.append(_Member(f"m{number}", name, path, inner, is_list, has_table))
        fields.append((f"m{number}", kind | msgspec.UnsetType, msgspec.UNSET))
    return members, msgspec.defstruct("Object", fields, rename=names, gc=False)


def _within(
    value: msgspec.Struct, members: list[_Member], row: Steps, steps: Steps
) -> Iterator[tuple[Steps, Steps, Steps, msgspec.Raw]]:
    """The unknown values in an object: their rows, steps, paths and JSON."""
    for member in members:
        inner = getattr(value, member.attribute)
        if inner is msgspec.UNSET:
            continue
        here = (*steps, member.name)
        if not member.inner:
            yield row, here, member.path, inner
        elif not member.is_list:
            yield from _within(inner, member.inner, row, here)
        else:
            for position, element in enumerate(inner):
                if member.has_table:
                    yield from _within(element, member.inner, (member.name, position), ())
                else:
                    yield from _within(element, member.inner, row, (*here, position))
