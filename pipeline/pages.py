"""A page of a listing: the proof of its envelope, and its elements read strictly or patiently.

msgspec proves the envelope and finds the start tasks' bytes; pyarrow reads the nodes against the
schema and refuses whatever it does not name, or whatever is of another type.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from pipeline import shape

NODE_TYPE = shape.NODE.arrow
_PAGE_SCHEMA = pa.schema(
    [
        ("odata.metadata", pa.string()),
        ("odata.nextLink", pa.string()),
        ("value", pa.list_(pa.field("element", NODE_TYPE))),
    ]
)


class BadPage(ValueError):
    """A body that is not one JSON object with a ``value`` list: an error, never an empty page."""


class _Node(msgspec.Struct):
    startTask: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Page(msgspec.Struct):
    value: list[_Node]
    next_link: str | None = msgspec.field(name="odata.nextLink", default=None)


_PAGE = msgspec.json.Decoder(_Page)


# What stands before a null or an empty object that is a value, rather than a part of some string:
# /dev/null and xargs -I{} are common in command lines. A string that fools this costs time only. Both
# patterns begin with plain letters, for which a search is ten times faster than without.
_NULL = re.compile(rb"null(?<=[:\[,\s]null)")
_EMPTY = re.compile(rb"\{\s*\}")
_VALUE_STARTS = b":[,"
_BLANKS = b" \t\r\n"


def _has_value(body: bytes, pattern: re.Pattern[bytes]) -> bool:
    for match in pattern.finditer(body):
        before = match.start() - 1
        while before >= 0 and body[before] in _BLANKS:
            before -= 1
        if before < 0 or body[before] in _VALUE_STARTS:
            return True
    return False


def _has_null_or_empty(body: bytes) -> bool:
    """Whether a null or an empty object may be a value in the body; never a false no."""
    return _has_value(body, _NULL) or _has_value(body, _EMPTY)


@dataclass(frozen=True, slots=True)
class NodePage:
    """A page whose nodes fit the schema: one struct a node, each node's start task as it was sent."""

    nodes: pa.StructArray
    start_tasks: list[bytes | None]
    next_link: str | None


def read_strictly(body: bytes) -> NodePage | None:
    """A page of nodes, or None where anything at all of it wants patience.

    That is: a field the schema does not name, a value of another type, a null or an empty object
    (Arrow would not tell them from missing ones), a node without a valid id, no such envelope.
    """
    if _has_null_or_empty(body) or not _is_utf8(body):
        return None
    try:
        envelope = _PAGE.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    nodes = _read_nodes(body)
    if nodes is None or len(nodes) != len(envelope.value) or not _has_plain_ids(nodes):
        return None
    raw = [None if n.startTask is msgspec.UNSET else bytes(n.startTask) for n in envelope.value]
    return NodePage(nodes, raw, envelope.next_link)


def _is_utf8(body: bytes) -> bool:
    """Neither msgspec (in what it skips) nor Arrow looks: bad bytes would be written as they are."""
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_nodes(body: bytes) -> pa.StructArray | None:
    try:
        page = pj.read_json(
            pa.BufferReader(body),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(body) + 16),
            parse_options=pj.ParseOptions(
                explicit_schema=_PAGE_SCHEMA,
                unexpected_field_behavior="error",
                newlines_in_values=True,
            ),
        )
    except pa.ArrowInvalid:
        return None
    return page.column("value").chunk(0).flatten() if page.num_rows == 1 else None


def read_page(body: bytes, member: str = "value") -> tuple[list[object], str | None]:
    """The elements of a page of any listing and its next link, as Python values.

    Raises:
        BadPage: the body is not one JSON object with a ``value`` list.
    """
    try:
        # Decoded here, for json would take any UTF there is, and half surrogates. A mark at the
        # beginning is no part of the text: saved files have one.
        page = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=shape.unique_members,
            parse_constant=refuse_constant,
        )
    except ValueError as error:
        raise BadPage(f"not JSON: {error}") from None
    except RecursionError:
        raise BadPage("nested too deeply") from None
    return elements(page, member)


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


def refuse_constant(name: str) -> object:
    """For json.loads, which would take NaN and Infinity. Raises ValueError."""
    raise ValueError(f"{name} is not JSON")


def is_id(value: object) -> bool:
    """Whether a value can be a node's or a pool's id: a printable string with something in it."""
    return isinstance(value, str) and value.isprintable() and not value.isspace() and value != ""


_PLAIN_ID = r"^[!-~]+$"


def _has_plain_ids(nodes: pa.StructArray) -> bool:
    """Whether every id is one beyond doubt; is_id judges the others, the patient way."""
    plain = pc.match_substring_regex(nodes.field("id"), _PLAIN_ID)
    return not nodes.null_count and bool(pc.all(pc.fill_null(plain, False)).as_py())
