"""The command ``completion``, and the values it completes: questions, checks, accounts, pools."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem, get_completion_class

SHELLS = ("bash", "zsh", "fish")
#: A variable of click: where it is set, the command prints completions and does not run.
VARIABLE = "_NODELAKE_COMPLETE"
_INSTALL = {
    "bash": "nodelake completion bash > /etc/bash_completion.d/nodelake",
    "zsh": 'nodelake completion zsh > "${fpath[1]}/_nodelake"',
    "fish": "nodelake completion fish > ~/.config/fish/completions/nodelake.fish",
}


@click.command(
    epilog="\b\nExamples:\n"
    + "\n".join(f"  {line}" for line in _INSTALL.values())
    + '\n  eval "$(nodelake completion bash)"     in ~/.bashrc'
)
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script that completes nodelake in bash, zsh or fish.

    It completes commands and options, and the questions, checks, accounts and
    pools of the lake.
    """
    completer = get_completion_class(shell)
    assert completer is not None, shell
    script = completer(context.find_root().command, {}, "nodelake", VARIABLE)
    # click checks the version of bash here (4.4); an older bash reports it on use
    text = (script.source_template % script.source_vars()).strip()
    # zsh recognises a file of its fpath by the first line, so the comment comes last
    click.echo(f"{text}\n# Install: {_INSTALL[shell]}")
    return 0


def questions(_c: click.Context, _p: click.Parameter, begun: str) -> list[CompletionItem]:
    """The named questions."""
    from pipeline.query import questions as known

    return _items(((each.name, each.question) for each in known().values()), begun)


def checks(_c: click.Context, _p: click.Parameter, begun: str) -> list[CompletionItem]:
    """The checks."""
    from pipeline.query.checks import checks as known

    return _items(((each.name, each.check) for each in known().values()), begun)


def accounts(context: click.Context, _p: click.Parameter, begun: str) -> list[CompletionItem]:
    """The accounts of the settings and of the lake."""
    rows = _rows(context, "select distinct account from snapshots order by account")
    return _items(((row["account"], "") for row in rows), begun)


def pools(context: click.Context, _p: click.Parameter, begun: str) -> list[CompletionItem]:
    """The pools of the lake's last two days."""
    rows = _rows(
        context,
        "select distinct pool_id from pools "
        "where date >= (select max(date) from snapshots) - 1 order by pool_id",
    )
    return _items(((row["pool_id"], "") for row in rows), begun)


def nodes(context: click.Context, _p: click.Parameter, begun: str) -> list[CompletionItem]:
    """The nodes of the pool on the command line, as last listed."""
    rows = _rows(
        context,
        "select node_id, state from nodes_latest where pool_id = $pool order by node_id limit 500",
        pool=context.params.get("pool"),
    )
    return _items(((row["node_id"], row["state"] or "") for row in rows), begun)


def _items(known: Iterable[tuple[str, str]], begun: str) -> list[CompletionItem]:
    # a control character in a name would break the protocol of the shell
    return [
        CompletionItem(name, help=text or None)
        for name, text in known
        if name.startswith(begun) and name.isprintable()
    ]


def _rows(context: click.Context, query: str, **parameters: object) -> list[dict[str, str]]:
    """Rows of the lake; none where it cannot be read: completion must not print errors."""
    from pipeline.cli.access import connect

    logging.disable(logging.CRITICAL)
    with (
        contextlib.suppress(Exception),
        context.scope(cleanup=False),
        connect() as lake,
    ):
        rows: list[dict[str, str]] = lake.table(query, parameters or None).to_pylist()
        return rows
    return []


COMMANDS = (completion,)
