"""Turns: a listing that is slow lets the others go first, however slowly its bytes come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpcore

#: A thread that waits for bytes looks up this often.
SLICE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Turn:
    """Until when a listing may keep its connection, by the client's clock, if others want one."""

    ends_at: float
    is_wanted: Callable[[], bool]

    def is_over(self, at: float) -> bool:
        """Whether its time is up and another listing waits."""
        return at >= self.ends_at and self.is_wanted()


def read_in_slices(stream: httpcore.NetworkStream, check: Callable[[], None]) -> None:
    """Makes a stream call `check`, which may raise, before and while it waits for bytes.

    A timeout of httpx bounds the silence between two bytes; so neither headers nor a body that
    only trickle can hold a thread for longer than `check` allows.
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
