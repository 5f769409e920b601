"""The JSON shape that the schema's paths describe: one tree of objects, lists and checked scalars.

The columns of nodes, start_tasks, recent_tasks and node_errors describe a ComputeNode; the fast path and
the ``Validator`` both derive from this tree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.schema import Column, Table


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar, or a list of scalars, and its column."""

    column: Column
    misfit: Misfit
    is_text: bool = False
    """Whether every ASCII string fits."""

    @property
    def arrow(self) -> pa.DataType:
        """The type it is read as: times are strings, because the service writes seven digits."""
        return schema.TEXT if self.column.type == schema.TIME else self.column.type


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity
class Members:
    """An object: its members by name; ``has_table`` where it has a table of its own."""

    members: dict[str, Shape]
    has_table: bool = False

    @property
    def arrow(self) -> pa.StructType:
        """A struct of the members, in the schema's order."""
        return pa.struct([pa.field(name, shape.arrow) for name, shape in self.members.items()])


@dataclass(frozen=True, slots=True)
class Elements:
    """A list of objects; ``has_table`` where they have a table of their own."""

    element: Members
    has_table: bool = False

    @property
    def arrow(self) -> pa.ListType:
        """A list of the element's struct."""
        return pa.list_(pa.field("element", self.element.arrow))


Shape = Leaf | Members | Elements
#: What is wrong with a scalar, or None where it fits.
Misfit = Callable[[object], str | None]


def members(columns: Iterable[Column]) -> Members:
    """The object whose members the columns' paths name; a dot in a path leads into an object."""
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
        place[name] = (
            Elements(members(column.fields))
            if column.fields
            else Leaf(column, _misfit(column), column.type == schema.TEXT)
        )
    return Members(top)


def _with_children(node: Table, *children: Table) -> Members:
    shape = members(node.columns)
    for child in children:
        assert child.root is not None
        inner = members(child.columns)
        name = child.root.removesuffix("[]")
        is_list = child.root.endswith("[]")
        shape.members[name] = Elements(inner, True) if is_list else Members(inner.members, True)
    return shape


# The service's form; other forms are left to Arrow.
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z", re.ASCII)
_FINER = r"(\.\d{6})\d+"
_INT_RANGE = {schema.INT: 2**31, schema.COUNT: 2**63}
_EPOCH = pa.scalar(0, pa.timestamp("ns", tz="UTC"))
_FIRST, _LAST = (
    pa.scalar(time.replace(tzinfo=UTC), schema.TIME) for time in (datetime.min, datetime.max)
)


def to_time(texts: pa.StringArray) -> pa.TimestampArray:
    """Times of the service in microseconds, finer digits cut off. Raises ArrowInvalid."""
    try:
        times = texts.cast(pa.timestamp("ns", tz="UTC"))
        # Arrow rounds towards 1970, so that an earlier time would gain a microsecond.
        if not pc.any(pc.less(times, _EPOCH)).as_py():
            return times.cast(schema.TIME, safe=False)
    except pa.ArrowInvalid:  # .NET's years 1 and 9999 are out of range for nanoseconds
        pass
    times = pc.replace_substring_regex(texts, _FINER, r"\1").cast(schema.TIME)
    # Arrow takes the year 0, and offsets that lead out of the years 1 to 9999; readers do not.
    if pc.any(pc.or_(pc.less(times, _FIRST), pc.greater(times, _LAST))).as_py():
        raise pa.ArrowInvalid("a time outside the years 1 to 9999")
    return times


def is_time(text: str) -> bool:
    """Whether ``to_time`` reads it."""
    match = _TIME.fullmatch(text)
    try:
        if match is not None:
            date.fromisoformat(match[1])
        else:
            to_time(pa.array([text]))
    except (ValueError, UnicodeEncodeError):  # ArrowInvalid is a ValueError
        return False
    return True


_NAMELESS = "\\0"  # the step of a member whose name is the empty string


def escape(name: str) -> str:
    """A member's name as a step of a path: dots, brackets and backslashes escaped."""
    return re.sub(r"([\\.\[\]])", r"\\\1", name) if name else _NAMELESS


def join(steps: Iterable[str | int], any_place: bool = False) -> str:
    """The path of these steps: ``a.b[2].c``; with ``any_place`` without numbers: ``a.b[].c``."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += "[]" if any_place else f"[{step}]"
        else:
            path += f".{escape(step)}" if path else escape(step)
    return path


def _misfit(column: Column) -> Misfit:
    """The check of a column's values: nothing is converted."""
    if column.type == schema.TIME:
        return _no_time
    if column.type == schema.FLAG:
        return lambda x: None if isinstance(x, bool) else f"expected a boolean, got {kind(x)}"
    if column.type in _INT_RANGE:
        return _no_integer(column.type)
    if column.type == schema.REAL:
        return _no_number
    return _no_texts if pa.types.is_list(column.type) else _no_text


def _no_time(value: object) -> str | None:
    if isinstance(value, str):
        return None if is_time(value) else "expected a date-time, got another string"
    return f"expected a date-time, got {kind(value)}"


def _no_integer(kind_of_it: pa.DataType) -> Misfit:
    bound = _INT_RANGE[kind_of_it]

    def misfit(value: object) -> str | None:
        # JSON has one type of number: 1.0 and 1e2 are integers.
        is_whole = isinstance(value, float) and value.is_integer()
        if not (is_whole or isinstance(value, int)) or isinstance(value, bool):
            return f"expected an integer, got {kind(value)}"
        assert isinstance(value, int | float)
        return None if -bound <= value < bound else f"an integer beyond {kind_of_it}"

    return misfit


def _no_number(value: object) -> str | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return f"expected a number, got {kind(value)}"
    try:
        return None if math.isfinite(value) else "a number that is not finite"
    except OverflowError:
        return "a number that is not finite"


def _no_text(value: object) -> str | None:
    if not isinstance(value, str):
        return f"expected a string, got {kind(value)}"
    return (
        None
        if value.isascii() or _is_unicode(value)
        else "a lone surrogate, which is not a character"
    )


def _no_texts(value: object) -> str | None:
    if not isinstance(value, list):
        return f"expected a list, got {kind(value)}"
    return next((problem for x in value if (problem := _no_text(x)) is not None), None)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def kind(value: object) -> str:
    """The type of a JSON value in words, without the value."""
    kinds = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "an integer",
    }
    return kinds.get(type(value), "null" if value is None else "a number")


class Repeated(dict[str, object]):
    """A JSON object with a repeated member: it keeps all values, later ones as ``name (2)``."""


def unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An ``object_pairs_hook`` for json that keeps every value of a repeated member."""
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


def lowered(value: object, shape: Shape) -> object:
    """A JSON value with its enum members lower-cased: the service's case varies."""
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
    """Every scalar of an object with its path, ``[]`` after the name of a list."""
    for name, member in shape.members.items():
        if isinstance(member, Leaf):
            yield path + name, member
        elif isinstance(member, Members):
            yield from leaves(member, f"{path}{name}.")
        else:
            yield from leaves(member.element, f"{path}{name}[].")


START_TASK = members(schema.START_TASKS.columns)
#: A ComputeNode: the node's own columns and those of its three child tables.
NODE = _with_children(schema.NODES, schema.START_TASKS, schema.RECENT_TASKS, schema.NODE_ERRORS)
POOL_ERROR = members(schema.POOL_ERRORS.columns)


def _pool() -> Members:
    """A pool: its columns, and its errors, which have two paths."""
    shape = members(schema.POOLS.columns)
    run = shape.members["autoScaleRun"]
    assert isinstance(run, Members)
    run.members["error"] = Members(POOL_ERROR.members, True)
    shape.members["resizeErrors"] = Elements(POOL_ERROR, True)
    return shape


POOL = _pool()
POOL_USAGE = members(schema.POOL_USAGE.columns)
SUPPORTED_IMAGE = members(schema.SUPPORTED_IMAGES.columns)
