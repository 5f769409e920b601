"""One run: pools and nodes listed, flattened and committed, or saved files imported."""

from typing import TYPE_CHECKING, Any

from pipeline.snapshot.imports import DiskFile, SavedError, SavedFile, open_file, store
from pipeline.snapshot.ledger import Clock, Outcome, utc_now

if TYPE_CHECKING:
    from pipeline.snapshot.live import run

__all__ = [
    "Clock",
    "DiskFile",
    "Outcome",
    "SavedError",
    "SavedFile",
    "open_file",
    "run",
    "store",
    "utc_now",
]


def __getattr__(name: str) -> Any:
    if name != "run":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.snapshot.live import run  # it needs the HTTP client, which an import does not

    return run
