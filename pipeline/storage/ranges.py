"""A blob as a file with random access."""

from __future__ import annotations

from typing import Protocol

from pipeline.storage.base import Entry

#: The largest file that is read whole, in one request.
_WHOLE_BYTES = 1 << 20
_TAIL_BYTES = 1 << 16


class Ranges(Protocol):
    """Reads ranges of exactly one version of a blob."""

    def read_range(self, entry: Entry, start: int, end: int) -> bytes:
        """The bytes from start to end. Raises Missing where that version is gone."""


class RangeFile:
    """A blob as a file: reads only what is requested; the end and small files in one request."""

    def __init__(self, blob: Ranges, entry: Entry) -> None:
        self.blob = blob
        self.entry = entry
        self.size = entry.size
        self.closed = False
        self._at = 0
        self._tail: bytes | None = None
        kept = _WHOLE_BYTES if entry.size <= _WHOLE_BYTES else _TAIL_BYTES
        self._tail_from = max(0, entry.size - kept)

    def read(self, size: int = -1) -> bytes:
        """The next bytes, fewer at the end."""
        end = self.size if size is None or size < 0 else min(self.size, self._at + size)
        start, self._at = self._at, max(self._at, end)
        if start >= end:
            return b""
        if start >= self._tail_from:
            if self._tail is None:
                self._tail = self.blob.read_range(self.entry, self._tail_from, self.size)
            return self._tail[start - self._tail_from : end - self._tail_from]
        return self.blob.read_range(self.entry, start, end)

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of any file."""
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def tell(self) -> int:
        """As of any file."""
        return self._at

    def readable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """It is not."""
        return False

    def seekable(self) -> bool:
        """It is."""
        return True

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Frees the cached bytes."""
        self._tail = None
        self.closed = True

    def __enter__(self) -> RangeFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
