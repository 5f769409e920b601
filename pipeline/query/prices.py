"""Reads price files: the price of a node hour, by size and kind (dedicated or spot).

They fill the table ``prices`` of a connection; without one it is empty, and answers have no costs.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

#: The table ``prices``: one row for each size and kind. Currencies are never added together.
SCHEMA = pa.schema(
    [
        pa.field("vm_size", pa.string(), nullable=False),  # lower case
        pa.field("is_dedicated", pa.bool_(), nullable=False),
        pa.field("price_per_hour", pa.float64(), nullable=False),
        pa.field("currency", pa.string(), nullable=False),  # three capital letters
        pa.field("vcpus", pa.int32()),  # null where the file has none
    ]
)

#: Creates the table unless it exists, typed and empty, so that every question runs.
EMPTY = (
    "create table if not exists prices (vm_size varchar, is_dedicated boolean, "
    "price_per_hour double, currency varchar, vcpus integer)"
)

_KINDS = {
    "kind": {"dedicated": True, "spot": False},
    "is_dedicated": {"true": True, "false": False},
}
_NEEDED = ("vm_size", "price_per_hour", "currency")
_COLUMNS = (*_NEEDED, *_KINDS, "vcpus")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


class PriceError(ValueError):
    """A price file that cannot be used; the text names the file, the line and the field."""


def read_prices(path: str | Path) -> pa.Table:
    """The prices of a CSV file, under ``SCHEMA``, in the file's order.

    Its first line names the columns, in any order: ``vm_size``; ``kind`` (dedicated or spot) or
    ``is_dedicated`` (true or false); ``price_per_hour`` of a node, 0 or more; ``currency``,
    three letters; and optionally ``vcpus``. Empty lines and lines that begin with ``#`` are
    skipped.

    Raises:
        PriceError: it cannot be read, has an unknown column or lacks one, or a value that does
            not fit; gives a size and kind twice, or a size's vcpus in two ways.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise PriceError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PriceError(f"{path}: is not UTF-8 text") from error
    return pa.Table.from_pylist(_File(str(path), text).rows(), SCHEMA)


class _File:
    """A price file being read: every error names the file and the line."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        # keep line endings: a quoted value may hold one
        lines = ("\n" if line.startswith("#") else line for line in io.StringIO(text, newline=""))
        self._reader = csv.reader(lines, strict=True)

    def rows(self) -> list[dict[str, object]]:
        """Every row, checked against those before it."""
        lines = self._lines()
        header = next(lines, None)
        if header is None:
            raise self._error("is empty: its first line names the columns")
        names = self._header(header)
        rows: list[dict[str, object]] = []
        met: dict[tuple[object, object], tuple[int, object]] = {}
        vcpus: dict[object, tuple[int, object]] = {}
        for fields in lines:
            if len(fields) != len(names):
                raise self._error(f"has {len(fields)} fields, the first line {len(names)}")
            row = self._row(dict(zip(names, (field.strip() for field in fields), strict=True)))
            size, kind = row["vm_size"], "dedicated" if row["is_dedicated"] else "spot"
            line, currency = met.setdefault((size, kind), (self._line, row["currency"]))
            if line != self._line:
                if currency != row["currency"]:
                    raise self._error(
                        f"field 'currency': {row['currency']}, but line {line} prices {size} "
                        f"({kind}) in {currency}"
                    )
                raise self._error(f"field 'vm_size': {size} ({kind}) stands in line {line} already")
            if row["vcpus"] is not None:
                line, other = vcpus.setdefault(size, (self._line, row["vcpus"]))
                if other != row["vcpus"]:
                    raise self._error(
                        f"field 'vcpus': {row['vcpus']}, but line {line} gives {size} {other}"
                    )
            rows.append(row)
        return rows

    @property
    def _line(self) -> int:
        return self._reader.line_num

    def _error(self, why: str) -> PriceError:
        line = f", line {self._line}" if self._line else ""
        return PriceError(f"{self._name}{line}: {why}")

    def _lines(self) -> Iterator[list[str]]:
        try:
            yield from (fields for fields in self._reader if any(f.strip() for f in fields))
        except csv.Error as error:
            raise self._error(f"is not CSV: {error}") from error

    def _header(self, fields: list[str]) -> list[str]:
        names = [field.strip().lower() for field in fields]
        for name in names:
            if name not in _COLUMNS:
                raise self._error(f"unknown column {name!r}; there are: {', '.join(_COLUMNS)}")
            if names.count(name) > 1:
                raise self._error(f"column {name!r} stands twice")
        for name in _NEEDED:
            if name not in names:
                raise self._error(f"column {name!r} is missing")
        if len([name for name in names if name in _KINDS]) != 1:
            raise self._error("takes one of the columns 'kind' (dedicated or spot), 'is_dedicated'")
        return names

    def _row(self, fields: dict[str, str]) -> dict[str, object]:
        kind = next(name for name in fields if name in _KINDS)
        is_dedicated = _KINDS[kind].get(fields[kind].lower())
        if is_dedicated is None:
            raise self._wrong(kind, fields, f"{' or '.join(_KINDS[kind])}")
        if not fields["vm_size"] or re.search(r"\s", fields["vm_size"]):
            raise self._wrong("vm_size", fields, "the name of a size")
        price = fields["price_per_hour"]
        if not _NUMBER.fullmatch(price) or math.isinf(float(price)):
            raise self._wrong("price_per_hour", fields, "a number, 0 or more, with a decimal point")
        if not re.fullmatch("[A-Za-z]{3}", fields["currency"]):
            raise self._wrong("currency", fields, "three letters, such as EUR")
        vcpus = fields.get("vcpus", "")
        if vcpus and not re.fullmatch("[1-9][0-9]{0,4}", vcpus):
            raise self._wrong("vcpus", fields, "a whole number, 1 or more, or empty")
        return {
            "vm_size": fields["vm_size"].lower(),
            "is_dedicated": is_dedicated,
            "price_per_hour": float(price),
            "currency": fields["currency"].upper(),
            "vcpus": int(vcpus) if vcpus else None,
        }

    def _wrong(self, name: str, fields: dict[str, str], wanted: str) -> PriceError:
        return self._error(f"field {name!r}: {fields[name]!r} is not {wanted}")
