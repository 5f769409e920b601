"""Allocator settings of a process that flattens pages: what one page freed is kept for the next one.

They are the command's to set: importing nodelake changes nothing in a process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # by glibc's malloc.h


def keep_memory() -> None:
    """Keeps freed memory, and lets threads share it.

    Arrow's own allocator gives memory back and asks again: a tenth of the time of a page, and a third
    of a snapshot's memory. glibc does so too with what lies free at its end, wherever that is more than
    twice the largest block of late: another fifteenth. And it gives each processor eight heaps, of
    which the others get nothing: on two processors a tenth more memory and processor time.
    """
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc
            set_option = ctypes.CDLL(None).mallopt
            set_option(_TRIM_THRESHOLD, 32 << 20)
            set_option(
                _MMAP_THRESHOLD, 4 << 20
            )  # larger blocks are no part of it: they leave holes
            set_option(_ARENA_MAX, os.cpu_count() or 1)
