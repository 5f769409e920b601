"""Checks the envelope of a page: one JSON object with a list ``value``.

Elements are not parsed, except to find their start tasks.
"""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pyarrow as pa

#: The most elements of a page; the service sends at most 1,000.
MAX_ELEMENTS = 10_000
#: The greatest depth that is read: readers of JSON recurse, and Python's stack is finite.
MAX_DEPTH = 150
#: Bytes from which the objects of a page are counted before they are made.
_LARGE = 16 << 20
_MAX_OBJECTS = 100 * MAX_ELEMENTS
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


class Element(msgspec.Struct, gc=False):
    """An object of a listing; ``startTask`` is its JSON, a part of the body."""

    startTask: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Envelope(msgspec.Struct):
    """One JSON object with a list ``value`` of objects, its text UTF-8."""

    value: list[Element]
    next_link: str | None = msgspec.field(name="odata.nextLink", default=None)


class TooManyElements(ValueError):
    """A page with more elements than the service sends, which could exhaust memory."""


_DECODER = msgspec.json.Decoder(Envelope)


def prove(body: bytes) -> Envelope:
    """The envelope of a body.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
        msgspec.DecodeError: it is not one JSON object with a list of objects.
        RecursionError: it is nested too deeply.
        TooManyElements: it lists more elements than any page of the service.
    """
    check_size(body)
    check_utf8(body)
    envelope = _DECODER.decode(body)
    check_count(envelope.value)
    return envelope


def check_size(body: bytes) -> None:
    """Raises TooManyElements for a large body with too many objects, before they are made."""
    if len(body) > _LARGE and body.count(b"{") > _MAX_OBJECTS:
        raise TooManyElements(f"a page of more than {_MAX_OBJECTS:,} objects")


def check_count(elements: list[Element] | list[object] | list[msgspec.Raw]) -> None:
    """Raises TooManyElements for a list that is longer than the service's."""
    if len(elements) > MAX_ELEMENTS:
        raise TooManyElements(f"a page of {len(elements):,} elements, more than {MAX_ELEMENTS:,}")


def check_utf8(body: bytes) -> None:
    """Checks the UTF-8 of the whole body, as msgspec and arrow-rs do not. Raises UnicodeDecodeError."""
    if body.isascii():
        return
    ends = np.array([0, len(body)], np.int64)
    text = pa.LargeStringArray.from_buffers(1, pa.py_buffer(ends), pa.py_buffer(body))
    try:
        text.validate(full=True)  # a tenth of the time of decode
    except pa.ArrowInvalid:
        body.decode()
        raise


def shallow(body: bytes) -> bytes:
    """JSON cut at MAX_DEPTH: deeper lists and objects become empty.

    A cut value is still too deep to be kept, so that its node counts as malformed.
    """
    parts: list[bytes] = []
    depth = begin = 0
    for match in _STRING_OR_BRACKET.finditer(body):
        letter = body[match.start()]
        if letter in b"[{":
            depth += 1
            if depth == MAX_DEPTH:
                parts.append(body[begin : match.end()])
        elif letter in b"]}":
            if depth == MAX_DEPTH:
                begin = match.start()
            depth -= 1
    if depth < MAX_DEPTH:  # else it ends in a part that is cut
        parts.append(body[begin:])
    return b"".join(parts)
