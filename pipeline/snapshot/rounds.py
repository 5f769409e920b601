"""Runs jobs in turns: a slow one returns to the queue, and later continues where it stopped."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Generic, TypeVar

T = TypeVar("T")


def processors() -> int:
    """The number of pages that are flattened at once: more would only wait, and hold memory."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


#: The longest delay of Ctrl-C and SIGTERM, in seconds.
_LOOK_UP_SECONDS = 0.5


class Rounds(Generic[T]):
    """Runs a job for each item, several at a time, in rounds.

    A job returns None once its item is done, else the seconds before its next turn.
    """

    def __init__(self, items: Iterable[T], workers: int) -> None:
        self.workers = workers
        self._queue = deque(items)
        self._running: dict[Future[float | None], T] = {}
        self._resting: list[tuple[float, T]] = []

    @property
    def unfinished(self) -> int:
        """The items that are not done."""
        return len(self._queue) + len(self._running) + len(self._resting)

    def is_any_waiting(self) -> bool:
        """Whether an item waits for a worker; thread-safe."""
        return bool(self._queue)

    def run(self, job: Callable[[T], float | None], executor: Executor) -> None:
        """Runs the job until every item is done; an exception of a job ends it."""
        while self.unfinished:
            now = time.monotonic()
            self._queue += [item for due, item in self._resting if due <= now]
            self._resting = [(due, item) for due, item in self._resting if due > now]
            while self._queue and len(self._running) < self.workers:
                item = self._queue.popleft()
                self._running[executor.submit(job, item)] = item
            pause = min([_LOOK_UP_SECONDS, *(due - now for due, _ in self._resting)])
            if not self._running:
                time.sleep(max(pause, 0))
                continue
            done, _ = wait(self._running, timeout=pause, return_when=FIRST_COMPLETED)
            for each in done:
                item = self._running.pop(each)
                seconds = each.result()
                if seconds is not None:
                    self._resting.append((time.monotonic() + seconds, item))
