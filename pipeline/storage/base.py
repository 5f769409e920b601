"""The interface of storages: a local disk, or Azure Blob.

Keys are paths below the lake's root; a file gets its key in one atomic step, and is invisible before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal, Protocol, TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")


class LakeError(Exception):
    """The lake cannot be read or written; the message names the file and says what to do."""


class LakeSettingsError(LakeError):
    """The lake's address, or a setting it needs, is wrong; nothing was tried."""


class Locked(LakeError):
    """Another run holds the lock; ``holder`` is what it wrote about itself."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(f"another run holds the lock {name!r}" + (f": {holder}" if holder else ""))
        self.holder = holder


class Changed(LakeError):
    """The condition of a put failed, as another run has written, or a lock was lost: the run ends."""


class NoContainer(LakeError):
    """There is no such container or storage account."""


class Missing(LakeError):
    """A file does not exist (any more)."""


@dataclass(frozen=True)
class Entry:
    """A file: its size in bytes, its time of modification (UTC), and the name of this version."""

    key: str
    size: int
    modified: datetime
    etag: str


Over = Entry | Literal["anything", "nothing"]
"""What a put may replace: anything, nothing (create-if-absent), or exactly the version of an entry."""


class Sink(Protocol):
    """A file being written; ``finish()`` gives it its name."""

    @property
    def file(self) -> IO[bytes]:
        """The file object to write to."""

    def finish(self) -> Entry:
        """Makes it durable, then gives it its name. Raises Changed where ``over`` is violated."""

    def discard(self) -> None:
        """Discards it; harmless after ``finish()``."""


class Lock(Protocol):
    """A lock that this process holds."""

    def now(self) -> datetime:
        """The time of the store's clock, as in ``Entry.modified``."""

    def check(self) -> None:
        """Raises Changed where the lock may have been lost."""


class Storage(Protocol):
    """The files of one lake; thread-safe.

    Where the storage refuses, every method raises LakeError, which names the file and what to do.
    """

    #: The number of reads whose version had been deleted or replaced.
    missed: int

    @property
    def root(self) -> Path:
        """The directory. Raises LakeError where there is none."""

    def url(self, key: str) -> str:
        """The URL of a key, for DuckDB and for people."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """The finished files below a prefix (whole path segments), in no order."""

    def entries(self, folder: str, keys: Collection[str]) -> Iterator[Entry]:
        """The finished files below a folder with these keys, in no order."""

    def many(self, read: Callable[[Given], Found], things: Iterable[Given]) -> Iterator[Found]:
        """The results of reading many files, in order; several at a time where that helps."""

    def leftovers(self) -> Iterator[Entry]:
        """Staging files of running or killed writers."""

    def find(self, key: str) -> Entry | None:
        """The file as it is now, None where there is none."""

    def open(self, key: str) -> Any:
        """The file as a pyarrow.NativeFile, for random access. Raises Missing."""

    def sink(self, key: str, over: Over = "anything") -> Sink:
        """Begins a file."""

    def delete(self, entry: Entry, *, durable: bool = True) -> bool:
        """Deletes exactly this version of a file; False where it is gone or replaced.

        ``durable``: a power cut does not undo it.
        """

    def lock(self, name: str) -> AbstractContextManager[Lock]:
        """Holds a lock by name; it frees itself when the process dies. Raises Locked."""

    def register(self, connection: Any) -> None:
        """Lets a DuckDB connection read ``url``s."""

    def polars_options(self) -> dict[str, Any]:
        """Arguments with which ``polars.scan_parquet`` reads ``url``s."""


def put(storage: Storage, key: str, data: bytes, over: Over = "anything") -> Entry:
    """Writes a small file, whole or not at all."""
    sink = storage.sink(key, over)
    try:
        sink.file.write(data)
        return sink.finish()
    finally:
        sink.discard()
