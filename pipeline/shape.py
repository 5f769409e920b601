"""The JSON shape that the schema's paths describe, and what of a JSON object does not fit it.

The columns of nodes, start_tasks, recent_tasks and node_errors together say what a ComputeNode looks
like; this room turns them into one tree, from which both the strict Arrow reader and the patient
``Cleaner`` (which names every field that does not fit) are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.schema import Column, Table


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar, or a list of scalars: the column it fills."""

    column: Column

    @property
    def arrow(self) -> pa.DataType:
        """The type it is read as: times as strings, for the service writes seven digits."""
        return schema.TEXT if self.column.type == schema.TIME else self.column.type


@dataclass(frozen=True, slots=True)
class Members:
    """An object: its members by name."""

    members: dict[str, Shape]

    @property
    def arrow(self) -> pa.StructType:
        """A struct of the members, in the schema's order."""
        return pa.struct([pa.field(name, shape.arrow) for name, shape in self.members.items()])


@dataclass(frozen=True, slots=True)
class Elements:
    """A list of objects; ``has_table`` where they are the rows of a table of their own."""

    element: Members
    has_table: bool = False

    @property
    def arrow(self) -> pa.ListType:
        """A list of the element's struct."""
        return pa.list_(pa.field("element", self.element.arrow))


Shape = Leaf | Members | Elements


def members(columns: Iterable[Column]) -> Members:
    """The object whose members the columns' paths name; a dot in a path goes one object deeper."""
    top: dict[str, Shape] = {}
    for column in columns:
        if column.path is None:
            continue
        *parents, name = column.path.split(".")
        place = top
        for parent in parents:
            inner = place.setdefault(parent, Members({}))
            assert isinstance(inner, Members), column.path
            place = inner.members
        place[name] = Elements(members(column.fields)) if column.fields else Leaf(column)
    return Members(top)


def _with_children(node: Table, *children: Table) -> Members:
    shape = members(node.columns)
    for child in children:
        assert child.root is not None
        inner = members(child.columns)
        name = child.root.removesuffix("[]")
        shape.members[name] = Elements(inner, True) if child.root.endswith("[]") else inner
    return shape


START_TASK = members(schema.START_TASKS.columns)
#: A ComputeNode: the node's own columns and those of its three child tables.
NODE = _with_children(schema.NODES, schema.START_TASKS, schema.RECENT_TASKS, schema.NODE_ERRORS)
POOL = members(schema.POOLS.columns)
POOL_USAGE = members(schema.POOL_USAGE.columns)


@dataclass(slots=True)
class Problem:
    """A value that does not fit: where it stands, what was expected, what came (never the value)."""

    path: str
    problem: str


@dataclass(slots=True)
class Cleaned:
    """A JSON object taken apart.

    ``value`` holds what fits the shape. ``extra`` holds the rest by row: the key is the place of the
    row's object (``()`` the object itself, ``("recentTasks", 2)`` an element with a table of its own,
    ``("startTask",)``), the value maps a path inside it to the unknown value, null, {} or [].
    """

    value: dict[str, object]
    extra: dict[tuple[str | int, ...], dict[str, object]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


# The form the service writes; whatever else Arrow reads is left to Arrow.
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z", re.ASCII)
_FINER = r"(\.\d{6})\d+"
_INT_RANGE = {schema.INT: 2**31, schema.COUNT: 2**63}


def to_time(texts: pa.StringArray) -> pa.TimestampArray:
    """Times as the service writes them, to microseconds, finer digits cut off; ArrowInvalid if not."""
    try:
        return texts.cast(pa.timestamp("ns", tz="UTC")).cast(schema.TIME, safe=False)
    except pa.ArrowInvalid:  # .NET's years 1 and 9999 are outside what nanoseconds can count
        return pc.replace_substring_regex(texts, _FINER, r"\1").cast(schema.TIME)


def is_time(text: str) -> bool:
    """Whether ``to_time`` reads it, and Python can hold it."""
    match = _TIME.fullmatch(text)
    try:
        if match is not None:
            datetime.fromisoformat(match[1])
        else:
            to_time(pa.array([text])).to_pylist()
    except (ValueError, OverflowError, UnicodeEncodeError):
        return False
    return True


def escape(name: str) -> str:
    """A member's name as a step of a path: dots, brackets and backslashes escaped."""
    return re.sub(r"([\\.\[\]])", r"\\\1", name)


def _misfit(leaf: Leaf, value: object) -> str | None:
    """What is wrong with a scalar, or None: declared types only, nothing is converted."""
    kind = leaf.column.type
    if kind == schema.TIME:
        fits = isinstance(value, str) and is_time(value)
        return None if fits else f"expected a date-time, got {_kind(value)}"
    if kind == schema.FLAG:
        return None if isinstance(value, bool) else f"expected a boolean, got {_kind(value)}"
    if kind in _INT_RANGE:
        if not isinstance(value, int) or isinstance(value, bool):
            return f"expected an integer, got {_kind(value)}"
        bound = _INT_RANGE[kind]
        return None if -bound <= value < bound else f"integer beyond {kind}"
    if kind == schema.REAL:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        return None if fits else f"expected a number, got {_kind(value)}"
    if not isinstance(value, str):
        return f"expected a string, got {_kind(value)}"
    return None if _is_unicode(value) else "a lone surrogate, which is no character"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    kinds = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "an integer",
    }
    return kinds.get(type(value), "null" if value is None else "a number")


class Repeated(dict[str, object]):
    """A JSON object that names a member twice: all values are kept, later ones as ``name (2)``."""


def unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An ``object_pairs_hook`` for json that loses no value of a repeated member."""
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    repeated = Repeated()
    for name, value in pairs:
        count = 1
        key = name
        while key in repeated:
            count += 1
            key = f"{name} ({count})"
        repeated[key] = value
    return repeated


class Cleaner:
    """Takes JSON objects apart: what fits ``shape``, what is unknown, what is of the wrong type.

    ``ignored`` names members of the top object that are neither columns nor unknown.
    """

    def __init__(self, shape: Members, ignored: Iterable[str] = ("odata.metadata",)) -> None:
        self.shape = shape
        self.ignored = frozenset(ignored)

    def clean(self, value: dict[str, object]) -> Cleaned:
        """``value`` taken apart; nothing of it is lost between ``value``, ``extra`` and problems."""
        cleaned = Cleaned({})
        place = {name: x for name, x in value.items() if name not in self.ignored}
        kept = Repeated(place) if isinstance(value, Repeated) else place
        cleaned.value = self._object(kept, self.shape, cleaned, (), "", "")
        return cleaned

    def _object(
        self,
        value: dict[str, object],
        shape: Members,
        cleaned: Cleaned,
        row: tuple[str | int, ...],
        path: str,
        full: str,
    ) -> dict[str, object]:
        """``path`` is relative to the row's object, ``full`` to the whole; both end in a dot or "" ."""
        if isinstance(value, Repeated):
            cleaned.problems.append(Problem(full.removesuffix("."), "a member named twice"))
        kept: dict[str, object] = {}
        for name, x in value.items():
            member = shape.members.get(name)
            here, whole = path + escape(name), full + escape(name)
            if member is None:
                cleaned.extra.setdefault(row, {})[here] = x
                cleaned.unknown.append(re.sub(r"\[\d+\]", "[]", whole))
            elif x is None:
                cleaned.extra.setdefault(row, {})[here] = None
            elif isinstance(member, Members):
                if not isinstance(x, dict):
                    problem = f"expected an object, got {_kind(x)}"
                    cleaned.problems.append(Problem(whole, problem))
                    continue
                if not x:
                    cleaned.extra.setdefault(row, {})[here] = {}
                own = not row and member is self.shape.members.get("startTask")
                inner = self._object(
                    x,
                    member,
                    cleaned,
                    (name,) if own else row,
                    "" if own else here + ".",
                    whole + ".",
                )
                kept[name] = inner
            elif isinstance(member, Elements):
                self._elements(name, x, member, cleaned, row, here, whole, kept)
            else:
                self._leaf(name, x, member, cleaned, whole, kept)
        return kept

    def _elements(
        self,
        name: str,
        x: object,
        member: Elements,
        cleaned: Cleaned,
        row: tuple[str | int, ...],
        here: str,
        whole: str,
        kept: dict[str, object],
    ) -> None:
        if not isinstance(x, list):
            cleaned.problems.append(Problem(whole, f"expected a list, got {_kind(x)}"))
            return
        if not x and member.has_table:
            cleaned.extra.setdefault(row, {})[here] = []
        elements = []
        for position, element in enumerate(x):
            if not isinstance(element, dict):
                problem = f"expected an object, got {_kind(element)}"
                cleaned.problems.append(Problem(f"{whole}[{position}]", problem))
                continue
            inner_row = (name, position) if member.has_table else row
            inner_path = "" if member.has_table else f"{here}[{position}]."
            inner = self._object(
                element, member.element, cleaned, inner_row, inner_path, f"{whole}[{position}]."
            )
            elements.append(inner)
        kept[name] = elements

    def _leaf(
        self,
        name: str,
        x: object,
        member: Leaf,
        cleaned: Cleaned,
        whole: str,
        kept: dict[str, object],
    ) -> None:
        if pa.types.is_list(member.column.type):  # a list of enum values
            values = x if isinstance(x, list) else [x]
            problem = None if isinstance(x, list) else f"expected a list, got {_kind(x)}"
            wrong = (v for v in values if not isinstance(v, str) or not _is_unicode(v))
            if problem is None and (found := next(wrong, values)) is not values:
                problem = f"expected strings, got {_kind(found)}"
        else:
            problem = _misfit(member, x)
        if problem is None:
            kept[name] = x
        else:
            cleaned.problems.append(Problem(whole, problem))


def lowered(value: object, shape: Shape) -> object:
    """A JSON value with its enum members lower-cased: the service's case is not to be relied on."""
    if isinstance(shape, Members) and isinstance(value, dict):
        return {
            name: lowered(x, shape.members[name]) if name in shape.members else x
            for name, x in value.items()
        }
    if isinstance(shape, Elements) and isinstance(value, list):
        return [lowered(x, shape.element) for x in value]
    if isinstance(shape, Leaf) and shape.column.enum:
        if isinstance(value, str):
            return value.lower()
        if isinstance(value, list):
            return [x.lower() if isinstance(x, str) else x for x in value]
    return value


def leaves(shape: Members, path: str = "") -> Iterator[tuple[str, Leaf]]:
    """Every scalar below an object with its path, ``[]`` after a list's name."""
    for name, member in shape.members.items():
        if isinstance(member, Leaf):
            yield path + name, member
        elif isinstance(member, Members):
            yield from leaves(member, f"{path}{name}.")
        else:
            yield from leaves(member.element, f"{path}{name}[].")
