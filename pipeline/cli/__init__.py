"""The command ``nodelake``: arguments, progress, exit codes; the only package that wires the others.

Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 partial; 4 another run holds the lock;
5 a check failed; 130 and 143 after Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from pipeline import __version__
from pipeline.cli import (
    ask,
    completion,
    demo,
    emulate,
    health,
    imports,
    maintenance,
    metrics,
    node,
    pictures,
    prices,
    questions,
    schedule,
    signals,
    snapshots,
    sql,
    usage,
)
from pipeline.cli.console import say, set_up_logging
from pipeline.cli.errors import exit_code_of, show, unwritten
from pipeline.cli.files import owner_only
from pipeline.cli.options import share_options

INTERRUPTED, TERMINATED = 130, 143


class _Commands(click.Group):
    """The command group; an unknown command is an error that names the nearest ones."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            from pipeline.query.nearest import did_you_mean

            near = did_you_mean(name, self.commands) or "; nodelake --help lists them"
            raise click.UsageError(f"no command {name!r}{near}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    subcommand_metavar="COMMAND [ARGS]",
    epilog="Try `nodelake demo`: it needs no account.",
)
@click.version_option(__version__, prog_name="nodelake")
def nodelake() -> None:
    """The flight recorder for Azure Batch fleets.

    Snapshots every compute node of a Batch account into Parquet, and answers questions about node
    history with SQL.
    """


for command in (
    *snapshots.COMMANDS,
    *imports.COMMANDS,
    *usage.COMMANDS,
    *maintenance.COMMANDS,
    *ask.COMMANDS,
    *questions.COMMANDS,
    *sql.COMMANDS,
    *node.COMMANDS,
    *health.COMMANDS,
    *metrics.COMMANDS,
    *prices.COMMANDS,
    *schedule.COMMANDS,
    *completion.COMMANDS,
    *pictures.COMMANDS,
    *demo.COMMANDS,
    *emulate.COMMANDS,
):
    nodelake.add_command(command)
share_options(nodelake)


def main() -> None:
    """Runs the command and ends the process with its exit code."""
    signals.listen()
    code = run(sys.argv[1:])
    signals.listen_no_more()
    try:
        if sys.stdout is not None:
            sys.stdout.flush()  # buffered output may meet a full disk, or a closed pipe
    except OSError as error:
        code = unwritten(error, code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; errors become messages on stderr."""
    set_up_logging(verbose=False)
    signals.forget()
    try:
        return _run(arguments)
    except (KeyboardInterrupt, click.Abort):
        return _stopped("interrupted", INTERRUPTED)
    except signals.Terminated:
        return _stopped("terminated", TERMINATED)


def _stopped(word: str, code: int) -> int:
    signals.listen_no_more()  # a user may press Ctrl-C twice
    say(word)
    return code


def _run(arguments: list[str]) -> int:
    """The same, where Ctrl-C and SIGTERM go through, also during a message."""
    try:
        with owner_only():
            result: Any = nodelake.main(arguments, prog_name="nodelake", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        raise
    except click.ClickException as error:
        show(error)
        return error.exit_code
    except SystemExit:
        # click ends like this where the reader of stdout closed it (head, less)
        return 0
    except Exception as error:
        signals.raise_again()
        return exit_code_of(error)
    return result if isinstance(result, int) else 0
