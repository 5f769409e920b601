"""The command ``nodelake``: arguments, progress, exit codes; the only room that wires the others.

Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 partial; 4 another run holds the lock;
5 a check failed; 130 and 143 after Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import errno
import signal
import sys
import traceback
from types import FrameType

import click

from pipeline import __version__
from pipeline.cli import (
    answers,
    collect,
    completion,
    demo,
    health,
    maintenance,
    metrics,
    node,
    pictures,
    prices,
    questions,
    schedule,
    usage,
)
from pipeline.cli.console import say, set_up_logging

USAGE, FAILED, LOCKED = 2, 1, 4
INTERRUPTED, TERMINATED = 130, 143


class Terminated(BaseException):
    """SIGTERM: unwinds like Ctrl-C, so that a run ends cleanly and leaves its ledger row."""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try `nodelake demo`: it needs no account.",
)
@click.version_option(__version__, prog_name="nodelake")
@click.option("-v", "--verbose", is_flag=True, help="Log every request.")
@click.option(
    "--lake", "lake", metavar="URI", help="Directory of the lake; works on every command."
)
@click.option("--config", type=click.Path(dir_okay=False), help="Settings file [nodelake.toml].")
@click.pass_context
def nodelake(context: click.Context, verbose: bool, lake: str | None, config: str | None) -> None:
    """The flight recorder for Azure Batch fleets.

    Snapshots every compute node of a Batch account into Parquet, and answers questions about node
    history with SQL.
    """
    context.obj = {"lake": lake, "config": config}
    set_up_logging(verbose)


for command in (
    *collect.COMMANDS,
    *usage.COMMANDS,
    *maintenance.COMMANDS,
    *answers.COMMANDS,
    *questions.COMMANDS,
    *node.COMMANDS,
    *health.COMMANDS,
    *metrics.COMMANDS,
    *prices.COMMANDS,
    *schedule.COMMANDS,
    *completion.COMMANDS,
    *pictures.COMMANDS,
    *demo.COMMANDS,
):
    nodelake.add_command(command)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def main() -> None:
    """Runs the command and ends the process with its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    code = run(sys.argv[1:])
    try:
        if sys.stdout is not None:
            sys.stdout.flush()  # what is still buffered may meet a full disk, or nobody
    except OSError as error:
        code = _unwritten(error, code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; every error ends as a message on stderr."""
    try:
        result = nodelake.main(arguments, prog_name="nodelake", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        return INTERRUPTED
    except Terminated:
        say("terminated")
        return TERMINATED
    except SystemExit:
        # click's answer, whatever it is told, to a reader that has gone (head, less): what that
        # one wanted, it has
        return 0
    except OSError as error:
        # what is written to a lake ends in a LakeError: this is stdout
        is_stdout = error.filename is None and error.errno in _UNWRITABLE
        return _unwritten(error) if is_stdout else _failed(error)
    except Exception as error:
        return _failed(error)
    return result if isinstance(result, int) else 0


_UNWRITABLE = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


def _unwritten(error: OSError, code: int = 0) -> int:
    """The exit code where stdout took no more; says why, unless its reader has just gone.

    Of a reader that has gone (head, less): what it wanted, it has.
    """
    sys.stdout = None  # nothing may flush at exit
    if isinstance(error, BrokenPipeError):
        return code
    say(f"cannot write to standard output: {error.strerror}")
    return FAILED


def _failed(error: Exception) -> int:
    """Says what went wrong, without a secret in it, and what the exit code of it is."""
    import duckdb

    from pipeline.config import ConfigError
    from pipeline.extract import ExtractError
    from pipeline.lake import LakeError, Locked, Refused
    from pipeline.query import QuestionError
    from pipeline.snapshot.imports import SavedError
    from pipeline.storage import LakeSettingsError

    if isinstance(error, Locked):
        say(str(error))
        return LOCKED
    if isinstance(error, ConfigError | QuestionError | Refused | LakeSettingsError):
        say(str(error))
        return USAGE
    if isinstance(error, SavedError):
        say(str(error))
        return USAGE if error.is_usage else FAILED
    if isinstance(error, LakeError | ExtractError):
        say(str(error))
        return FAILED
    if isinstance(error, duckdb.Error):
        say(str(error))
        wrong = duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException
        return USAGE if isinstance(error, wrong) else FAILED
    say("unexpected error; please report it:\n" + "".join(traceback.format_exception(error)))
    return FAILED
