"""Who is told how far a run has come."""

from __future__ import annotations

from typing import Protocol

from pipeline.snapshot.ledger import Listing


class ProgressListener(Protocol):
    """Is told of each step of a run as it is done, from any thread."""

    def pools_listed(self, pools: int) -> None:
        """So many pools are known of now."""

    def nodes_read(self, pool_id: str, nodes: int) -> None:
        """Another page of a pool is done, with so many nodes."""

    def pool_done(self, pool_id: str, listing: Listing) -> None:
        """A pool's listing has ended."""


class NullListener:
    """Does nothing with what it is told."""

    def pools_listed(self, pools: int) -> None:
        """Nothing."""

    def nodes_read(self, pool_id: str, nodes: int) -> None:
        """Nothing."""

    def pool_done(self, pool_id: str, listing: Listing) -> None:
        """Nothing."""
