"""Help: of every command, as it is in the README, 80 columns wide."""

from __future__ import annotations

import pytest

from tests.cli.help import README, document, help_of, names

COMMANDS = [*names()]


@pytest.mark.parametrize("words", [(), *COMMANDS], ids=lambda words: " ".join(words) or "nodelake")
def test_help_fits_80_columns(words: tuple[str, ...]) -> None:
    """No line is longer, nothing is cut, and it has an example."""
    text = help_of(*words)
    assert [] == [line for line in text.splitlines() if len(line) > 80]
    assert "…" not in text
    assert "..." not in text
    for option in ("--lake", "--config", "-v, --verbose"):
        assert option in text
    assert "Example" in text or words == ()


def test_the_readme_has_every_commands_help() -> None:
    """As the program prints it: python -m tests.cli.help --write."""
    text = README.read_text("utf-8")
    assert text == document(text)
