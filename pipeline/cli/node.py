"""The command ``node``: a node's story from the lake, or the node as the service has it now."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from pipeline.cli import completion, node_output
from pipeline.cli.console import say
from pipeline.cli.options import account_option, allow_host_option, connect, is_of, settings
from pipeline.cli.output import format_option, show

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.config import Settings
    from pipeline.query import Connection

NOT_THERE = 1


@click.command(
    epilog="""\b
Examples:
  nodelake node render 0a1b                 any unique part of an id will do
  nodelake node render 0a1b --from 2026-11-21T06:00 --to 2026-11-21T12:00
  nodelake node render 0a1b --format csv    rows, with bounds of times
  nodelake node render $NODE_ID --live      the whole id: what Batch has
  nodelake node render $NODE_ID --live --select id,state"""
)
@click.argument("pool", shell_complete=completion.pools)
@click.argument("node_id", metavar="NODE", shell_complete=completion.nodes)
@click.option("--from", "start", metavar="TIME", help="Only what had not ended before it (UTC).")
@click.option("--to", "end", metavar="TIME", help="Only what began before it (UTC).")
@click.option("--tasks", is_flag=True, help="Every task, idle and running by itself.")
@click.option(
    "--live",
    is_flag=True,
    help="Ask the service for the node of that whole id (Compute Node - Get).",
)
@click.option("--select", metavar="F,F", help="With --live: only these properties.")
@click.option(
    "--timeout", type=click.IntRange(1, 30), help="With --live: seconds the service may take."
)
@account_option
@format_option
@allow_host_option
def node(
    pool: str,
    node_id: str,
    start: str | None,
    end: str | None,
    tasks: bool,
    live: bool,
    select: str | None,
    timeout: int | None,
    accounts: tuple[str, ...],
    form: str | None,
    allowed_hosts: tuple[str, ...],
) -> int:
    """Show one node's story, or what the service has of it now.

    The story covers every machine that had the id: allocated, booted, its start task, states, work,
    errors, changes of agent and image, gone. Times are UTC. A time that only polling shows has
    bounds: it lies between two listings. Below it stands the end of what its last failed start
    task wrote, where snapshots capture that. Exit code 1 if there is no such node.
    """
    if live:
        if form not in (None, "json"):
            raise click.UsageError("--live prints the service's JSON, no rows")
        if start or end or tasks:
            raise click.UsageError("--from, --to and --tasks go with the story, not with --live")
        return _live(
            pool, node_id, select, timeout, settings(accounts, allowed_hosts=allowed_hosts)
        )
    if select or timeout:
        raise click.UsageError("--select and --timeout go with --live")
    from pipeline.cli.ask import check_values

    given: dict[str, object] = {"from": start, "to": end, "tasks": tasks}
    with connect() as connection:
        check_values(connection, "node_story", given)
        found = _find(connection, pool, node_id, accounts)
        if not found:
            say(_not_there(connection, pool, node_id, accounts))
            return NOT_THERE
        names = sorted({each for _, _, each in found})
        if len(names) > 1:
            few = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
            raise click.UsageError(f"{node_id!r} is part of the ids of {len(names)} nodes: {few}")
        stories = [
            connection.ask("node_story", **given, account=account, pool=pool_id, node=name)
            for account, pool_id, name in found
        ]
        output = [
            row for each in found for row in node_output.captured(connection, *each, start, end)
        ]
    import pyarrow as pa

    rows = pa.concat_tables(stories)
    if form == "table" or (form is None and sys.stdout is not None and sys.stdout.isatty()):
        _print_story(rows, output)
    else:
        show(rows, form)
    return 0


def _print_story(rows: pa.Table, output: list[dict[str, Any]]) -> None:
    from rich.console import Console

    from pipeline.cli import story

    console = Console(highlight=False, emoji=False)
    if not rows.num_rows:
        console.print("nothing happened to it then", style="dim")
    for number, line in enumerate(story.lines(rows.to_pylist(), console.width)):
        if number:  # no blank line before the first heading
            console.print(line, soft_wrap=True)
    for text in node_output.lines(output):
        console.print(text, soft_wrap=True, markup=False)
    for name in sorted({str(each) for each in rows["node_id"].to_pylist()}):
        # at this anchor a page of `nodelake report` shows the same story
        link = f"in a page of nodelake report: report.html#node={quote(name, safe='')}"
        console.print(link, style="dim", soft_wrap=True)


_Found = list[tuple[str, str, str]]


def _find(connection: Connection, pool: str, node_id: str, accounts: tuple[str, ...]) -> _Found:
    """(account, pool, node) of the nodes with that id, else of those whose ids contain it."""
    for condition in (
        "node_id = $node",
        "starts_with(lower(node_id), lower($node))",
        "contains(lower(node_id), lower($node))",
    ):
        found = connection.table(
            f"select distinct account, pool_id, node_id from node_incarnations where {condition} "  # noqa: S608
            "and lower(pool_id) = lower($pool) order by all",
            {"pool": pool, "node": node_id},
        ).to_pylist()
        kept = [row for row in found if is_of(row["account"], accounts)]
        if kept:
            return [(row["account"], row["pool_id"], row["node_id"]) for row in kept]
    return []


def _not_there(connection: Connection, pool: str, node_id: str, accounts: tuple[str, ...]) -> str:
    """The message about a node that is not in the lake: it names those with similar ids."""
    where = f"in {connection.lake}" + (f" of {', '.join(accounts)}" if accounts else "")
    near = connection.table(
        "select distinct account, node_id as name, "
        "jaro_winkler_similarity(node_id, $text) as likeness "
        "from node_incarnations where lower(pool_id) = lower($pool) "
        "order by likeness desc, name, account",
        {"pool": pool, "text": node_id},
    ).to_pylist()
    near = [row for row in near if is_of(row["account"], accounts)]
    if near:
        names = ", ".join([*dict.fromkeys(row["name"] for row in near)][:3])
        return f"no node {node_id} of pool {pool} {where}; near: {names}"
    pools = connection.table(
        "select distinct account, pool_id as name, "
        "jaro_winkler_similarity(pool_id, $text) as likeness "
        "from node_incarnations order by likeness desc, name, account",
        {"text": pool},
    ).to_pylist()
    pools = [row for row in pools if is_of(row["account"], accounts)]
    names = ", ".join([*dict.fromkeys(row["name"] for row in pools)][:5])
    there = names or "none was ever listed"
    return f"no node {node_id} of pool {pool} {where}; pools with nodes: {there}"


def _live(
    pool: str,
    node_id: str,
    select: str | None,
    timeout: int | None,
    chosen: Settings,
) -> int:
    from pipeline.extract import BatchClient
    from pipeline.extract.envelope import shallow
    from pipeline.redact import DEFAULT

    wanted = chosen.require_accounts()
    if len(wanted) > 1:
        raise click.UsageError("several accounts are configured: choose one with --account")
    names = [name.strip() for name in select.split(",")] if select else []
    with BatchClient(wanted[0]) as client:
        page = client.node(pool, node_id, select=names, timeout=timeout)
    value: Any = DEFAULT.json(
        # Python refuses integers of thousands of digits: these are printed as text
        json.loads(shallow(page.body), parse_int=lambda t: int(t) if len(t) < 400 else t)
    )
    click.echo(json.dumps(value, indent=2))
    return 0


COMMANDS = (node,)
