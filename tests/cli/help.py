"""Every command's help as the program prints it, and the README that shows it."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator

import click
import pytest

from pipeline import cli
from tests.conftest import PROJECT

README = PROJECT / "pipeline" / "cli" / "README.md"
_PART = re.compile(r"(<!-- python -m tests\.cli\.help --write -->\n).*(<!-- end -->)", re.DOTALL)


def names(
    group: click.Group = cli.nodelake, above: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Every command's words, those of groups first."""
    for name, command in sorted(group.commands.items()):
        yield (*above, name)
        if isinstance(command, click.Group):
            yield from names(command, (*above, name))


def help_of(*words: str) -> str:
    """What ``nodelake WORDS --help`` prints on a terminal of 80 columns."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setenv("COLUMNS", "80")
        assert cli.run([*words, "--help"]) == 0
    return out.getvalue()


def document(text: str) -> str:
    """The README with the help of today in it."""
    parts = [
        f"### {' '.join(words)}\n\n```\n{help_of(*words).rstrip()}\n```\n" for words in names()
    ]
    printed = "\n" + "\n".join(parts) + "\n"
    return _PART.sub(lambda match: match[1] + printed + match[2], text)


if __name__ == "__main__":
    text = document(README.read_text("utf-8"))
    if "--write" in sys.argv:
        README.write_text(text, "utf-8")
    else:
        sys.stdout.write(text)
