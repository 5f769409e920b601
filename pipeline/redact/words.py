"""The words of a command, and the secrets in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.redact import values

Span = tuple[int, int]


@dataclass(frozen=True)
class Word:
    """A word of a command without its quotes, and its span."""

    text: str
    start: int
    end: int

    def part(self, start: int, end: int | None = None) -> Span:
        """Returns the span of a part of the word."""
        return self.start + start, self.start + (len(self.text) if end is None else end)


def secret_in(word: Word, start: int, end: int | None = None) -> Iterator[Span]:
    """Yields the span of a part of a word, unless it is a reference, a flag or nothing."""
    value = word.text[start:end]
    if (
        value
        and value not in ("-", "*")
        and not (values.is_reference(value) or values.is_nothing(value))
        and not value.startswith(("-", "$("))  # the literal of a substitution has its own view
    ):
        yield word.part(start, end)
