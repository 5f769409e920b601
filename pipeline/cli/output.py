"""Rows on stdout: a table for a person; JSON, CSV, Parquet or Arrow for a machine."""

from __future__ import annotations

import csv
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from pipeline.cli.console import escape

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console
    from rich.table import Table

FORMATS = ("table", "json", "csv", "parquet", "arrow")
Command = TypeVar("Command", bound=Callable[..., Any])


def format_option(command: Command) -> Command:
    """Adds --format to a command that prints rows."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        help="How rows are printed [table on a terminal, else json].",
    )(command)


def show(rows: pa.Table, form: str | None) -> None:
    """Prints rows to stdout in the form asked for.

    ``json`` is one array, an object a line; times are ISO 8601 in UTC. ``csv`` holds nested values
    as JSON. An interval is a text, as DuckDB has it: ``1 day 02:03:04``. ``parquet`` and ``arrow``
    (IPC stream) are bytes: redirect them to a file.
    """
    if sys.stdout is None:
        raise click.ClickException("standard output is closed")
    form = form or ("table" if sys.stdout.isatty() else "json")
    rows = rows.rename_columns(_unlike(rows.column_names))
    if form == "table":
        _table(rows)
    elif form == "json":
        _json(rows)
    elif form == "csv":
        _csv(rows)
    else:
        _binary(rows, form)


def _unlike(names: Sequence[str]) -> list[str]:
    """Names of columns, each once: of two alike the second is ``a_1``, as DuckDB names it.

    A row in JSON is an object, which keeps one of them only.
    """
    unlike: dict[str, None] = {}
    for name in names:
        free = (f"{name}_{number}" for number in itertools.count(1))
        taken = {*names, *unlike}
        unlike[name if name not in unlike else next(x for x in free if x not in taken)] = None
    return [*unlike]


def _rows(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(max_chunksize=4096):
        yield from batch.to_pylist(maps_as_pydicts="lossy")


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """An interval as DuckDB prints it; months, days and time are apart, and each has its sign."""
    sign = -1 if months < 0 else 1
    years, months = (sign * part for part in divmod(abs(months), 12))
    parts = [
        f"{number} {name}{'' if abs(number) == 1 else 's'}"
        for number, name in ((years, "year"), (months, "month"), (days, "day"))
        if number
    ]
    if nanoseconds or not parts:
        seconds, rest = divmod(abs(nanoseconds) // 1000, 1_000_000)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        fraction = f".{rest:06}".rstrip("0") if rest else ""
        parts.append(f"{'-' if nanoseconds < 0 else ''}{clock}{fraction}")
    return " ".join(parts)


def plain(value: Any) -> Any:
    """A value as JSON has it: times in ISO 8601 and UTC, intervals as text, no NaN."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat()
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, dict):
        return {str(plain(name)): plain(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        if type(value).__name__ == "MonthDayNano":  # pyarrow's, which is not imported for this
            return _interval(*value)
        return [plain(x) for x in value]
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str | int | float | bool | None) else str(value)


# json escapes what is below a blank, but not the other characters that may steer a terminal.
_CONTROLS = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _json(rows: pa.Table) -> None:
    write = sys.stdout.write
    separator = "[\n"
    is_utf8 = (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"
    for row in _rows(rows):
        text = json.dumps(plain(row), ensure_ascii=not is_utf8)
        write(separator + _CONTROLS.sub(_escaped, text))
        separator = ",\n"
    write("[]\n" if separator == "[\n" else "\n]\n")


def _csv(rows: pa.Table) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(rows.column_names)
    on_terminal = sys.stdout.isatty()
    for row in _rows(rows):
        cells = []
        for value in map(plain, row.values()):
            text = json.dumps(value) if isinstance(value, dict | list | bool) else value
            cells.append(escape(text) if on_terminal and isinstance(text, str) else text)
        writer.writerow(cells)


def _binary(rows: pa.Table, form: str) -> None:
    if sys.stdout.isatty():
        raise click.UsageError(f"--format {form} prints bytes: redirect stdout to a file")
    import pyarrow as pa

    sink: IO[bytes] = sys.stdout.buffer
    if form == "parquet":
        import pyarrow.parquet as pq

        try:
            pq.write_table(_storable(rows), sink)
        except pa.ArrowNotImplementedError as error:
            problem = f"--format parquet: {error}; cast that column, or take --format arrow"
            raise click.UsageError(problem) from None
    else:
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)


def _storable(rows: pa.Table) -> pa.Table:
    """The same rows, intervals as text: Parquet files have no such type."""
    import pyarrow as pa

    for place, field in enumerate(rows.schema):
        if pa.types.is_interval(field.type):
            texts = pa.array(
                [plain(value) for value in rows.column(place).to_pylist()], pa.string()
            )
            rows = rows.set_column(place, field.name, texts)
    return rows


#: A long text may be folded to so many characters before a table gives way to records.
_FOLDED = 24
#: Blanks between two columns.
_BETWEEN = 3


def _cell(value: Any, decimals: int) -> str:
    """A value as a person reads it, on one line."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        text = value.astimezone(UTC) if value.tzinfo else value
        return f"{text:%Y-%m-%d %H:%M:%S}" + ("Z" if value.tzinfo else "")
    if isinstance(value, float):
        return f"{value:,.{decimals}f}"
    if isinstance(value, dict | list):
        return escape(json.dumps(plain(value), ensure_ascii=False))
    return escape(str(plain(value)))


def _decimals(column: pa.ChunkedArray) -> int:
    """Two places where any number of a column has a fraction, else none: a column reads alike.

    Four where all are smaller than a tenth: a rate of 0.004 is not 0.00.
    """
    numbers = [abs(x) for x in column.to_pylist() if isinstance(x, float)]
    if all(x.is_integer() for x in numbers):
        return 0
    return 4 if max((x for x in numbers if x == x), default=1) < 0.1 else 2


def _table(rows: pa.Table) -> None:
    """A table as wide as the terminal.

    Where that is too narrow, what is the same in every row is told once, above; where it still is,
    records, one field a line.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not rows.num_columns:
        return
    if not rows.num_rows:
        console.print("no rows", style="dim")
        return
    decimals = [_decimals(column) for column in rows.itercolumns()]
    cells = [
        [_cell(value, places) for value, places in zip(row.values(), decimals, strict=True)]
        for row in _rows(rows)
    ]
    names, kept = rows.column_names, [*range(rows.num_columns)]
    if not _fits(names, cells, kept, console.width) and len(cells) > 1:
        kept = [i for i in kept if len({row[i] for row in cells}) > 1]
    if not kept or not _fits(names, cells, kept, console.width):
        _records(names, cells, console)
        return
    if len(kept) < len(names):
        alike = [f"{name} {cells[0][i] or 'null'}" for i, name in enumerate(names) if i not in kept]
        console.print(Text(f"in every row: {', '.join(alike)}", style="dim"), soft_wrap=True)
    table = _drawn([names[i] for i in kept], [rows.schema.types[i] for i in kept])
    for row in cells:
        table.add_row(*(Text(row[i]) for i in kept))
    console.print(table)


def _fits(names: list[str], cells: list[list[str]], kept: list[int], width: int) -> bool:
    """Whether those columns stand beside each other, long texts folded."""
    narrow = [max(len(names[i]), min(max(len(row[i]) for row in cells), _FOLDED)) for i in kept]
    return sum(narrow) + _BETWEEN * (len(kept) - 1) <= width


def _drawn(names: list[str], kinds: list[pa.DataType]) -> Table:
    """A table without rows: numbers to the right, texts to the left."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, kind in zip(names, kinds, strict=True):
        is_number = str(kind).startswith(("int", "uint", "float", "double", "decimal"))
        table.add_column(Text(name), justify="right" if is_number else "left", overflow="fold")
    return table


def _records(names: list[str], cells: list[list[str]], console: Console) -> None:
    """One field a line, as wide as it is."""
    from rich.text import Text

    margin = max(len(name) for name in names)
    for number, row in enumerate(cells, 1):
        console.print(Text(f"- {number} -", style="dim"))
        for name, text in zip(names, row, strict=True):
            line = Text.assemble((name.rjust(margin), "bold"), "  ", text)
            console.print(line, soft_wrap=True)
