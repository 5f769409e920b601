"""A page of a listing as it is proved once, by whoever reads it first: JSON, and an envelope.

What its elements are is not looked into, but for where their start tasks stand.
"""

from __future__ import annotations

import msgspec


class Element(msgspec.Struct, gc=False):
    """An object of a listing; ``startTask`` is its JSON, a part of the body."""

    startTask: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Envelope(msgspec.Struct):
    """One JSON object with a list ``value`` of objects, its text UTF-8."""

    value: list[Element]
    next_link: str | None = msgspec.field(name="odata.nextLink", default=None)


_DECODER = msgspec.json.Decoder(Envelope)


def prove(body: bytes) -> Envelope:
    """The envelope of a body.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
        msgspec.DecodeError: it is not one JSON object with a list of objects.
        RecursionError: it is nested too deeply.
    """
    check_utf8(body)
    return _DECODER.decode(body)


def check_utf8(body: bytes) -> None:
    """What msgspec and arrow-rs skip they do not look at. Raises UnicodeDecodeError."""
    if not body.isascii():
        body.decode()
