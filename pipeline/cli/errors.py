"""Turns errors of a command into messages on stderr and exit codes."""

from __future__ import annotations

import errno
import sys
import traceback

import click

from pipeline.cli.console import is_watched, say, show_usage

FAILED, USAGE, LOCKED = 1, 2, 4

#: Errors of writing to stdout; errors of other files have a file name.
_UNWRITABLE = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


def show(error: click.ClickException) -> None:
    """Reports a usage error: with a synopsis on a terminal, else as a JSON line."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        if is_watched():
            show_usage(error.format_message())
        else:
            say("no command given; nodelake --help lists them")
        return
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None and is_watched():
        show_usage(context.get_usage())
    say(error.format_message())


def unwritten(error: OSError, code: int = 0) -> int:
    """The exit code where stdout cannot be written; reports why, unless its reader closed it.

    A reader that closes it (head, less) has what it wanted.
    """
    sys.stdout = None  # prevents a flush at exit
    if isinstance(error, BrokenPipeError):
        return code
    say(f"cannot write to standard output: {error.strerror}")
    return FAILED


def exit_code_of(error: Exception) -> int:
    """Reports an error without secrets, and returns its exit code."""
    import duckdb

    from pipeline.config import ConfigError
    from pipeline.extract import ExtractError
    from pipeline.lake import LakeError, Locked, Refused
    from pipeline.query import QuestionError
    from pipeline.query.checks import CheckError
    from pipeline.snapshot import SavedError
    from pipeline.storage import LakeSettingsError

    if isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE:
        return unwritten(error)
    if isinstance(error, MemoryError | duckdb.OutOfMemoryException):
        say("not enough memory: give the process more (ulimit -v, the container's limit)")
        return FAILED
    code = FAILED
    if isinstance(error, Locked):
        code = LOCKED
    elif isinstance(error, ConfigError | QuestionError | CheckError | Refused | LakeSettingsError):
        code = USAGE
    elif isinstance(error, SavedError):
        code = USAGE if error.is_usage else FAILED
    elif isinstance(error, duckdb.Error):
        wrong = duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException
        code = USAGE if isinstance(error, wrong) else FAILED
    elif isinstance(error, OSError) and error.filename is not None:
        say(f"{error.filename}: {error.strerror}")
        return FAILED
    elif not isinstance(error, LakeError | ExtractError):
        trace = "".join(traceback.format_exception(error))
        say(f"unexpected error; please report it:\n{trace}")
        return FAILED
    say(str(error))
    return code
