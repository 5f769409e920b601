"""Turns: a slow listing lets others go first, also while its bytes trickle."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpcore

#: Seconds between two checks of a thread that waits for bytes.
SLICE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Turn:
    """The time up to which a listing keeps its connection while others wait for one."""

    ends_at: float
    is_wanted: Callable[[], bool]

    def is_over(self, at: float) -> bool:
        """Whether its time is up and another listing waits."""
        return at >= self.ends_at and self.is_wanted()


def read_in_slices(stream: httpcore.NetworkStream, check: Callable[[], None]) -> None:
    """Makes a stream call `check`, which may raise, before and while it waits for bytes.

    A timeout of httpx only bounds the silence between two bytes; with `check` an answer that trickles
    cannot hold a thread for long.
    """
    read = stream.read

    def sliced(max_bytes: int, timeout: float | None = None) -> bytes:
        ends_at = None if timeout is None else time.monotonic() + timeout
        while True:
            check()
            left = SLICE_SECONDS if ends_at is None else ends_at - time.monotonic()
            try:
                return read(max_bytes, max(min(SLICE_SECONDS, left), 0.001))
            except httpcore.ReadTimeout:
                if ends_at is not None and time.monotonic() >= ends_at:
                    raise

    stream.read = sliced  # type: ignore[method-assign]  # httpx has no public place for a backend
