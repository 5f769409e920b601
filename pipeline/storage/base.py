"""The one seam to where a lake's files are: a local disk, or Azure Blob.

Keys are paths below the lake's root, with slashes. A file appears under its key whole or not at all,
by one atomic step; no one sees a file while it is written.
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
    """A conditional put found that somebody else had written, or a lock was lost: the run ends."""


class NoContainer(LakeError):
    """There is no such container or storage account."""


class Missing(LakeError):
    """A file is not there (any more)."""


@dataclass(frozen=True)
class Entry:
    """A file: its size in bytes, when it was put there (UTC), and what names this very version."""

    key: str
    size: int
    modified: datetime
    etag: str


Over = Entry | Literal["anything", "nothing"]
"""What a put may replace: anything, nothing (create-if-absent), or exactly the version of an entry."""


class Sink(Protocol):
    """A file being written; it has its name from ``finish()`` on."""

    @property
    def file(self) -> IO[bytes]:
        """Where its bytes are written to."""

    def finish(self) -> Entry:
        """Makes it durable, then gives it its name. Raises Changed where ``over`` does not hold."""

    def discard(self) -> None:
        """Forgets it; harmless after ``finish()``."""


class Lock(Protocol):
    """A lock that this process has."""

    def now(self) -> datetime:
        """The time by the clock that ``Entry.modified`` is of: the store's, not this machine's."""

    def check(self) -> None:
        """Raises Changed where the lock may have been lost."""


class Storage(Protocol):
    """Where the files of one lake are; safe for use by several threads.

    Every method raises LakeError, naming the file and what to do, where the storage refuses.
    """

    #: How many reads found that the version they were of has gone, or that another one is there.
    missed: int

    @property
    def root(self) -> Path:
        """The directory. Raises LakeError where there is none."""

    def url(self, key: str) -> str:
        """What DuckDB, and a person, is given for a key."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """The finished files below a prefix (whole path segments), in no order."""

    def entries(self, folder: str, keys: Collection[str]) -> Iterator[Entry]:
        """Of the finished files below a folder those with these keys, in no order."""

    def many(self, read: Callable[[Given], Found], things: Iterable[Given]) -> Iterator[Found]:
        """What reading each of many files answers, in order; several at a time where that helps."""

    def leftovers(self) -> Iterator[Entry]:
        """Staging files of writers that are at work, or were killed."""

    def find(self, key: str) -> Entry | None:
        """The file as it is now, None where there is none."""

    def open(self, key: str) -> Any:
        """The file as a pyarrow.NativeFile, for random access. Raises Missing."""

    def sink(self, key: str, over: Over = "anything") -> Sink:
        """Begins a file."""

    def delete(self, entry: Entry, *, durable: bool = True) -> bool:
        """Removes just this version of a file; False where it is gone, or another version is there.

        ``durable``: a power cut does not bring it back.
        """

    def lock(self, name: str) -> AbstractContextManager[Lock]:
        """Holds a lock by name; it frees itself when the process dies. Raises Locked."""

    def register(self, connection: Any) -> None:
        """Teaches a DuckDB connection to read ``url``s."""

    def polars_options(self) -> dict[str, Any]:
        """What ``polars.scan_parquet`` takes to read ``url``s."""


def put(storage: Storage, key: str, data: bytes, over: Over = "anything") -> Entry:
    """Puts a small file, whole or not at all."""
    sink = storage.sink(key, over)
    try:
        sink.file.write(data)
        return sink.finish()
    finally:
        sink.discard()
