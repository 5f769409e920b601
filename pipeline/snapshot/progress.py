"""Progress listeners of a run."""

from __future__ import annotations

from typing import Protocol

from pipeline.snapshot.ledger import Listing


class ProgressListener(Protocol):
    """Called at each step of a run as it ends, from any thread."""

    def pools_listed(self, pools: int) -> None:
        """The number of known pools changed."""

    def nodes_read(self, pool_id: str, nodes: int) -> None:
        """A page of a pool with this many nodes is done."""

    def pool_done(self, pool_id: str, listing: Listing) -> None:
        """A pool's listing has ended."""


class NullListener:
    """A listener that does nothing."""

    def pools_listed(self, pools: int) -> None:
        """Nothing."""

    def nodes_read(self, pool_id: str, nodes: int) -> None:
        """Nothing."""

    def pool_done(self, pool_id: str, listing: Listing) -> None:
        """Nothing."""
