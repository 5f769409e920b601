"""Finds secrets in names with values, flags with arguments, YAML blocks and environment settings.

Rules read a view of words (see ``views.words``), in which a quoted value is one word without quotes,
and yield the spans of secrets.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from pipeline.redact import values
from pipeline.redact.names import STRONG, WEAK, secrecy
from pipeline.redact.views import QUOTED, QUOTED_SPACE, SEAM, plain

Span = tuple[int, int]
_FLAGS = re.IGNORECASE | re.DOTALL

# --- names with values ---

_NAME = re.compile(r"[\w$.-]++")
_SEPARATOR = re.compile(
    rf"(?:{QUOTED}|[ ]?[\]\"'`)}}*]){{0,3}}\s*+(?P<sign>=>|:=|==?|:(?!//)|->|\uff1a|\uff1d)"
    r"(?P<space>\s*+)"
)
_FLAG_SPACE = re.compile(rf"(?:{QUOTED})?(?P<comma>\s*+,\s*+|\s++)(?:-\s++)?")
#: A value ends at a space, at the next pair, or at the end of a command.
_NEXT = r"(?=\s|\Z|[\w .-]{1,40}=|[\w.-]{1,40}:)"
_VALUE = re.compile(
    rf"(?:(?!;{_NEXT}|,{_NEXT}|&&|&(?:\s|\Z|[\w.%-]{{1,40}}=)|\|\s|\|\||</|<[a-z]+[\s/>]"
    rf"|{{hide}})\S)+".replace(
        "{hide}",
        r"\ue03b(?=[\w .\ue020-]{1,40}=)|\ue026(?=[\w.-]{1,40}=)"
        r"|\ue02c(?=\ue020?[\"\ue022]?[\w.-]{1,40}[\"\ue022]?[=:])",
    ),
    re.IGNORECASE,
)
BLOCK = re.compile(r"[|>][-+0-9]{0,2}[ \t]*+(?:\r?\n(?:[ \t]*+\r?\n)*+)")
_LINE = re.compile(r"(?P<indent>[ \t]*+)(?P<text>[^\r\n]*+)(?:\r?\n|\Z)")
_PASSPHRASE = re.compile(
    r"[^\s:=,;\"'{}\[\]<>()|&]++(?:[ ][^\s:=,;\"'{}\[\]<>()|&]++){1,8}[ \t]*+(?=\r?\n|\Z)"
)
_TYPED = re.compile(r"(?:\[\]|\?|\s*+\|\s*+None)?\s*+=\s*+")
#: Lines of a YAML list, from its first dash on.
_ITEMS = re.compile(
    r"(?<=\s)-[ \t]++[^\s:]++[ \t]*+"
    r"(?:\r?\n[ \t]*+-[ \t]++[^\s:]++[ \t]*+(?=\r?\n|\Z))*+(?=\r?\n|\Z)"
)
_ITEM = re.compile(r"-[ \t]++(\S++)")
_TAG = re.compile(r"!!\w++[ \t]++")
#: Words of messages about secrets: passwd: password updated successfully.
_SENTENCE = re.compile(
    r"(?:all\s++)?(?:(?:authentication|access|api)\s++)?(?:passwords?|tokens?|keys?|credentials?|secrets?)"
    r"\s++(?P<said>[a-z]++)",
    re.IGNORECASE,
)
#: Words before a flag in a sentence: using --password via the command line.
_SPEAKS = re.compile(
    r"\b(?:us(?:e|ing)|the|with|pass(?:ing)?|specify|and|or|set|option|flag)\s\Z", re.IGNORECASE
)
_PAIRED = {"(": ")", "[": "]", "{": "}"}
_BEFORE = re.compile(r"(\w+)[ _]\Z|\Z")
_ASKS = re.compile(
    r"\((?:Get-|Read-Host|Import-|New-Object|cat\b|az\b|gcloud\b|aws\b|\$|Invoke-|ConvertTo-SecureString|Select-|\[)",
    re.IGNORECASE,
)


def pairs(text: str) -> Iterator[Span]:
    """Yields the values of name=value, name: value and --name value where the name is a secret's."""
    done = 0
    for match in _NAME.finditer(text):
        start, end = match.span()
        if end <= done:
            continue
        name = match.group()
        before = text[start - 1] if start else " "
        is_flag = name[0] == "-" or (before == "/" and (start < 2 or text[start - 2].isspace()))
        if before == "\ue02f" or (
            _is_quoted(before) and not is_flag and before not in "\ue022\ue027\ue07b"
        ):
            continue
        level = _level(text, start, name, is_flag)
        if not level:
            continue
        for span in _values(text, name, start, end, level, is_flag):
            yield span
            done = span[1]


def _is_quoted(letter: str) -> bool:
    return "\ue000" <= letter < SEAM


def _level(text: str, start: int, name: str, is_flag: bool) -> int:
    """The secrecy of a name, with the words before it: ``API key``, ``host key``."""
    level = secrecy(name)
    if level and not is_flag and start > 1 and text[start - 1] == " " and text[start - 2].isalnum():
        before = text[max(0, start - 40) : start - 1].rsplit(None, 1)
        word = before[-1] if before else ""
        if word.isalpha() and (level == WEAK or "token" in name.lower()):
            return secrecy(f"{word}_{name}")
    return level


def _values(
    text: str, name: str, start: int, end: int, level: int, is_flag: bool
) -> Iterator[Span]:
    separator = _SEPARATOR.match(text, end)
    if separator is not None:
        is_prose = separator["sign"] == ":" and bool(separator["space"])
        place = separator.end()
        if is_flag and not name.startswith("--"):
            is_prose = False  # -Password: x
    elif is_flag:
        space = _FLAG_SPACE.match(text, end)
        if space is None:
            return
        is_prose, place = False, space.end()
        if re.compile(r"--?[A-Za-z]").match(text, place) or text[place : place + 1] in ("/", ""):
            following = _VALUE.match(text, place)
            if following is None or text[place] != "/" or values.is_path(following.group()):
                return
    else:
        return
    if plain(text[max(0, start - 2) : start]) == "${" and text[place : place + 1] in "?+":
        return  # ${PASSWORD:?is missing}
    yield from _value(text, start, place, level, name, is_prose)


def _value(
    text: str, start: int, place: int, level: int, name: str, is_prose: bool
) -> Iterator[Span]:
    block = BLOCK.match(text, place)
    if block is not None:
        yield from block_lines(text, start, block.end())
        return
    if items := _ITEMS.match(text, place):  # tokens:, a line each
        for item in _ITEM.finditer(text, *items.span()):
            if values.is_secret(plain(item[1]), level, name):
                yield item.span(1)
        return
    if tag := _TAG.match(text, place):  # password: !!str x
        place = tag.end()
    first = text[place : place + 1]
    if first in _PAIRED and first:
        span = _enclosed(text, place)
        inner = text[place + 1 : span[1] - 1]
        whole = plain(text[place : span[1]])
        if not inner.strip() or values.is_reference(whole) or (first == "{" and level != STRONG):
            return
        if first == "(" and _ASKS.match(text, place):
            return
        if first == "{":
            return  # its members' names say which are secrets
        if level == STRONG and not re.fullmatch(r"[\s\d,]*", inner):
            for found in re.finditer(r"[^\s,]+", inner):
                word = plain(found.group())
                if values.is_secret(word, level, name):
                    yield place + 1 + found.start(), place + 1 + found.end()
        return
    if re.compile(QUOTED_SPACE).match(text, place):
        return  # the name is quoted, the value is not: a sentence, which is checked by itself
    match = _VALUE.match(text, place)
    if match is None:
        return
    end = trimmed(text, place, match.end())
    if end <= place:
        return
    span = (place, end)
    value = plain(text[place:end])
    if values.is_nothing(value) and (typed := _TYPED.match(text, end)):  # token: string = "y"
        yield from _value(text, start, typed.end(), level, name, is_prose=False)
        return
    # references may hold spaces: {{ secret }}, ${{ secrets.X }}, $(cat file), <your password>
    if spaced := re.compile(r"(?:\$?\{\{|\$\(|\{%|<(?=\w)|`|ENC\[|!\w++ |\[)").match(text, place):
        closing = {"{": "}", "(": ")", "<": ">", "`": "`", "%": "}", "[": "]"}.get(
            spaced.group()[-1], ""
        )
        close = text.find(closing, spaced.end(), spaced.end() + 300) if closing else -1
        if close >= 0:
            whole = text[place : close + (2 if spaced.group().endswith("{{") else 1)]
            if values.is_reference(plain(whole)):
                return
    if _is_said(text, start, place, value, name, is_prose):
        return
    if not values.is_secret(value.strip("\"'"), level, name):
        return
    if values.is_code(value) and text[place].isalpha() and not is_prose:
        return
    if is_prose and level == STRONG and _begins_line(text, start):
        more = _PASSPHRASE.match(text, place)
        if more is not None and values.is_plain(more.group().strip()):
            span = (place, more.end())
    yield span


def _is_said(text: str, start: int, place: int, value: str, name: str, is_prose: bool) -> bool:
    """Whether the text after a name is a sentence or another name: ``token: expired``."""
    if not is_prose:
        before = text[max(0, start - 20) : start]
        return name.startswith("--") and values.is_status(value) and bool(_SPEAKS.search(before))
    if values.is_status(value) or (value.endswith(":") and values.is_plain(value[:-1])):
        return True
    said = _SENTENCE.match(text, place)
    return said is not None and values.is_status(said["said"])


def _begins_line(text: str, start: int) -> bool:
    line = text.rfind("\n", 0, start) + 1
    return not text[line:start].strip(" \t-")


def trimmed(text: str, start: int, end: int) -> int:
    """The value without a bracket that opens before it, and without punctuation of a sentence."""
    while end > start and text[end - 1] in ",;)]}|&":
        letter = text[end - 1]
        if letter in ")]}":
            opening = {")": "(", "]": "[", "}": "{"}[letter]
            value = text[start:end]
            if value.count(opening) >= value.count(letter):
                break
        end -= 1
    return end


def _enclosed(text: str, place: int) -> Span:
    """The end of a bracketed text, at most 2,000 letters further."""
    opening, closing = text[place], _PAIRED[text[place]]
    depth = 0
    for match in re.compile(f"[{re.escape(opening + closing)}]").finditer(
        text, place, place + 2000
    ):
        depth += 1 if match.group() == opening else -1
        if not depth:
            return place, match.end()
    return place, min(len(text), place + 2000)


def block_lines(text: str, start: int, place: int) -> Iterator[Span]:
    """The lines of a YAML block: those indented more than its name."""
    line = text.rfind("\n", 0, start) + 1
    indent = len(text[line:start]) - len(text[line:start].lstrip(" \t"))
    first = end = -1
    while (found := _LINE.match(text, place)) and place < len(text):
        if found["text"]:
            if len(found["indent"]) <= indent and first >= 0:
                break
            if first < 0:
                if len(found["indent"]) < indent:
                    break
                first = found.start("text")
            end = found.end("text")
        place = found.end()
    if first >= 0 and not values.is_reference(plain(text[first:end])):
        yield first, end


# --- environment arguments ---

# -e NAME=value, --env NAME=value, -eNAME=value, -e=NAME=value, -ite NAME=value
_ENV = re.compile(
    r"(?:^|(?<=[\s,;&|(\[{\ue0ff]))(?:(?:-[dit]{0,3}e|--env|--build-arg|--from-literal|--secure-environment-variables"
    r"|--environment-variables)(?:\s*+[=,]\s*+|\s++)|(?-i:-e(?=[A-Z_])))(?P<pair>[a-z_][\w.-]*+)=(?P<secret>\S+)",
    _FLAGS,
)
_MORE_ENV = re.compile(r"[ \t]++(?P<pair>[a-z_][\w.-]*+)=(?P<secret>\S+)", _FLAGS)
#: Programs whose -e is a pattern or a script.
_NO_ENV = re.compile(
    r"\b(?:e?grep|fgrep|rg|sed|echo|printf|perl|ruby|rsync|awk|tar|xterm|ssh)(?:\.exe)?\s[^|;&\n]*\Z"
)


def environment(text: str, keep: Collection[str]) -> Iterator[Span]:
    """Yields the values of a container's settings, except those that ``keep`` names."""
    for match in _ENV.finditer(text):
        if match["pair"] in keep or _NO_ENV.search(
            text[max(0, match.start() - 200) : match.start()]
        ):
            continue
        yield from _environment_value(text, match)
        more = _MORE_ENV.match(text, match.end()) if "environment-var" in match.group() else None
        while more is not None:
            yield from _environment_value(text, more)
            more = _MORE_ENV.match(text, more.end())


def _environment_value(text: str, match: re.Match[str]) -> Iterator[Span]:
    start, end = match.span("secret")
    stop = re.compile(r"(?:(?!&&|\|\||;(?:\s|\Z)|\|\s)\S)+").match(text, start)
    end = trimmed(text, start, stop.end() if stop else end)
    value = plain(text[start:end])
    is_file = values.is_path(value) and match["pair"].lower().endswith(("_file", "_path", "_dir"))
    if end > start and not (values.is_reference(value) or is_file):
        yield start, end
