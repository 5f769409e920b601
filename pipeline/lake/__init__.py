"""A lake of Parquet files: its layout, its writer, its committed state; the protocol is in README.md."""

from pipeline.lake.lake import Lake
from pipeline.lake.paths import (
    ID,
    LakeFile,
    OldLayout,
    compacted_key,
    date_of,
    history_key,
    is_snapshot_id,
    late_stem,
    new_snapshot_id,
)
from pipeline.lake.view import ListingSpan, View
from pipeline.lake.watermark import Refused
from pipeline.lake.writer import SnapshotWriter
from pipeline.storage import Changed, LakeError, Locked, Missing
from pipeline.storage.disk import make_directories

#: The tables behind the facts, besides the ledger.
FACTS_FROM = ("pools", "nodes", "recent_tasks", "node_errors", "pool_errors")

__all__ = [
    "FACTS_FROM",
    "ID",
    "Changed",
    "Lake",
    "LakeError",
    "LakeFile",
    "ListingSpan",
    "Locked",
    "Missing",
    "OldLayout",
    "Refused",
    "SnapshotWriter",
    "View",
    "compacted_key",
    "date_of",
    "history_key",
    "is_snapshot_id",
    "late_stem",
    "make_directories",
    "new_snapshot_id",
]
