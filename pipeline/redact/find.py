"""Finds secrets in a text: applies every rule to every view of it, and returns spans of the text."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from pipeline.redact import arguments, encoded, gate, patterns, rules, shapes, tools
from pipeline.redact.echoes import echoed, unquoted_lists
from pipeline.redact.views import TextView, escapes, hidden, unescaped, words
from pipeline.schema import REDACTED

Span = tuple[int, int]
#: The most layers of escapes (a URL in a URL …); a word with more is masked unread.
_MAX_ESCAPES = 8
#: The most layers of quotes (a command in a command …); deeper text that may hold a secret is masked.
_MAX_QUOTES = 6
_MAX_BASE64 = 2
_WORD = re.compile(r"[^\s\"'<>]+")
_MASKED = re.compile(rf"[\"'\\]*{re.escape(REDACTED)}[\"'\\]*")


class Finder:
    """Finds secrets; ``keep`` names the settings whose values an ``-e NAME=value`` may show."""

    def __init__(self, keep: Collection[str] = ()) -> None:
        self._keep = keep

    def spans(self, text: str, depth: int = 0) -> list[Span]:
        """Returns the spans of secrets in ``text``, which was found in ``depth`` layers of base64."""
        if depth and not gate.lets_through(text):
            return []
        found: set[Span] = set()
        view = TextView(text)
        for _ in range(_MAX_ESCAPES):
            if gate.may_hold(view.text):
                self._quoted(view, 0, found)
                for other in (echoed(view), unquoted_lists(view)):
                    if other is not None:
                        self._quoted(other, 0, found)
            if depth < _MAX_BASE64:
                self._encoded(view, depth, found)
            following = unescaped(view)
            if following is None:
                break
            view = following
        else:
            self._too_deep(view, found)
        return merged(text, found)

    def in_words(self, command: Sequence[str]) -> list[str]:
        """Returns the arguments of a command, each a word of its own, with their secrets masked."""
        view = TextView("", TextView("\n".join(command)))
        pieces: list[str] = []
        starts, place = [], 0
        for argument in command:
            starts.append(place)
            if argument:
                view.add(pieces, hidden(argument), place, place + len(argument))
            view.add(pieces, " , ", place + len(argument), place + len(argument))
            place += len(argument) + 1
        view.text = "".join(pieces)
        if not gate.may_hold(view.text):
            return list(command)
        found: set[Span] = set()
        self._rules(view, found)
        masked = []
        for start, argument in zip(starts, command, strict=True):
            inside = {
                (max(0, first - start), min(len(argument), last - start))
                for first, last in found
                if first < start + len(argument) and last > start
            }
            masked.append(mask(argument, merged(argument, inside)))
        return masked

    def _quoted(self, view: TextView, depth: int, found: set[Span]) -> None:
        if depth == _MAX_QUOTES:
            found.add(view.in_root(0, len(view.text)))
            return
        modes = [(False, False)]
        if depth < 2 and ('\\"' in view.text or "\\'" in view.text):
            modes.append((True, False))
        if depth < 2 and view.text.count('"') > 2:
            modes.append((False, True))
        for mode in modes:
            read, inner = words(view, *mode)
            self._rules(read, found)
            if read is not view and "-----BEGIN" in view.text:
                self._rules(view, found)
            for part in inner:
                if gate.may_hold(part.text):
                    self._quoted(part, depth + 1, found)

    def _rules(self, view: TextView, found: set[Span]) -> None:
        text = view.text
        for rule in (
            rules.pairs,
            patterns.patterns,
            tools.commands,
            arguments.arguments,
            shapes.known,
        ):
            found.update(view.in_root(*span) for span in rule(text))
        found.update(view.in_root(*span) for span in rules.environment(text, self._keep))

    def _encoded(self, view: TextView, depth: int, found: set[Span]) -> None:
        def has_secret(text: str) -> bool:
            return bool(self.spans(text, depth + 1))

        for span in encoded.spans(view.text, has_secret, is_within=depth == 0):
            found.add(view.in_root(*span))

    def _too_deep(self, view: TextView, found: set[Span]) -> None:
        """Adds words that are still escaped."""
        end = 0
        for place in escapes(view.text):
            if place < end:
                continue
            start = max(view.text.rfind(letter, 0, place) for letter in " \t\r\n\"'<>") + 1
            word = _WORD.match(view.text, start)
            if word is not None:
                end = word.end()
                found.add(view.in_root(start, end))


def merged(text: str, found: Collection[Span]) -> list[Span]:
    """Returns spans in order, overlapping ones merged, without those that are masked already."""
    apart: list[Span] = []
    if REDACTED in text:
        found = {_around_masked(text, *span) for span in found}
    for start, end in sorted(found):
        if _MASKED.fullmatch(text, start, end):
            continue
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


def _around_masked(text: str, start: int, end: int) -> Span:
    """A span, widened so that it does not split a mask."""
    for place in (start, end):
        first = text.rfind(REDACTED, 0, place + len(REDACTED) - 1)
        last = first + len(REDACTED)
        if first >= 0 and first < place < last:
            start, end = min(start, first), max(end, last)
    return start, end


def mask(text: str, spans: Sequence[Span]) -> str:
    """Returns a text with these spans masked; the text around them stays readable."""
    if not spans:
        return text
    pieces: list[str] = []
    end = 0
    for start, stop in spans:
        pieces += (text[end:start], REDACTED)
        end = stop
    return "".join((*pieces, text[end:]))
