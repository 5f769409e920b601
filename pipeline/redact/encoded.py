"""Finds secrets in base64 within texts."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from itertools import islice

# Base64 of text with ASCII in it, as UTF-8 or UTF-16, with a byte order mark or without: of each four
# letters the first three have six, five and five bits, so that hardly a path or an id looks like it.
QUAD = "[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
AT_ONCE = rf"(?://[45][A-Za-z0-9+/_-]|77u/)?(?:{QUAD}){{2}}"
_START = rf"(?:{AT_ONCE}|(?:[A-Za-z0-9+/_-]{{4}}){{1,16}}?(?:{QUAD}){{4}})"
_WORD = re.compile(rf"(?<![A-Za-z0-9]){_START}[A-Za-z0-9+/_-]*={{0,2}}")
_WITHIN = re.compile(rf"(?<=[+/_-])(?={_START})")
#: Lines of one length, as `base64` and PEM wrap them; the last one is shorter.
_WRAPPED = re.compile(
    r"(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{16,}+[ \t]*+\\?\r?\n[ \t>|\"'+]*+)+[A-Za-z0-9+/]++={0,2}"
)
_NO_LETTER = re.compile(r"[^A-Za-z0-9+/=]+")


def spans(
    text: str, has_secret: Callable[[str], bool], is_within: bool
) -> Iterator[tuple[int, int]]:
    """Yields the spans of base64 whose decoded text holds a secret.

    With ``is_within`` a word is also decoded from each of its slashes on: a path before it, as in
    ``path/to/cGFzc3dvcmQ9…``, has the same letters.
    """
    for match in _WORD.finditer(text):
        start = _secret_from(match.group(), has_secret, is_within)
        if start is not None:
            yield match.start() + start, match.end()
    if "\n" in text:
        for match in _WRAPPED.finditer(text):
            word = _NO_LETTER.sub("", match.group())
            if any(has_secret(decoded) for decoded in _decodings(word)):
                yield match.span()


def _secret_from(word: str, has_secret: Callable[[str], bool], is_within: bool) -> int | None:
    within = _WITHIN.finditer(word) if is_within else iter(())
    tries = 1 if len(word) > 4096 else 8  # bounds the work for words of slashes
    for start in (0, *(match.start() for match in islice(within, tries))):
        if any(has_secret(decoded) for decoded in _decodings(word[start:])):
            return start
    return None


def _decodings(word: str) -> Iterator[str]:
    """The possible texts of a base64 word: UTF-8, and UTF-16 as PowerShell encodes commands."""
    letters = word.rstrip("=").replace("-", "+").replace("_", "/")
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]  # cut off within a letter
    data = base64.b64decode(letters + "=" * (-len(letters) % 4))
    yield data.decode("utf-8", "replace").removeprefix("\ufeff")
    if b"\0" in data:
        yield data.decode("utf-16-le", "replace").removeprefix("\ufeff")
