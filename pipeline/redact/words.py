"""Words of a command, and which parts of them are secrets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.redact import values

Span = tuple[int, int]


@dataclass(frozen=True)
class Word:
    """A word of a command, its quoted letters shown, and where it stands."""

    text: str
    start: int
    end: int

    def part(self, start: int, end: int | None = None) -> Span:
        """Returns where a part of the word stands."""
        return self.start + start, self.start + (len(self.text) if end is None else end)


def secret_in(word: Word, start: int, end: int | None = None) -> Iterator[Span]:
    """Yields where a part of a word stands, unless it is a reference, a flag or nothing."""
    value = word.text[start:end]
    if (
        value
        and value not in ("-", "*")
        and not (values.is_reference(value) or values.is_nothing(value))
        and not value.startswith(("-", "$("))  # a substitution's literal has a view of its own
    ):
        yield word.part(start, end)
