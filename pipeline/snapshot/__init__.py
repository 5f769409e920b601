"""One run: pools and nodes listed, flattened and committed, or saved files imported."""

from pipeline.snapshot.imports import SavedError, SavedFile, store
from pipeline.snapshot.live import Clock, Outcome, run, utc_now

__all__ = ["Clock", "Outcome", "SavedError", "SavedFile", "run", "store", "utc_now"]
