"""A page of a listing: the proof of its envelope, and its elements read on the fast or the slow path.

msgspec has proved that the body is JSON and found the start tasks in it; arrow-rs reads the nodes as
columns; and an account of the body's quotes proves that the columns hold all that the body says.
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

P = ParamSpec("P")
R = TypeVar("R")
_TURN = [threading.Lock()]
if hasattr(os, "register_at_fork"):  # whose turn it was is not there in the child
    os.register_at_fork(after_in_child=lambda: _TURN.append(threading.Lock()))


def in_turn(step: Callable[P, R]) -> Callable[P, R]:
    """For a step of a page made of hundreds of small Arrow calls: one thread at a time is in such.

    Each call lets go of Python's lock for microseconds, and two threads in such steps would wake
    each other each time: a fifth of their time. What takes long in one call is no such step.
    """

    @wraps(step)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with _TURN[-1]:
            return step(*args, **kwargs)

    return alone


def _lean(kind: pa.DataType, number: pa.DataType) -> pa.DataType:
    """A type with ``number`` for every integer in it."""
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(each.name, _lean(each.type, number)) for each in kind])
    if pa.types.is_list(kind):
        return pa.list_(pa.field("element", _lean(kind.value_type, number)))
    return number if pa.types.is_integer(kind) else kind


def _numbered(node: pa.StructType) -> pa.StructType:
    """A node's type with a number in place of its start task."""
    return pa.struct(
        [pa.field(f.name, pa.int32() if f.name == "startTask" else f.type) for f in node]
    )


#: A node as it is read: ``startTask`` is the number of its start task among those of the page.
NODE_TYPE = _numbered(shape.NODE.arrow)
# arrow-rs makes an integer of 1.5 without a word, but not a number of anything else: what is no
# integer shows when the numbers are cast.
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
    """A page whose nodes fit the schema: one struct a node, and the distinct start tasks, as sent."""

    nodes: pa.StructArray
    start_tasks: list[bytes]
    next_link: str | None


class NeedsSlowPath(Exception):
    """Something of a page needs the slow path."""


def read_fast(
    body: bytes, envelope: Envelope | None = None, unknown_fields: int = 0
) -> NodePage | None:
    """A page of nodes, or None where anything at all of it needs the slow path.

    ``envelope`` is what ``prove`` made of this very body, if it did already; ``unknown_fields`` counts
    the members in it that the schema does not name and that have a number for a value.

    That is: a field the schema does not name, a value of another type, a null or an empty object
    (to Arrow these are missing too), a node without a valid id, no such envelope. What the start tasks
    contain is not checked.
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
    """The body with a number in place of each start task, and the distinct ones by that number.

    A pool's nodes carry the same one, a third of their bytes: it is read once.
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
    """A file in memory, for page after page: half of writing one is asking for memory."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._file = os.memfd_create("page")
        self.path = f"/proc/self/fd/{self._file}"

    def __del__(self) -> None:
        os.close(self._file)

    def hold(self, body: bytes) -> None:
        """Makes ``body`` all that it holds."""
        at = 0
        while at < len(body):
            at += os.pwrite(self._file, memoryview(body)[at:], at)
        os.ftruncate(self._file, at)


_HAS_MEMORY_FILES = hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()
_OF_THREAD = threading.local()


def _source(body: bytes) -> io.BytesIO | str:
    """What arrow-rs reads the body from: a file in memory, where the system has such files.

    An object would be asked for 8 kB at a time, each time waiting for Python's lock.
    """
    if not _HAS_MEMORY_FILES:
        return io.BytesIO(body)
    file: _MemoryFile | None = getattr(_OF_THREAD, "file", None)
    if file is None or file.owner != os.getpid():  # a fork has its parent's
        file = _OF_THREAD.file = _MemoryFile()
    file.hold(body)
    return file.path


def _read(body: bytes, unknown_fields: int) -> pa.Table:
    """A page that is JSON, read by arrow-rs to the last member.

    arrow-rs passes over members it does not know, takes the last of two of one name, makes null and
    missing one, and a number of "12". But in JSON every member and every string has two quotes: if
    the body has no other quotes than the columns account for, then they hold all of it.
    """
    is_escaped = b"\\" in body
    # An escaped quote would be missing in the account; and a zero in arrow-rs's message ends Python.
    if is_escaped and (b"\\u0022" in body or b"\\u0000" in body):
        raise NeedsSlowPath
    page = pa.table(read_json(_source(body), _PAGE_SCHEMA, batch_size=2))
    if page.num_rows != 1 or not _holds_all(page, body, is_escaped, unknown_fields):
        raise NeedsSlowPath
    return page


#: So many bytes are compared at once: what fits the processor's cache.
_AT_ONCE = 1 << 16


@in_turn
def _holds_all(page: pa.Table, body: bytes, is_escaped: bool, unknown_fields: int) -> bool:
    """Whether the columns, and the names of the unknown fields, account for every quote of the body."""
    letters = np.frombuffer(body, np.uint8)
    quotes = sum(
        np.count_nonzero(letters[begin : begin + _AT_ONCE] == ord('"'))
        for begin in range(0, len(body), _AT_ONCE)
    )
    return quotes == _quotes(page.to_struct_array().chunk(0), is_escaped) + 2 * unknown_fields


def _quotes(values: pa.Array, is_escaped: bool) -> int:
    """The quotes in the JSON of these values. Raises NeedsSlowPath at a null in a list, and at {}."""
    if pa.types.is_string(values.type):
        within = pc.sum(pc.count_substring(values, '"')).as_py() if is_escaped else 0
        quotes: int = 2 * (len(values) - values.null_count) + (within or 0)
        return quotes
    if pa.types.is_list(values.type):
        if values.values.null_count:
            raise NeedsSlowPath
        return _quotes(values.values, is_escaped)
    if not pa.types.is_struct(values.type):
        return 0
    members = [values.field(i) for i in range(values.type.num_fields)]
    members = [each for each in members if each.null_count < len(each)]
    if _has_empty(values, members):
        raise NeedsSlowPath
    return sum(2 * (len(x) - x.null_count) + _quotes(x, is_escaped) for x in members)


def _has_empty(objects: pa.StructArray, members: list[pa.Array]) -> bool:
    """Whether an object is there without any of its members."""
    if any(each.null_count == objects.null_count for each in members):
        return False  # every object has that one
    filled = pa.repeat(False, len(objects))
    for each in members:
        filled = pc.or_(filled, each.is_valid())
    return bool(pc.any(pc.and_not(objects.is_valid(), filled)).as_py())


def read_page(body: bytes, member: str = "value") -> tuple[list[object], str | None]:
    """The elements of a page of any listing and its next link, as Python values.

    Raises:
        BadPage: the body is not one JSON object with a ``value`` list.
    """
    try:
        # Decoded here, for json would take any UTF there is, and half surrogates. A mark at the
        # beginning is no part of the text: saved files have one.
        page = parse_page(body)
    except ValueError as error:
        raise BadPage(f"not JSON: {error}") from None
    found, next_link = elements(page, member)
    try:
        check_count(found)
    except TooManyElements as error:
        raise BadPage(str(error)) from None
    return found, next_link


def elements(page: object, member: str = "value") -> tuple[list[object], str | None]:
    """The same of a page that is parsed already, its objects made by ``shape.unique_members``.

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
    """A body as Python values; what is nested too deeply in it is cut off, and costs its node only.

    Raises:
        ValueError: it is not JSON, or has more objects than any page.
    """
    check_size(body)
    try:
        return parse(body.decode("utf-8-sig"))
    except RecursionError:
        return parse(shallow(body).decode("utf-8-sig"))


def parse(text: str) -> object:
    """JSON as Python values, its objects made by ``shape.unique_members``. Raises ValueError."""
    return json.loads(
        text,
        object_pairs_hook=shape.unique_members,
        parse_constant=refuse_constant,
        parse_int=_integer,
    )


def refuse_constant(name: str) -> object:
    """For json.loads, which would take NaN and Infinity. Raises ValueError."""
    raise ValueError(f"{name} is not JSON")


def _integer(text: str) -> int | float:
    """For json.loads: what Python would not read, thousands of digits, is the matter of its node."""
    return int(text) if len(text) < 400 else float(text)


#: The service's own ids have at most 80; a longer one fits no URL and no line of a log.
_MAX_ID = 1000


def is_id(value: object) -> bool:
    """Whether a value can be a node's or a pool's id: a printable string of at most 1,000 letters."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _MAX_ID
        and value.isprintable()
        and not value.isspace()
    )


def _has_plain_ids(nodes: pa.StructArray) -> bool:
    """Whether every id is one beyond doubt: letters from ! to ~; is_id judges the others."""
    ids = nodes.field("id")
    if nodes.null_count or ids.null_count or not len(ids):
        return not len(nodes)
    _, ends, text = ids.buffers()
    places = np.frombuffer(ends, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    letters = np.frombuffer(text, np.uint8)[places[0] : places[-1]]
    lengths = np.diff(places)
    is_filled = lengths.min() > 0 and lengths.max() <= _MAX_ID
    return bool(is_filled and letters.min() >= ord("!") and letters.max() <= ord("~"))
