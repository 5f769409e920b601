"""Reads command substitutions that print a literal: ``--password $(echo x)`` passes x."""

from __future__ import annotations

import re

from pipeline.redact.views import TextView

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
    text = view.text
    if not _HINT.search(text):
        return None
    read = TextView("", view)
    pieces: list[str] = []
    end = 0
    for match in _ECHO.finditer(text):
        kind = match.lastgroup or "word"
        start, stop = match.span(kind)
        if text[start] in "\"'" and match.start() and text[match.start() - 1] == '"':
            start, stop = start + 1, stop - 1  # in quotes already
        if stop <= start:
            continue
        if match.start() > end:
            read.add(pieces, text[end : match.start()], end, match.start())
        if kind == "said":
            read.add(pieces, match["sign"], *match.span("sign"))
        read.add(pieces, text[start:stop], start, stop)
        end = match.end()
    if not pieces:
        return None
    if end < len(text):
        read.add(pieces, text[end:], end, len(text))
    read.text = "".join(pieces)
    return read


def is_echo(text: str) -> bool:
    """Returns whether a text has a command substitution that prints a literal."""
    return bool(_HINT.search(text) and _ECHO.search(text))
