"""Conversion of rows and values that all output formats share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def rows_of(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows as dicts, read in batches."""
    for batch in rows.to_batches(max_chunksize=4096):
        yield from batch.to_pylist(maps_as_pydicts="lossy")


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """An interval as DuckDB prints it: months, days and time separately, each with its sign."""
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
    """A value for JSON: times in ISO 8601 and UTC, intervals as text, no NaN."""
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
        if (
            type(value).__name__ == "MonthDayNano"
        ):  # a type of pyarrow, recognised without an import
            return _interval(*value)
        return [plain(x) for x in value]
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
