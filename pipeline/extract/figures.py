"""Counts and durations of a client, and the skew between the service's clock and ours."""

from __future__ import annotations

import logging
import statistics
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import httpx

from pipeline.extract import auth

logger = logging.getLogger("nodelake.extract")

#: The greatest skew at which the service's clock is used.
CLOCK_TRUST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of a client so far.

    `requests` includes `retries` and repeated signatures; `throttled` counts answers 429 and 503;
    `bytes_received` compressed bodies. `clock_skew_seconds` is the service's clock minus ours, None
    before the first Date header.
    """

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes_received: int = 0
    clock_skew_seconds: float | None = None


class Tally:
    """Collects the figures of a client; thread-safe."""

    def __init__(self, local_now: Callable[[], datetime]) -> None:
        self._local_now = local_now
        self._lock = threading.Lock()
        self._figures = Figures()
        self._seconds: deque[float] = deque(maxlen=99)
        self._has_warned = False

    @property
    def figures(self) -> Figures:
        """The figures now."""
        with self._lock:
            return self._figures

    @property
    def typical_seconds(self) -> float | None:
        """The median duration of recent answers; None before the first."""
        with self._lock:
            return statistics.median(self._seconds) if self._seconds else None

    def count(self, name: str, by: int = 1) -> None:
        """Increases one count."""
        with self._lock:
            self._figures = replace(self._figures, **{name: getattr(self._figures, name) + by})

    def note_seconds(self, seconds: float) -> None:
        """Records the duration of a complete answer."""
        with self._lock:
            self._seconds.append(seconds)

    def observe(self, response: httpx.Response) -> datetime:
        """Return the service's clock at this answer, in UTC, and record its skew.

        A Date more than a day from our clock is ignored: a listing of the year 9999 would stay the
        latest one.
        """
        date = auth.http_date(response.headers.get("Date", ""))
        local = self._local_now()
        with self._lock:
            if date is not None:
                skew = (date - local).total_seconds()
                self._figures = replace(self._figures, clock_skew_seconds=skew)
            seconds = self._figures.clock_skew_seconds or 0.0
            is_believed = abs(seconds) <= CLOCK_TRUST.total_seconds()
            warns = not is_believed and not self._has_warned
            self._has_warned |= warns
        if warns:
            logger.warning(
                "the service's clock is %.1f days from this machine's: this machine's is used",
                seconds / 86_400,
            )
        if date is not None and is_believed:
            return date
        return local + timedelta(seconds=seconds if is_believed else 0.0)
