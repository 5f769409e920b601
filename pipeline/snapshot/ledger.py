"""The ledger row of a run: counts, completeness, costs and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, cast

import pyarrow as pa

from pipeline import __version__, schema
from pipeline.flatten.columns import PROBLEMS_KEPT, Origin, Report

Clock = Callable[[], datetime]
Listing = Literal["complete", "partial", "failed"]

#: The most names of unknown fields or values in one ledger row; all values are counted.
_NAMES_KEPT = 1000


def utc_now() -> datetime:
    """The time of this machine's clock, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Outcome:
    """The result of a run: its ledger row by column name, and whether the lake has it."""

    row: dict[str, object]
    is_stored: bool

    @property
    def exit_code(self) -> int:
        """0 complete, 3 partial, 1 failed."""
        return {"complete": 0, "partial": 3, "failed": 1}[str(self.row["status"])]


@dataclass
class Ledger:
    """The record of one run; ``row()`` is its row of ``snapshots``."""

    origin: Origin
    started_at: datetime
    source: Literal["live", "import", "usage"]
    scope: Literal["account", "pools"]
    batch_url: str | None = None
    api_version: str | None = None
    configured_api_version: str | None = None
    status: Listing = "failed"
    pool_listing: Listing = "failed"
    pool_listing_started_at: datetime | None = None
    pool_listing_finished_at: datetime | None = None
    pools_listed: int = 0
    pools_complete: int = 0
    pools_failed: int = 0
    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes_received: int = 0
    clock_skew_seconds: float | None = None
    error_code: str | None = None
    error_message: str | None = None
    request_id: str | None = None
    report: Report = field(default_factory=Report)
    rows: Mapping[str, int] = field(default_factory=dict)

    def row(self, finished_at: datetime) -> dict[str, object]:
        """The row by column name."""
        report = self.report
        named = {
            column.name: getattr(self, column.name)
            for column in schema.SNAPSHOTS.columns
            if hasattr(self, column.name)
        }
        return named | {
            "account": self.origin.account,
            "snapshot_id": self.origin.snapshot_id,
            "snapshot_at": self.origin.snapshot_at,
            "finished_at": finished_at,
            **{f"{table.name}_rows": self.rows.get(table.name, 0) for table in schema.DATA_TABLES},
            "duplicates": report.duplicates,
            "malformed": report.malformed,
            "unknown_fields": report.unknown_fields.total(),
            "unknown_field_paths": [
                {"path": path, "values": values}
                for path, values in report.unknown_fields.most_common(_NAMES_KEPT)
            ],
            "unknown_enum_values": [
                {"path": path, "value": value, "values": values}
                for (path, value), values in report.unknown_enum_values.most_common(_NAMES_KEPT)
            ],
            "problems": report.problems[:PROBLEMS_KEPT],
            "tool_version": __version__,
        }

    def table(self, finished_at: datetime) -> pa.Table:
        """The row as a table with the ledger's schema."""
        return pa.Table.from_pylist([self.row(finished_at)], schema.SNAPSHOTS.schema)


def bare_pool(origin: Origin, pool_id: str) -> dict[str, object]:
    """The row of ``pools`` of a pool of which only the id is known."""
    return {
        "account": origin.account,
        "snapshot_id": origin.snapshot_id,
        "snapshot_at": origin.snapshot_at,
        "pool_id": pool_id,
    }


def pool_tables(rows: Sequence[Mapping[str, object]]) -> dict[str, pa.Table]:
    """Rows of ``pools`` as its table, missing columns null; and the ``pool_errors`` they carry."""
    errors = [error for row in rows for error in cast(list[object], row.get("pool_errors", []))]
    return {
        "pools": pa.Table.from_pylist([*rows], schema.POOLS.schema),
        "pool_errors": pa.Table.from_pylist(errors, schema.POOL_ERRORS.schema),
    }
