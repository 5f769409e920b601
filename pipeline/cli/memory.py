"""Settings of the command for memory: what one page frees is kept for the next.

Only the command sets them: importing nodelake changes nothing in a process.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # from glibc's malloc.h


def keep_memory() -> None:
    """Keeps freed memory, and lets threads share it.

    Arrow's own allocator returns memory and requests it again: 10 % of the time of a page, and a third
    of a snapshot's memory. glibc does the same with free memory at the end of its heap: 7 %. And it
    uses eight heaps for each processor, which do not share: on two processors 10 % more memory and time.
    """
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError, TypeError):  # not glibc
            set_option = ctypes.CDLL(None).mallopt
            set_option(_TRIM_THRESHOLD, 32 << 20)
            set_option(
                _MMAP_THRESHOLD, 4 << 20
            )  # larger blocks stay outside: they would leave holes
            set_option(_ARENA_MAX, os.cpu_count() or 1)


@contextlib.contextmanager
def no_cycles() -> Iterator[None]:
    """Stops Python's search for cycles, of which JSON has none: a sixth of the time of a CLI's list."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
