"""Writes files that a user names: whole or not at all, with the permissions of the umask."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import click

#: The umask of nodelake: its files and directories are for their owner only.
_OWNER_ONLY = 0o077
_umask_before = _OWNER_ONLY


@contextlib.contextmanager
def owner_only() -> Iterator[None]:
    """A context in which new files are private, except those of `replace`."""
    global _umask_before
    _umask_before = os.umask(_OWNER_ONLY)
    try:
        yield
    finally:
        os.umask(_umask_before)


def replace(path: Path, text: str) -> None:
    """Replaces a file by a rename: a reader sees the old one or the new one.

    Raises:
        click.ClickException: the directory is missing or cannot be written.
    """
    with replacement(path) as write:
        write(text)


@contextlib.contextmanager
def replacement(path: Path, *, is_private: bool = False) -> Iterator[Callable[[str], None]]:
    """A context with a function that writes a new file, which then replaces ``path``.

    Raises:
        click.ClickException: the directory is missing or cannot be written; raised before the block.
    """
    target = path.resolve()  # follows a link
    aside = target.with_name(f".{path.name}.{secrets.token_hex(4)}")  # collectors read *.prom only
    try:
        with naming(path):
            file = aside.open("x", encoding="utf-8")

        def write(text: str) -> None:
            with naming(path):
                if not is_private:
                    os.fchmod(file.fileno(), 0o666 & ~_umask_before)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                aside.replace(target)

        with file:
            yield write
    finally:
        with contextlib.suppress(OSError):  # the directory is read-only, as the error above says
            aside.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names the file that the system refuses to write."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written: {error.strerror}") from None
