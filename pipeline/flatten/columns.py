"""Makes the columns of a table from Arrow arrays of JSON objects: renamed, typed, redacted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.flatten import shape
from pipeline.flatten.validator import Steps
from pipeline.redact import Redactor, is_secret_name, mask_column
from pipeline.schema import Column, Table

#: Empty tables: most pages have no new start task, many have no error.
EMPTY = {table.name: table.schema.empty_table() for table in schema.DATA_TABLES}
#: The most problems that a ledger row describes; all are counted.
PROBLEMS_KEPT = 100


@dataclass
class Report:
    """What a flattener found besides rows: counts, unknown fields and values, problems."""

    duplicates: int = 0
    malformed: int = 0
    missing_ids: int = 0
    unknown_fields: Counter[str] = field(default_factory=Counter)
    unknown_enum_values: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: list[dict[str, str | None]] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Adds another report's counts to this one's."""
        self.duplicates += other.duplicates
        self.malformed += other.malformed
        self.missing_ids += other.missing_ids
        self.unknown_fields.update(other.unknown_fields)
        self.unknown_enum_values.update(other.unknown_enum_values)
        for problem in other.problems:
            self.note(problem)

    def note(self, problem: dict[str, str | None]) -> None:
        """Keeps a problem (pool_id, node_id, path, problem) while there is room."""
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)


@dataclass(frozen=True)
class Origin:
    """The values of the key columns of a snapshot's rows."""

    account: str
    snapshot_id: str
    snapshot_at: datetime

    def columns(self, length: int) -> list[pa.Array]:
        """The three key columns, repeated ``length`` times."""
        values = (self.account, self.snapshot_id, pa.scalar(self.snapshot_at, schema.TIME))
        return [pa.repeat(value, length) for value in values]


def path_text(steps: Iterable[str | int], redactor: Redactor, any_place: bool = False) -> str:
    """A path of these steps, its names redacted: a name may be a secret too."""
    masked = (redactor.text(step) if isinstance(step, str) else step for step in steps)
    return shape.join(masked, any_place)


def path_name(steps: Iterable[str | int], redactor: Redactor, any_place: bool = False) -> str:
    """The same path for the report, with lone surrogates escaped."""
    return path_text(steps, redactor, any_place).encode("utf-8", "backslashreplace").decode()


def extra_json(extra: Mapping[Steps, object], redactor: Redactor) -> str | None:
    """The value of ``extra_json``: one JSON object, path -> value, redacted; None where it is empty.

    Its members are sorted: the fast path does not see their order in the page.
    """
    if not extra:
        return None
    masked = [
        (path_text(steps, redactor), redactor.json(value, str(steps[-1])))
        for steps, value in extra.items()
    ]
    return json.dumps(shape.unique_members(sorted(masked, key=itemgetter(0))))


def _member(objects: pa.StructArray, column: Column) -> pa.Array:
    """The values a column's path leads to; null where any object on the way is missing."""
    assert column.path is not None
    for name in column.path.split("."):
        # Members of a missing object may hold values: struct_field masks them, and costs more.
        is_whole = not objects.null_count
        objects = objects.field(name) if is_whole else pc.struct_field(objects, [name])
    return objects


def _texts(column: Column, values: pa.Array) -> Iterator[pa.StringArray]:
    """The free-text arrays in a column, those in its lists too."""
    if column.secret == "text":
        yield values.flatten() if pa.types.is_list(values.type) else values
    if column.fields:
        flat = values.flatten()
        for each in column.fields:
            yield from _texts(each, _member(flat, each))


class Columns:
    """The columns of one table, made from an array of JSON objects: renamed, typed, redacted.

    ``texts`` are the free texts in them. ``make`` takes the masks of texts that hold a secret, made
    for several tables at once: a search has a fixed cost.
    """

    def __init__(
        self, table: Table, objects: pa.StructArray, redactor: Redactor, report: Report
    ) -> None:
        self.of = table
        self.length = len(objects)
        self.redactor = redactor
        self.report = report
        self.made: dict[str, pa.Array] = {}
        self.masks: Mapping[str, str] = {}
        stored = [column for column in table.from_json if column.is_stored]
        self._values = [(column, _member(objects, column)) for column in stored]
        self.texts = [text for column, values in self._values for text in _texts(column, values)]

    def make(self, masks: Mapping[str, str] | None = None) -> Columns:
        """Makes the columns; masks are made from ``texts`` unless given.

        Raises:
            pa.ArrowInvalid: a string is not a time.
        """
        self.masks = self.redactor.masks(self.texts) if masks is None else masks
        for column, values in self._values:
            self.made[column.name] = self._column(column, values, self.of.name)
        return self

    def _column(self, column: Column, values: pa.Array, place: str) -> pa.Array:
        place = f"{place}.{column.name}"
        if values.null_count == len(values):
            return pa.nulls(len(values), column.type)
        if column.fields:
            return self._list(column, values, place)
        if column.enum:
            if pa.types.is_list(values.type):
                inner = self._enum(column, values.flatten(), place)
                return _same_lists(values, inner, column.type)
            return self._enum(column, values, place)
        if column.type == schema.TIME:
            return shape.to_time(values)
        if pa.types.is_list(values.type):
            return _same_lists(values, mask_column(values.flatten(), self.masks), column.type)
        # Columns of kind "mask" come masked: only start tasks have them.
        return mask_column(values, self.masks) if column.secret == "text" else values

    def _enum(self, column: Column, values: pa.StringArray, place: str) -> pa.StringArray:
        """The values in lower case; undocumented ones are kept and counted."""
        encoded = values.dictionary_encode()
        found = encoded.dictionary.to_pylist()
        lowered = [value.lower() for value in found]
        for index, value in enumerate(lowered):
            if value not in column.enum:
                # redaction needs the original case
                lowered[index] = self.redactor.text(found[index]).lower()
                count = pc.sum(pc.equal(encoded.indices, index)).as_py()
                self.report.unknown_enum_values[place, lowered[index]] += count or 0
        if lowered == found:
            return values
        names = pa.array(lowered, pa.string())
        return pa.DictionaryArray.from_arrays(encoded.indices, names).cast(pa.string())

    def _list(self, column: Column, values: pa.ListArray, place: str) -> pa.ListArray:
        flat = values.flatten()
        stored = [each for each in column.fields if each.is_stored]
        arrays = []
        for each in stored:
            arrays.append(self._column(each, _member(flat, each), place))
        if [(each.name, each.secret) for each in stored] == [("name", "text"), ("value", "text")]:
            arrays[1] = _hidden(*arrays)
        struct = pa.StructArray.from_arrays(arrays, fields=[each.field for each in stored])
        return _same_lists(values, struct, column.type)

    def table(self, origin: Origin) -> pa.Table:
        """All columns as one Arrow table, in file order, with the table's schema."""
        keys = dict(
            zip(("account", "snapshot_id", "snapshot_at"), origin.columns(self.length), strict=True)
        )
        made = keys | self.made
        return pa.Table.from_arrays(
            [made[column.name] for column in self.of.stored], schema=self.of.schema
        )


def _hidden(names: pa.StringArray, values: pa.StringArray) -> pa.StringArray:
    """The values of name-value pairs, masked where the name says that the value is a secret."""
    secret = [name for name in names.unique().to_pylist() if name and is_secret_name(name)]
    if not secret:
        return values
    hides = pc.and_(pc.is_in(names, pa.array(secret, pa.string())), pc.is_valid(values))
    return pc.if_else(hides, schema.REDACTED, values)


def offsets(lists: pa.ListArray) -> pa.Int32Array:
    """The offsets of a list array, from 0 and without gaps: one more than it has lists."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])


def _same_lists(like: pa.ListArray, values: pa.Array, kind: pa.DataType) -> pa.ListArray:
    """A list array of these values with the lengths and nulls of ``like``."""
    mask = pc.is_null(like) if like.null_count else None
    return pa.ListArray.from_arrays(offsets(like), values, type=kind, mask=mask)
