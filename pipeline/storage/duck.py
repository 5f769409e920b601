"""The fsspec filesystem through which DuckDB reads a lake on Azure Blob, without an extension."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

from pipeline.storage.base import Entry
from pipeline.storage.ranges import RangeFile, Ranges


class Blobs(Ranges, Protocol):
    """The blobs of one lake."""

    def known(self, key: str) -> Entry:
        """The blob as it was last listed, or as it is now. Raises Missing."""


class BlobFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The blobs of one lake, read-only, under its scheme; sizes come from the lake's listing."""

    cachable = False

    def __init__(self, blob: Blobs, uri: str) -> None:
        super().__init__()
        self.blob = blob
        self.uri = uri
        self.protocol = uri.split("://", 1)[0]

    def _key(self, path: str) -> str:
        return path.removeprefix(f"{self.uri}/")

    def glob(self, path: str, **options: Any) -> list[str]:
        """The path itself: files are named one by one."""
        return [path]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Name and size."""
        entry = self.blob.known(self._key(path))
        return {"name": path, "size": entry.size, "type": "file"}

    def size(self, path: str) -> int:
        """In bytes."""
        return self.blob.known(self._key(path)).size

    def exists(self, path: str, **options: Any) -> bool:
        """Files are named by a listing: they exist."""
        return True

    def isfile(self, path: str) -> bool:
        """True: there are only files."""
        return True

    def isdir(self, path: str) -> bool:
        """There are no directories."""
        return False

    def modified(self, path: str) -> datetime:
        """The time of modification."""
        return self.blob.known(self._key(path)).modified

    def open(self, path: str, mode: str = "rb", **options: Any) -> RangeFile:
        """The file, for random access."""
        return RangeFile(self.blob, self.blob.known(self._key(path)))

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """The file itself."""
        return [self.info(path)] if detail else [path]
