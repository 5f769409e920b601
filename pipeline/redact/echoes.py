"""Reads commands in texts: ``--password $(echo x)`` passes x; errors quote lists of arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pipeline.redact.views import TextView

Span = tuple[int, int]

_PRINTS = (
    r"\s*+(?:echo|printf|write-output|cat\s*+<<<)\s++(?:-[neE]++\s++|-InputObject\s++|--\s++)*+"
    r"(?:[\"']?%[-\w.]*[sb](?:\\{1,2}n)?[\"']?\s++)?"
    r"(?P<said>'[^']*+'|\"[^\"]*+\"|[^\s()|;&<>'\"`$]++)\s*+(?:\|[^()`]*+)?"
)
_ECHO = re.compile(
    # A process substitution is a file with the word: --password-file=<(echo x)
    rf"(?:(?:[-_](?:file|path))?(?P<sign>[ \t=]++)<\({_PRINTS}\)|\$\({_PRINTS.replace('said', 'word')}\)"
    rf"|`{_PRINTS.replace('said', 'old')}`)",
    re.IGNORECASE,
)
_HINT = re.compile(r"(?:\(|`)\s*+(?:echo|printf|write-output|cat\s*+<<<)\b", re.IGNORECASE)


def echoed(view: TextView) -> TextView | None:
    """Returns a view with printed literals in place of their commands; None if there are none."""
    return _replaced(view, _literals(view.text)) if _HINT.search(view.text) else None


def _literals(text: str) -> Iterator[tuple[Span, list[Span]]]:
    for match in _ECHO.finditer(text):
        kind = match.lastgroup or "word"
        start, stop = match.span(kind)
        if text[start] in "\"'" and match.start() and text[match.start() - 1] == '"':
            start, stop = start + 1, stop - 1  # in quotes already
        if stop > start:
            sign = [match.span("sign")] if kind == "said" else []
            yield match.span(), [*sign, (start, stop)]


#: A command as Python shows it in an error: Command '['tool', '--password', 'x']' failed.
_SHOWN = re.compile(
    r"(?P<quote>['\"])(?P<list>\[(?:\s*+(?:'[^'\n]*+'|\"[^\"\n]*+\")\s*+,?)++\])(?P=quote)"
)


def unquoted_lists(view: TextView) -> TextView | None:
    """Returns a view of shown commands without the quotes around them; None if there are none."""
    shown = ((match.span(), [match.span("list")]) for match in _SHOWN.finditer(view.text))
    return _replaced(view, shown) if "[" in view.text else None


def _replaced(view: TextView, found: Iterable[tuple[Span, list[Span]]]) -> TextView | None:
    """A view with only these parts of each place; None if there are no places."""
    read = TextView("", view)
    pieces: list[str] = []
    end = 0
    for (first, last), parts in found:
        for start, stop in ((end, first), *parts):
            if stop > start:
                read.add(pieces, view.text[start:stop], start, stop)
        end = last
    if not end:
        return None
    if end < len(view.text):
        read.add(pieces, view.text[end:], end, len(view.text))
    read.text = "".join(pieces)
    return read


def is_echo(text: str) -> bool:
    """Returns whether a text has a command substitution that prints a literal."""
    return bool(_HINT.search(text) and _ECHO.search(text))
