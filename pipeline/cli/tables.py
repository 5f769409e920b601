"""Prints rows as a table that fits the terminal: constants above it, ids shortened, headings wrapped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.cli.cells import plain, rows_of
from pipeline.cli.console import escape

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console
    from rich.table import Table

#: The narrowest column of folded text; below it rows are printed as records.
_FOLDED = 24
#: Spaces between two columns.
_BETWEEN = 3
#: Characters of a shortened id: its beginning, and its end.
_HEAD, _TAIL = 16, 2


@dataclass(frozen=True)
class _Column:
    """A column for printing: the lines of its heading, its cells, and whether they may be folded."""

    name: str
    heading: tuple[str, ...]
    cells: tuple[str, ...]
    is_number: bool
    is_id: bool

    @property
    def is_alike(self) -> bool:
        return len({*self.cells}) == 1

    @property
    def least(self) -> int:
        """Its least width."""
        longest = max(map(len, self.cells))
        wide = longest if self.is_id else min(longest, _FOLDED)
        return max(wide, *map(len, self.heading))


def print_table(rows: pa.Table) -> None:
    """Prints rows as a table that is no wider than the terminal, else as records.

    Where it is too wide, columns that are the same in every row go above it; then ids are shortened;
    then headings wrapped at their underscores.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not rows.num_columns:
        return
    if not rows.num_rows:
        console.print("no rows", style="dim")
        return
    columns = [*_columns(rows)]
    for drawn in _ways(columns):
        if _width(drawn) <= console.width:
            break
    else:
        _print_records(columns, console)
        return
    names = {column.name for column in drawn}
    alike = [f"{c.name} {c.cells[0] or 'null'}" for c in columns if c.name not in names]
    if alike:
        console.print(Text(f"in every row: {', '.join(alike)}", style="dim"), soft_wrap=True)
    console.print(_table(drawn))


def _ways(columns: Sequence[_Column]) -> Iterator[list[_Column]]:
    """Layouts of a table, each narrower than the one before."""
    kept = [*columns]
    yield kept
    if len(columns[0].cells) > 1 and not all(column.is_alike for column in columns):
        kept = [column for column in columns if not column.is_alike]
        yield kept
    kept = [_with_short_ids(column) for column in kept]
    yield kept
    yield [_with_wrapped_heading(column) for column in kept]


def _width(columns: Sequence[_Column]) -> int:
    return sum(column.least for column in columns) + _BETWEEN * (len(columns) - 1)


def _columns(rows: pa.Table) -> Iterator[_Column]:
    """The columns of rows; texts from the service with control characters escaped."""
    decimals = [_decimals(column) for column in rows.itercolumns()]
    cells = [
        [_cell(value, places) for value, places in zip(row.values(), decimals, strict=True)]
        for row in rows_of(rows)
    ]
    numbers = ("int", "uint", "float", "double", "decimal")
    for place, field in enumerate(rows.schema):
        name = escape(field.name)
        is_id = name == "id" or name.endswith("_id")
        yield _Column(
            name,
            (name,),
            tuple(row[place] for row in cells),
            str(field.type).startswith(numbers),
            is_id and str(field.type) in ("string", "large_string"),
        )


def _cell(value: Any, decimals: int) -> str:
    """A value for a person, on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        text = value.astimezone(UTC) if value.tzinfo else value
        return f"{text:%Y-%m-%d %H:%M:%S}" + ("Z" if value.tzinfo else "")
    if isinstance(value, float):
        return f"{value:,.{decimals}f}"
    if isinstance(value, dict | list):
        return escape(json.dumps(plain(value), ensure_ascii=False))
    return escape(str(plain(value)))


def _decimals(column: pa.ChunkedArray) -> int:
    """Decimals of a column: two where any number has a fraction, else none.

    Four where all are smaller than a tenth: a rate of 0.004 is not 0.00.
    """
    numbers = [abs(x) for x in column.to_pylist() if isinstance(x, float)]
    if all(x.is_integer() for x in numbers):
        return 0
    return 4 if max((x for x in numbers if x == x), default=1) < 0.1 else 2


def _with_short_ids(column: _Column) -> _Column:
    """An id column with long ids shortened to beginning and end, still distinct."""
    ids = {*column.cells}
    if not column.is_id or max(map(len, ids)) <= _FOLDED:
        return column
    longest = max(map(len, ids))
    for head in range(_HEAD, longest, 4):
        short = {each: _shortened(each, head) for each in ids}
        if len({*short.values()}) == len(ids):
            return replace(column, cells=tuple(short[each] for each in column.cells))
    return column


def _shortened(text: str, head: int) -> str:
    return text if len(text) <= head + _TAIL + 1 else f"{text[:head]}…{text[-_TAIL:]}"


def _with_wrapped_heading(column: _Column) -> _Column:
    """A column with its heading wrapped at underscores, if possible to the width of its cells."""
    parts = column.name.replace("_", "_\n").split("\n")
    wide = max(max(map(len, parts)), min(max(map(len, column.cells)), _FOLDED))
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) <= wide:
            lines[-1] += part
        else:
            lines.append(part)
    return replace(column, heading=tuple(lines))


def _table(columns: Sequence[_Column]) -> Table:
    """The table: numbers right-aligned, texts left-aligned and folded where they are long."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(
            Text("\n".join(column.heading)),
            justify="right" if column.is_number else "left",
            overflow="fold",
            min_width=column.least,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table


def _print_records(columns: Sequence[_Column], console: Console) -> None:
    """Prints one field a line, as wide as it is."""
    from rich.text import Text

    margin = max(len(column.name) for column in columns)
    for number, row in enumerate(zip(*(column.cells for column in columns), strict=True), 1):
        console.print(Text(f"- {number} -", style="dim"))
        for column, text in zip(columns, row, strict=True):
            line = Text.assemble((column.name.rjust(margin), "bold"), "  ", text)
            console.print(line, soft_wrap=True)
