"""Prints rows to stdout: a table for a person; JSON, CSV, Parquet or Arrow for a machine."""

from __future__ import annotations

import csv
import itertools
import json
import logging
import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from pipeline.cli.cells import plain as plain
from pipeline.cli.cells import rows_of as rows_of
from pipeline.cli.console import escape

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("nodelake")

FORMATS = ("table", "json", "csv", "parquet", "arrow")
#: The most rows on a terminal.
ROWS_ON_TERMINAL = 1000
Command = TypeVar("Command", bound=Callable[..., Any])


def format_option(command: Command) -> Command:
    """Adds --format to a command that prints rows, and --raw-csv."""
    raw = click.option(
        "--raw-csv",
        is_flag=True,
        expose_value=False,
        callback=_keep_raw,
        help="With --format csv: leave texts that begin with = + - @, tab or CR as they are; "
        "without it an apostrophe stands before them, so that no spreadsheet runs them.",
    )
    chosen = click.option(
        "--format",
        "form",
        metavar="FORM",
        type=click.Choice(FORMATS),
        help=f"How rows are printed: {', '.join(FORMATS)} [table on a terminal, else json].",
    )
    return chosen(raw(command))


_RAW = "nodelake.raw_csv"


def _keep_raw(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.meta[_RAW] = value


def show(rows: pa.Table, form: str | None, total: int | None = None) -> None:
    """Prints rows to stdout in the form asked for; to a terminal the first 1,000.

    ``json`` is one array, an object a line; times are ISO 8601 in UTC. ``csv`` holds nested values
    as JSON. Both have numbers to six decimals (seconds to 3, minutes to 2, hours to 4). An interval
    is a text, as DuckDB has it: ``1 day 02:03:04``. ``parquet`` and ``arrow`` (IPC stream) are
    bytes: redirect them to a file.

    Args:
        rows: what to print.
        form: one of ``FORMATS``; by default a table on a terminal, else JSON.
        total: the number of all rows, where ``rows`` are only the first.
    """
    if sys.stdout is None:
        raise click.ClickException("standard output is closed")
    form = form or ("table" if sys.stdout.isatty() else "json")
    rows = rows.rename_columns(_unlike(rows.column_names))
    if sys.stdout.isatty() and rows.num_rows > ROWS_ON_TERMINAL:
        total = total or rows.num_rows
        rows = rows.slice(0, ROWS_ON_TERMINAL)
    else:
        total = None
    if form == "table":
        from pipeline.cli.tables import print_table

        print_table(rows)
    elif form == "json":
        _json(rows)
    elif form == "csv":
        _csv(rows)
    else:
        _binary(rows, form)
    if total:
        log.warning(
            "the first %s of %s rows: ask for fewer, or redirect them to a file",
            f"{ROWS_ON_TERMINAL:,}",
            f"{total:,}",
        )


def _unlike(names: Sequence[str]) -> list[str]:
    """Unique names of columns: the second of two equal ones is ``a_1``, as in DuckDB.

    In JSON a row is an object, which would keep only one of them.
    """
    unlike: dict[str, None] = {}
    for name in names:
        free = (f"{name}_{number}" for number in itertools.count(1))
        taken = {*names, *unlike}
        unlike[name if name not in unlike else next(x for x in free if x not in taken)] = None
    return [*unlike]


#: The most decimals of a number, by the unit at the end of its column's name.
_PLACES = {"seconds": 3, "minutes": 2, "hours": 4}


def _tidy(name: str, value: Any) -> Any:
    """A number without meaningless digits: 0.30000000000000004 is 0.3."""
    if isinstance(value, dict):
        return {key: _tidy(str(key), x) for key, x in value.items()}
    if isinstance(value, list):
        return [_tidy(name, x) for x in value]
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    places = _PLACES.get(name.rpartition("_")[2], 6)
    # small numbers keep as many digits: a rate of 0.0000012 is not zero
    return round(value, places) if abs(value) >= 0.1**places else float(f"{value:.3g}")


# json escapes characters below a blank, but not others that may control a terminal.
_CONTROLS = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _json(rows: pa.Table) -> None:
    write = sys.stdout.write
    separator = "[\n"
    is_utf8 = (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"
    for row in rows_of(rows):
        text = json.dumps(plain(_tidy("", row)), ensure_ascii=not is_utf8)
        write(separator + _CONTROLS.sub(_escaped, text))
        separator = ",\n"
    write("[]\n" if separator == "[\n" else "\n]\n")


#: What a spreadsheet takes for the beginning of a formula; but a number is one.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20](?!\d+(\.\d+)?([eE][+-]?\d+)?\Z)")


def _harmless(text: str) -> str:
    """A text that no spreadsheet runs as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


class _Lines:
    """Ends CSV lines with LF; the writer must know CR and LF to quote cells that contain them."""

    def write(self, line: str) -> int:
        return sys.stdout.write(line.removesuffix("\r\n") + "\n")


def _csv(rows: pa.Table) -> None:
    context = click.get_current_context(silent=True)
    is_raw = bool(context and context.meta.get(_RAW))
    on_terminal = sys.stdout.isatty()

    def cell(name: str, value: Any) -> Any:
        is_text = isinstance(value, str)
        value = plain(_tidy(name, value))
        if isinstance(value, dict | list | bool):
            value = json.dumps(value)
        if not isinstance(value, str):
            return value
        if is_text and not is_raw:
            value = _harmless(value)
        return escape(value) if on_terminal else value

    writer = csv.writer(_Lines())
    writer.writerow([cell("", name) for name in rows.column_names])
    for row in rows_of(rows):
        writer.writerow([cell(name, value) for name, value in row.items()])


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
    """The rows with intervals as text: Parquet has no such type."""
    import pyarrow as pa

    for place, field in enumerate(rows.schema):
        if pa.types.is_interval(field.type):
            texts = pa.array(
                [plain(value) for value in rows.column(place).to_pylist()], pa.string()
            )
            rows = rows.set_column(place, field.name, texts)
    return rows
