"""Reads the elements of a page, on the fast or the slow path.

Fast: msgspec proves that the body is JSON and finds its start tasks, arrow-rs reads the nodes as
columns, and a count of quotes proves that the columns hold everything in the body.
"""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2
from arro3.io import read_json

from pipeline.extract.envelope import (
    Envelope,
    TooManyElements,
    check_count,
    check_size,
    prove,
    shallow,
)
from pipeline.flatten import shape
from pipeline.flatten.quotes import quotes_around_strings

P = ParamSpec("P")
R = TypeVar("R")
_TURN = [threading.Lock()]
if hasattr(os, "register_at_fork"):  # the thread that had the turn does not exist in the child
    os.register_at_fork(after_in_child=lambda: _TURN.append(threading.Lock()))


def in_turn(step: Callable[P, R]) -> Callable[P, R]:
    """A decorator for a step of hundreds of small Arrow calls: one thread at a time runs such a step.

    Each call releases the GIL for microseconds; two threads would wake each other each time, which
    costs a fifth of their time. A step with one long call does not need it.
    """

    @wraps(step)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with _TURN[-1]:
            return step(*args, **kwargs)

    return alone


def _lean(kind: pa.DataType, number: pa.DataType) -> pa.DataType:
    """The type with ``number`` in place of every integer type."""
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(each.name, _lean(each.type, number)) for each in kind])
    if pa.types.is_list(kind):
        return pa.list_(pa.field("element", _lean(kind.value_type, number)))
    return number if pa.types.is_integer(kind) else kind


def _numbered(node: pa.StructType) -> pa.StructType:
    """The type of a node with an index in place of its start task."""
    return pa.struct(
        [pa.field(f.name, pa.int32() if f.name == "startTask" else f.type) for f in node]
    )


#: A node as it is read: ``startTask`` is an index into the start tasks of the page.
NODE_TYPE = _numbered(shape.NODE.arrow)
# arrow-rs silently reads 1.5 as an integer. So integers are read as floats, and the cast finds
# those that are none.
_PAGE_SCHEMA = pa.schema(
    [
        ("odata.metadata", pa.string()),
        ("odata.nextLink", pa.string()),
        ("value", pa.list_(pa.field("element", _lean(NODE_TYPE, pa.float64())))),
    ]
)


class BadPage(ValueError):
    """A body that is not one JSON object with a ``value`` list: an error, never an empty page."""


@dataclass(frozen=True, slots=True)
class NodePage:
    """A page whose nodes fit the schema: a struct for each, and the JSON of distinct start tasks."""

    nodes: pa.StructArray
    start_tasks: list[bytes]
    next_link: str | None


class NeedsSlowPath(Exception):
    """A page needs the slow path."""


def read_fast(
    body: bytes, envelope: Envelope | None = None, unknown_fields: int = 0
) -> NodePage | None:
    """A page of nodes, or None where it needs the slow path.

    It does with an unknown field, a value of a wrong type, a null or an empty object (both missing to
    Arrow), a node without a valid id, or an invalid envelope. Start tasks are not checked.

    ``envelope`` is the result of ``prove`` for this body, where the caller has it; ``unknown_fields``
    counts its unknown members, whose values are numbers.
    """
    try:
        envelope = envelope or prove(body)
        lean, start_tasks = _without_start_tasks(body, envelope)
        page = _read(lean, unknown_fields)
        nodes = page.column("value").chunk(0).flatten().cast(NODE_TYPE)
    except (
        msgspec.MsgspecError,
        UnicodeDecodeError,
        RecursionError,
        pa.ArrowInvalid,
        NeedsSlowPath,
        TooManyElements,
    ):
        return None
    if not _has_plain_ids(nodes):
        return None
    return NodePage(nodes, start_tasks, envelope.next_link)


def _without_start_tasks(body: bytes, envelope: Envelope) -> tuple[bytes, list[bytes]]:
    """The body with an index in place of each start task, and the distinct start tasks.

    The nodes of a pool carry the same one, a third of their bytes: it is read once.
    """
    numbers: dict[bytes, int] = {}
    number, start_task = b"", b"no start task yet"
    parts: list[bytes | memoryview] = []
    view, address, end = memoryview(body), pa.py_buffer(body).address, 0
    for node in envelope.value:
        if isinstance(node.startTask, msgspec.UnsetType):
            continue
        begin = pa.py_buffer(node.startTask).address - address
        if body.find(b"{", begin, begin + 1) < 0 or begin < end:  # null, another type, named twice
            raise NeedsSlowPath
        if not body.startswith(start_task, begin):
            start_task = bytes(node.startTask)
            number = b"%d" % numbers.setdefault(start_task, len(numbers))
        parts += (view[end:begin], number)
        end = begin + len(start_task)
    parts.append(view[end:])
    return b"".join(parts), list(numbers)


class _MemoryFile:
    """A file in memory, reused for every page: half the time of a new one is memory allocation."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._file = os.memfd_create("page")
        self.path = f"/proc/self/fd/{self._file}"

    def __del__(self) -> None:
        os.close(self._file)

    def hold(self, body: bytes) -> None:
        """Replaces its content."""
        at = 0
        while at < len(body):
            at += os.pwrite(self._file, memoryview(body)[at:], at)
        os.ftruncate(self._file, at)


_HAS_MEMORY_FILES = hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()
_OF_THREAD = threading.local()


def _source(body: bytes) -> io.BytesIO | str:
    """The source that arrow-rs reads the body from: a file in memory, where the system has such files.

    From a Python object it reads 8 kB at a time and waits for the GIL each time.
    """
    if not _HAS_MEMORY_FILES:
        return io.BytesIO(body)
    file: _MemoryFile | None = getattr(_OF_THREAD, "file", None)
    if file is None or file.owner != os.getpid():  # a forked process has that of its parent
        file = _OF_THREAD.file = _MemoryFile()
    file.hold(body)
    return file.path


#: RE2 finds it in a thirtieth of the time of ``bytes.find``.
_NUL = re2.compile(rb"\\u0000")


def _read(body: bytes, unknown_fields: int) -> pa.Table:
    """A page of valid JSON, read by arrow-rs without loss.

    arrow-rs ignores unknown members, takes the last of two with one name, does not distinguish null
    from missing, and reads "12" as a number. But every member and every string in JSON has two quotes:
    if the columns account for all of them, they hold all of the body.
    """
    if _NUL.search(body):  # in an error message of arrow-rs it aborts Python
        raise NeedsSlowPath
    page = pa.table(read_json(_source(body), _PAGE_SCHEMA, batch_size=2))
    if page.num_rows != 1 or not _holds_all(page, body, unknown_fields):
        raise NeedsSlowPath
    return page


@in_turn
def _holds_all(page: pa.Table, body: bytes, unknown_fields: int) -> bool:
    """Whether the columns and the unknown fields account for all quotes around strings."""
    held = _quotes(page.to_struct_array().chunk(0)) + 2 * unknown_fields
    return held == quotes_around_strings(body)


def _quotes(values: pa.Array) -> int:
    """The quotes around strings in the JSON of these values.

    Raises NeedsSlowPath at a null in a list, and at {}.
    """
    if pa.types.is_string(values.type):
        return 2 * (len(values) - values.null_count)  # type: ignore[no-any-return]  # pyarrow
    if pa.types.is_list(values.type):
        if values.values.null_count:
            raise NeedsSlowPath
        return _quotes(values.values)
    if not pa.types.is_struct(values.type):
        return 0
    members = [values.field(i) for i in range(values.type.num_fields)]
    members = [each for each in members if each.null_count < len(each)]
    if _has_empty(values, members):
        raise NeedsSlowPath
    return sum(2 * (len(x) - x.null_count) + _quotes(x) for x in members)


def _has_empty(objects: pa.StructArray, members: list[pa.Array]) -> bool:
    """Whether an object has none of its members."""
    if any(each.null_count == objects.null_count for each in members):
        return False  # every object has this member
    filled = pa.repeat(False, len(objects))
    for each in members:
        filled = pc.or_(filled, each.is_valid())
    return bool(pc.any(pc.and_not(objects.is_valid(), filled)).as_py())


def read_page(body: bytes, member: str = "value") -> tuple[list[object], str | None]:
    """The elements of a page of any listing as Python values, and its next link.

    Raises:
        BadPage: the body is not one JSON object with a ``value`` list.
    """
    try:
        # Decoded here, because json takes every UTF and lone surrogates. A byte order mark is dropped:
        # saved files have one.
        page = parse_page(body)
    except ValueError as error:
        raise BadPage(f"not JSON: {error}") from None
    found, next_link = elements(page, member)
    try:
        check_count(found)
    except TooManyElements as error:
        raise BadPage(str(error)) from None
    return found, next_link


class _Sampled(msgspec.Struct):
    value: list[msgspec.Raw]


_SAMPLED = msgspec.json.Decoder(_Sampled)
_SAMPLES = 8


def sample(body: bytes, envelope: Envelope | None) -> list[object]:
    """A few elements from all over a page; none of an invalid one."""
    try:
        envelope = envelope or prove(body)
        step = len(envelope.value) // _SAMPLES + 1
        return [parse(bytes(raw).decode()) for raw in _SAMPLED.decode(body).value[::step]]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []


def elements(page: object, member: str = "value") -> tuple[list[object], str | None]:
    """The same for a parsed page, whose objects ``shape.unique_members`` made.

    Raises:
        BadPage: it is not an object with a ``value`` list.
    """
    if not isinstance(page, dict) or not isinstance(page.get(member), list):
        raise BadPage(f"not an object with a list named {member!r}")
    if isinstance(page, shape.Repeated):
        raise BadPage("an object that names a member twice")
    next_link = page.get("odata.nextLink")
    if next_link is not None and not isinstance(next_link, str):
        raise BadPage("odata.nextLink is not a string")
    return page[member], next_link


def parse_page(body: bytes) -> object:
    """A body as Python values; too deep values are cut off, which makes only their node malformed.

    Raises:
        ValueError: it is not JSON, or has more objects than any page.
    """
    check_size(body)
    return parse_whole(body.decode("utf-8-sig"))[0]


def parse_whole(text: str) -> tuple[object, bool]:
    """JSON as Python values, cut where it is too deep, and whether it is plain (``parse_plain``).

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is too deep although it was cut.
    """
    try:
        plain = parse_plain(text)
        return (parse(text), False) if plain is None else (plain, True)
    except RecursionError:
        return parse(shallow(text.encode()).decode()), False


def parse(text: str) -> object:
    """JSON as Python values; ``shape.unique_members`` makes the objects. Raises ValueError."""
    return json.loads(
        text,
        object_pairs_hook=shape.unique_members,
        parse_constant=refuse_constant,
        parse_int=_integer,
    )


#: Maybe an integer beyond 64 bits.
_LONG_NUMBER = re2.compile(rb"[0-9]{19}")


def parse_plain(text: str) -> object | None:
    """JSON as Python values, in a third of the time; None where only ``parse`` can read it.

    Without repeated members and numbers that no JSON can carry, so that its encoding loses nothing.
    """
    try:
        body = text.encode()
        if _LONG_NUMBER.search(body):
            return None
        value: object = msgspec.json.decode(body)
        encoded = msgspec.json.encode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    # msgspec drops a repeated member, and with it the quotes of its name
    is_same = quotes_around_strings(body) == quotes_around_strings(encoded)
    return value if is_same else None


def refuse_constant(name: str) -> object:
    """Refuses NaN and Infinity, which json.loads takes. Raises ValueError."""
    raise ValueError(f"{name} is not JSON")


def _integer(text: str) -> int | float:
    """For json.loads: what Python would not read, thousands of digits, is the matter of its node."""
    return int(text) if len(text) < 400 else float(text)


#: The most characters of an id; the service's have at most 80, and longer ones fit no URL.
_MAX_ID = 1000


def is_id(value: object) -> bool:
    """Whether a value can be the id of a node or pool: printable, with 1 to 1,000 characters."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _MAX_ID
        and value.isprintable()
        and not value.isspace()
    )


def _has_plain_ids(nodes: pa.StructArray) -> bool:
    """Whether every id has only characters from ! to ~; ``is_id`` decides about others."""
    ids = nodes.field("id")
    if nodes.null_count or ids.null_count or not len(ids):
        return not len(nodes)
    _, ends, text = ids.buffers()
    places = np.frombuffer(ends, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    letters = np.frombuffer(text, np.uint8)[places[0] : places[-1]]
    lengths = np.diff(places)
    is_filled = lengths.min() > 0 and lengths.max() <= _MAX_ID
    return bool(is_filled and letters.min() >= ord("!") and letters.max() <= ord("~"))
