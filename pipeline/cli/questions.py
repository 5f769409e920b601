"""The command ``questions``, which lists the named questions or describes one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import completion
from pipeline.cli.output import format_option, show

if TYPE_CHECKING:
    from pipeline.query import Parameter, Question


@click.command(
    epilog="""\b
Examples:
  nodelake questions                        names and questions
  nodelake questions black_hole_nodes       its grain, columns, parameters
  nodelake questions --format json"""
)
@click.argument("name", metavar="QUESTION", required=False, shell_complete=completion.questions)
@format_option
def questions(name: str | None, form: str | None) -> None:
    """List the named questions, or describe one."""
    import pyarrow as pa

    from pipeline import query

    known = {name: query.question(name)} if name is not None else query.questions()
    rows = [_row(each) for each in known.values()]
    is_table = form == "table" or (form is None and sys.stdout is not None and sys.stdout.isatty())
    if not is_table:
        show(pa.Table.from_pylist(rows), form)
    elif name is not None:
        _describe(query.question(name))
    else:
        show(pa.Table.from_pylist(rows).select(["name", "question"]), "table")


def _row(asked: Question) -> dict[str, Any]:
    return {
        "name": asked.name,
        "question": asked.question,
        "grain": asked.grain,
        "columns": ", ".join(asked.columns),
        "parameters": ", ".join(
            f"{p.name}={p.default}" if p.default else p.name for p in asked.parameters
        ),
        "caveats": asked.caveats,
    }


def _describe(asked: Question) -> None:
    """Prints the header of a question, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    described = [
        ("question", asked.question),
        ("grain", asked.grain),
        ("columns", ", ".join(asked.columns)),
        *(("param" if not i else "", _parameter(p)) for i, p in enumerate(asked.parameters)),
        ("caveats", asked.caveats),
    ]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    for key, value in described:
        table.add_row(Text(key), Text(value))
    Console(highlight=False).print(table)


def _parameter(parameter: Parameter) -> str:
    default = f" [{parameter.default}]" if parameter.default else ""
    return f"{parameter.name} ({parameter.type}): {parameter.doc}{default}"


COMMANDS = (questions,)
