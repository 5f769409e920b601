"""Views of a text without quotes or escapes, which map each letter to its place in the text.

So rules read one form of a text, and secrets are masked in place.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Letters with a meaning for a shell or a format, unless they are quoted.
_SPECIAL = " \t\r\n\v\f\u00a0;&|<>,(){}[]\"'`"
_HIDDEN = {ord(letter): 0xE000 + ord(letter) for letter in _SPECIAL}
_SHOWN = {code: letter for letter, code in _HIDDEN.items()}
_ANY_SPECIAL = re.compile(f"[{re.escape(_SPECIAL)}]")
#: Stands between a quoted space and a letter that is not quoted, as where quotes stand in quotes: a name
#: may begin here.
SEAM = "\ue0ff"
_SHOWN[ord(SEAM)] = 0x2060
#: A special letter that was quoted, for patterns.
QUOTED = f"[{''.join(map(chr, _HIDDEN.values()))}]"
QUOTED_SPACE = (
    f"[{''.join(chr(_HIDDEN[ord(letter)]) for letter in ' ' + chr(9) + chr(10) + chr(160))}]"
)


def plain(text: str) -> str:
    """Returns a part of a view of words with its original quoted letters."""
    return text.translate(_SHOWN)


def hidden(text: str) -> str:
    """Returns a text as one word: its special letters are quoted."""
    return text.translate(_HIDDEN)


@dataclass
class TextView:
    """A text that was read from another one, with the place of each of its letters there."""

    text: str
    parent: TextView | None = None
    at: list[int] = field(default_factory=list)
    """The start of each piece in this text."""
    source: list[tuple[int, int]] = field(default_factory=list)
    """Start and end of each piece in the parent."""
    quotes: list[tuple[int, int]] = field(default_factory=list)
    """Start and end of each quoted part of the parent, quotes included."""

    def add(self, pieces: list[str], text: str, start: int, end: int) -> None:
        """Appends a piece that stands for ``parent.text[start:end]``."""
        self.at.append(self.at[-1] + len(pieces[-1]) if pieces else 0)
        self.source.append((start, end))
        pieces.append(text)

    def in_root(self, start: int, end: int) -> tuple[int, int]:
        """Returns the span of ``text[start:end]``, which is not empty, in the outermost text."""
        view = self
        while view.parent is not None:
            start, end = view._in_parent(start, end)
            view = view.parent
        return start, end

    def _in_parent(self, start: int, end: int) -> tuple[int, int]:
        first = bisect_right(self.at, start) - 1
        last = bisect_right(self.at, end - 1) - 1
        start = self._moved(first, start, at_end=False)
        end = self._moved(last, end, at_end=True)
        if self.quotes:
            start, end = self._with_quotes(start, end)
        return start, end

    def _moved(self, piece: int, place: int, at_end: bool) -> int:
        begins, ends = self.source[piece]
        offset = place - self.at[piece]
        length = (self.at[piece + 1] if piece + 1 < len(self.at) else len(self.text)) - self.at[
            piece
        ]
        if length == ends - begins:
            return begins + offset
        return ends if at_end else begins

    def _with_quotes(self, start: int, end: int) -> tuple[int, int]:
        """Widens a span that splits a quoted part at one side, so that quotes stay in pairs."""
        index = bisect_right(self.quotes, (start, len(self.text) + 2**60)) - 1
        if index >= 0:
            opens, closes = self.quotes[index]
            if opens < start < closes and end > closes - 1:
                start = opens
        index = bisect_right(self.quotes, (end - 1, 2**62)) - 1
        if index >= 0:
            opens, closes = self.quotes[index]
            if start <= opens and end < closes:
                end = closes
        return start, end


# --- escapes ---

_ESCAPE = re.compile(
    r"%(?:25)*+(?P<percent>[0-7][0-9a-fA-F])|(?P<bytes>(?:%(?:25)*+[89a-fA-F][0-9a-fA-F])++)"
    r"|(?P<html>&(?:\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,24}[0-9]{0,2});)"
    r"|\\(?:u(?P<code>[0-9a-fA-F]{4})|x(?P<byte>[0-7][0-9a-fA-F])|(?P<letter>[\"'\\/nrt]))"
)
_LETTERS = {"n": "\n", "r": "\r", "t": "\t"}


def unescaped(view: TextView) -> TextView | None:
    """Returns a view without one layer of percent, HTML and JSON escapes; None where there are none."""
    text = view.text
    found = TextView("", view)
    pieces: list[str] = []
    end = 0
    for match in _ESCAPE.finditer(text):
        decoded = _decoded(match)
        if decoded == match.group():
            continue
        if match.start() > end:
            found.add(pieces, text[end : match.start()], end, match.start())
        found.add(pieces, decoded, *match.span())
        end = match.end()
    if not pieces:
        return None
    if end < len(text):
        found.add(pieces, text[end:], end, len(text))
    found.text = "".join(pieces)
    return found


def escapes(text: str) -> Iterator[int]:
    """Yields the start of each escape in a text."""
    return (match.start() for match in _ESCAPE.finditer(text) if _decoded(match) != match.group())


def _decoded(match: re.Match[str]) -> str:
    if match["percent"]:
        return chr(int(match["percent"], 16))
    if match["bytes"]:
        letters = re.sub("%(?:25)*", "", match["bytes"])
        decoded = bytes.fromhex(letters).decode("utf-8", "replace")
        return match["bytes"] if "\ufffd" in decoded else decoded  # %DATE% is a variable
    if match["html"]:
        return html.unescape(match["html"])
    if match["code"] or match["byte"]:
        return chr(int(match["code"] or match["byte"], 16))
    return _LETTERS.get(match["letter"], match["letter"])


# --- words ---

# Possessive throughout: nothing that follows can make a part be tried again, so that its cost is
# its length. A quote that is never closed (a message cut short) runs to the end of the text.
_PART = re.compile(
    r"""(?P<gone>[\\`^]\r?\n)"""
    r"""|(?P<double>"(?:[^"\\`]++|\\.|`["`$]|[\\`])*+(?:"|\Z))"""
    r"""|(?P<ansi>\$'(?:[^'\\]++|\\.|\\)*+(?:'|\Z))"""
    r"""|(?P<single>'[^']*+(?:'|\Z))"""
    r"""|\\(?P<escaped>[\s"'\\$&;|()<>`!*?#~{}\[\],=])"""
    r"""|`(?P<backtick>["'$`])"""
    r"""|\^(?P<caret>[&|<>^])""",
    re.DOTALL,
)
# cmd.exe and PowerShell read a backslash as a letter: "C:\dir\" is a whole part.
_WINDOWS_PART = re.compile(
    r"""(?P<gone>[`^]\r?\n)|(?P<double>"(?:[^"`]++|`["`$]|`)*+(?:"|\Z))|(?P<single>'[^']*+(?:'|\Z))"""
    r"""|(?P<ansi>(?!))(?P<escaped>)|`(?P<backtick>["'$`])|\^(?P<caret>[&|<>^])""",
    re.DOTALL,
)
_IN_DOUBLE = re.compile(r"\\(?P<gone>\r?\n)|[\\`](?P<letter>[\"\\$`])|(?P<twice>\"\")", re.DOTALL)
_IN_ANSI = re.compile(r"\\(?P<gone>\r?\n)|\\(?P<letter>[\"'\\])|(?P<twice>(?!))", re.DOTALL)
_APOSTROPHE = re.compile(r"'(?:s|t|re|ve|ll|d|m)\b")
_ENDS_WORD = frozenset(",;)]}>")


def words(
    view: TextView, is_windows: bool = False, is_shifted: bool = False
) -> tuple[TextView, list[TextView]]:
    """Returns a text as a shell reads it, and each of its quoted texts by itself.

    With ``is_shifted`` the first double quote is a letter: what was quoted once more without care,
    ``"run "a b""``, is read by its inner quotes.

    In the first, quotes are gone and continued lines are joined; special letters that were quoted are
    stand-ins (see ``plain``), so that a word is a run without spaces.
    """
    text = view.text
    read = TextView("", view)
    pieces: list[str] = []
    inner: list[TextView] = []
    group: list[tuple[int, int, str]] = []  # adjacent parts, which are one word
    end = 0
    begin = text.find('"') + 1 if is_shifted else 0
    for match in (_WINDOWS_PART if is_windows else _PART).finditer(text, begin):
        start, kind = match.start(), match.lastgroup
        if start < end or _is_letter(match, text):
            continue
        if start > end:
            read.add(pieces, text[end:start], end, start)
        if start > end or kind == "gone":
            _close(view, group, inner)
        end = match.end()
        if kind == "gone":
            continue
        if kind in ("escaped", "backtick", "caret"):
            read.add(pieces, hidden(match[kind]), start, end)
            continue
        opens = start + (2 if kind == "ansi" else 1)
        is_closed = end - 1 >= opens and text[end - 1] == text[opens - 1]
        closes = end - 1 if is_closed else end
        read.quotes.append((start, end if is_closed else end + 1))
        _add_inside(read, pieces, kind or "", opens, closes, is_windows)
        group.append((opens, closes, kind or ""))
        following = text[end : end + 1]
        if following in _ENDS_WORD:
            read.add(pieces, " ", end, end)
        elif following.isalnum() and text[closes - 1].isspace():
            read.add(pieces, SEAM, end, end)
    if not pieces and end == 0:
        return view, []
    if end < len(text):
        read.add(pieces, text[end:], end, len(text))
    _close(view, group, inner)
    read.text = "".join(pieces)
    return read, inner


def _is_letter(match: re.Match[str], text: str) -> bool:
    """Whether a quote is a letter: an apostrophe, or an unclosed one inside a word."""
    kind, start = match.lastgroup, match.start()
    if kind not in ("single", "double") or not start or not text[start - 1].isalnum():
        return False
    is_closed = match.end() - start > 1 and text[match.end() - 1] == text[start]
    return not is_closed or (kind == "single" and bool(_APOSTROPHE.match(text, start)))


def _add_inside(
    read: TextView, pieces: list[str], kind: str, opens: int, closes: int, is_windows: bool
) -> None:
    """Appends the text between two quotes, as letters."""
    assert read.parent is not None
    text = read.parent.text
    end = opens
    if kind != "single" and not (is_windows and "`" not in text[opens:closes]):
        for match in (_IN_ANSI if kind == "ansi" else _IN_DOUBLE).finditer(text, opens, closes):
            if match.start() > end:
                read.add(pieces, hidden(text[end : match.start()]), end, match.start())
            end = match.end()
            if match["gone"] is None:
                letter = match["letter"] or '"'
                read.add(pieces, hidden(letter), match.start(), end)
    if closes > end:
        read.add(pieces, hidden(text[end:closes]), end, closes)


def _close(view: TextView, group: list[tuple[int, int, str]], inner: list[TextView]) -> None:
    """Appends the text that a group of adjacent quoted parts makes, where it has parts of its own."""
    if group and any(_ANY_SPECIAL.search(view.text, opens, closes) for opens, closes, _ in group):
        made = TextView("", view, quotes=[(opens - 1, closes + 1) for opens, closes, _ in group])
        pieces: list[str] = []
        for opens, closes, kind in group:
            _add_inside(made, pieces, kind, opens, closes, is_windows=False)
        made.text = plain("".join(pieces))
        if made.text:
            inner.append(made)
    group.clear()
