"""A lake on the local disk: files are staged, synced, renamed, and their directory is synced.

So after a power cut every name belongs to a whole file, and a later name implies an earlier one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.storage.base import (
    Changed,
    Entry,
    Found,
    Given,
    LakeError,
    Lock,
    Locked,
    Missing,
    Over,
)

log = logging.getLogger("nodelake.lake")

_STAGING = ".staging"
#: The greatest depth below a lake's root, which ends a cycle of links.
_DEPTH = 4


class Disk:
    """The files below one directory, which is made on the first write; 0600 and 0700."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._is_checked = False
        self.missed = 0  # an open file does not change when its name is replaced

    def __str__(self) -> str:
        return str(self._root)

    @property
    def root(self) -> Path:
        """The directory."""
        return self._root

    def url(self, key: str) -> str:
        """The absolute path."""
        return f"{self._root}/{key}"

    def _warn_of_others(self) -> None:
        """Warns, once, where other users of the machine may add files to the lake."""
        if not self._is_checked:
            with contextlib.suppress(OSError):
                found = self._root.stat()
                self._is_checked = True
                who = f"every user of the group {found.st_gid}"
                if found.st_mode & stat.S_IWOTH:
                    who = "every user of this machine"
                elif not found.st_mode & stat.S_IWGRP or found.st_gid == found.st_uid:
                    return  # a group of one user, as most systems make them
                log.warning(
                    "%s: %s may write here, and so change the record: chmod go-w %s",
                    self._root,
                    who,
                    self._root,
                )

    def list(self, prefix: str) -> Iterator[Entry]:
        """The finished files below a directory."""
        self._warn_of_others()
        return (entry for entry in self._walk(prefix) if not _is_staging(entry.key))

    def entries(self, folder: str, keys: Collection[str]) -> Iterator[Entry]:
        """The files below a directory with these keys, looked up one by one."""
        for key in keys:
            try:
                found = os.stat(f"{self._root}/{key}")  # noqa: PTH116 - of thousands no Path each
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise disk_error(f"{self._root}/{key}", error) from error
            if stat.S_ISREG(found.st_mode):
                yield _entry(key, found)

    def many(self, read: Callable[[Given], Found], things: Iterable[Given]) -> Iterator[Found]:
        """Reads one file after another: starting a thread takes longer than reading a small file."""
        return map(read, things)

    def leftovers(self) -> Iterator[Entry]:
        """Every staging file."""
        for prefix in ("landing", "compacted", "history", "expired"):
            yield from (entry for entry in self._walk(prefix) if _is_staging(entry.key))

    def _walk(self, prefix: str) -> Iterator[Entry]:
        path = f"{self._root}/{prefix}"  # thousands of directories: no Path of each
        try:
            with os.scandir(path) as found:
                entries = list(found)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise disk_error(path, error) from error
        for each in entries:
            key = f"{prefix}/{each.name}"
            try:
                # a day may be a link to another disk
                if each.is_dir(follow_symlinks=key.count("/") < _DEPTH):
                    yield from self._walk(key)
                    continue
                found_as = each.stat()
            except FileNotFoundError:  # deleted since it was listed
                continue
            except OSError as error:
                raise disk_error(f"{self._root}/{key}", error) from error
            if stat.S_ISREG(found_as.st_mode):  # opening a pipe would block
                yield _entry(key, found_as)

    def find(self, key: str) -> Entry | None:
        """The file as it is now."""
        with _disk_errors(self._root / key):
            try:
                found = (self._root / key).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _entry(key, found) if stat.S_ISREG(found.st_mode) else None

    def open(self, key: str) -> Any:
        """The file, for random access."""
        path = f"{self._root}/{key}"
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - of thousands no Path each
                raise LakeError(f"{path}: not a regular file: move it out of the lake")
            return pa.OSFile(path, "rb")
        except FileNotFoundError:
            raise Missing(f"{path}: the file is missing") from None
        except OSError as error:
            raise disk_error(path, error) from error

    def sink(self, key: str, over: Over = "anything") -> _Sink:
        """Begins a file in the directory of its key."""
        path = self._root / key
        with _disk_errors(path):
            return _Sink(self, key, path, over)

    def delete(self, entry: Entry, *, durable: bool = True) -> bool:
        """Deletes exactly this version of a file, and its directory if that is empty then."""
        path = self._root / entry.key
        with _disk_errors(path):
            with self.swapping():
                there = self.find(entry.key)
                if there is None or there.etag != entry.etag:
                    return False
                path.unlink()
            if durable:
                sync_directory(path.parent)
            if path.parent.name.startswith("date=") and not entry.key.startswith("history/"):
                with contextlib.suppress(OSError):  # not empty
                    path.parent.rmdir()
            return True

    @contextlib.contextmanager
    def swapping(self) -> Iterator[None]:
        """Excludes other processes from renames and deletes, so that check and change are atomic."""
        handle = _open_lock(self._root / "locks" / "names.lock")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[Lock]:
        """Holds a lock file; the kernel frees it when the process dies."""
        self._warn_of_others()
        path = self._root / "locks" / name
        handle = _open_lock(path)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise LakeError(f"{path}: cannot be locked: {error.strerror}") from error
                holder = os.read(handle, 200).decode(errors="replace").strip()
                raise Locked(path.name, holder) from None
            with _disk_errors(path):
                os.ftruncate(handle, 0)
                os.pwrite(
                    handle, f"pid {os.getpid()} since {datetime.now(UTC):%FT%TZ}\n".encode(), 0
                )
            yield _FileLock(path, handle)
        finally:
            os.close(handle)

    def register(self, connection: Any) -> None:
        """DuckDB reads local files by itself."""

    def polars_options(self) -> dict[str, Any]:
        """Polars reads local files by itself."""
        return {}


class _FileLock:
    """A flock on a lock file, which may have been replaced."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self.handle = handle

    def now(self) -> datetime:
        """The file system's time: that of a file modified now."""
        with _disk_errors(self.path):
            os.utime(self.handle)
            return datetime.fromtimestamp(os.fstat(self.handle).st_mtime, UTC)

    def check(self) -> None:
        """Raises Changed where the lock file was deleted: another run may hold a new one."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self.handle), self.path.stat()):
                return
        raise Changed(f"{self.path}: the lock file was deleted meanwhile: run the command again")


class _Sink:
    """One file, staged, and renamed once it is synced."""

    def __init__(self, disk: Disk, key: str, path: Path, over: Over) -> None:
        self.disk = disk
        self.key = key
        self.path = path
        self.over = over
        unique = f"{os.getpid()}-{secrets.token_hex(2)}"
        self.staging = path.with_name(f".{path.name}.{unique}{_STAGING}")
        handle = _begin(self.staging)
        self.file = os.fdopen(handle, "wb", buffering=1 << 20)

    def finish(self) -> Entry:
        """Syncs and renames the file, then syncs the directory."""
        with _disk_errors(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            with self.disk.swapping():
                _check(self.disk.find(self.key) if self.over != "anything" else None, self)
                self.staging.replace(self.path)
            sync_directory(self.path.parent)
            return _entry(self.key, self.path.stat())

    def discard(self) -> None:
        """Deletes the staging file."""
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self.staging.unlink()


def _open_lock(path: Path) -> int:
    """Opens a lock file and creates its directory; never follows or truncates a link."""
    make_directories(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise LakeError(f"{path}: a symbolic link where a lock must be: delete it") from None
        raise disk_error(path, error) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise LakeError(f"{path}: not a regular file where a lock must be: delete it")
    return handle


def _begin(path: Path) -> int:
    """Creates a file and its directory, repeatedly where a sweep deletes the empty directory."""
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC
    for _ in range(9):
        make_directories(path.parent)
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, flags, 0o600)
    make_directories(path.parent)
    return os.open(path, flags, 0o600)


def _check(there: Entry | None, sink: _Sink) -> None:
    """The condition of a put: the version that it may replace."""
    if sink.over == "anything":
        return
    wanted = None if sink.over == "nothing" else sink.over
    if (wanted and wanted.etag) != (there and there.etag):
        raise Changed(f"{sink.path}: written by another run meanwhile: run the command again")


def _entry(key: str, found: os.stat_result) -> Entry:
    modified = datetime.fromtimestamp(found.st_mtime, UTC)
    etag = f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"
    return Entry(key, found.st_size, modified, etag)


def _is_staging(key: str) -> bool:
    return key.endswith(_STAGING)


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turns OSError into an error that names the file and what to do."""
    try:
        yield
    except OSError as error:
        raise disk_error(path, error) from error


def disk_error(path: Path | str, error: OSError) -> LakeError:
    """The LakeError for an OSError, with the file and what to do."""
    advice = {
        errno.ENOSPC: "the disk is full: make room, the next run starts afresh",
        errno.EDQUOT: "the disk quota is used up: make room, the next run starts afresh",
        errno.EROFS: "the file system is read-only: choose another --lake",
        errno.EACCES: "permission denied: run as the lake's owner, or choose another --lake",
        errno.EEXIST: "a file stands where a directory is needed: choose another --lake",
        errno.ENOTDIR: "a file stands where a directory is needed: choose another --lake",
    }.get(error.errno or 0, error.strerror or str(error))
    return LakeError(f"{path}: {advice}")


def make_directories(path: Path) -> None:
    """Makes a directory and its parents, 0700, each new one synced into its parent.

    Raises:
        LakeError: the disk refused.
    """
    with _disk_errors(path):
        missing = []
        at = path
        while not at.is_dir():
            missing.append(at)
            at = at.parent
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
            sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Syncs a directory, so that a new name survives a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
