"""Takes secrets out of text, of JSON values and of Arrow columns, before anything is written or logged.

What is masked reads ``[redacted]``; masking twice changes nothing, and what is free of secrets comes
back as it was. It errs on the side of masking: a lost word costs less than a leaked key.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice, pairwise
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

from pipeline.schema import REDACTED

#: Members whose whole value is a secret wherever they stand (mounts, user accounts, VM extensions).
_SECRET_MEMBERS = frozenset(
    {"password", "sshprivatekey", "settings", "protectedsettings", "accountkey", "saskey"}
)
#: Lists of name-value pairs whose values are secrets: a start task's environment, a pool's metadata.
_SECRET_PAIRS = frozenset({"environmentsettings", "metadata"})
#: Objects whose password is left out altogether, as if it had not been sent.
_REGISTRIES = frozenset({"registry", "containerregistries"})

_SECRET_WORDS = frozenset(
    "password passwords passwd pwd passphrase secret secrets key keys token tokens sas sig "
    "signature credential credentials authorization cookie connectionstring".split()
)
#: The same run together with another word: dbpassword, authtoken, storagekey; but no monkey.
_SECRET_END = re.compile(
    r"(?:password|passwd|passphrase|secret|token|credential)s?$"
    r"|(?:account|access|api|auth|client|encryption|function|host|master|primary|private|sas|secondary"
    r"|shared|signing|ssh|storage|subscription)keys?$"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_REPEATED = re.compile(r"(?: \(\d+\))+$")
#: Longer texts are not remembered: thousands of them would fill the memory.
_REMEMBERED = 4096
#: JSON nested deeper than this is masked from there on: no reader can be driven into the ground.
_MAX_DEPTH = 150

# A quote inside single quotes as a shell has it, 'it'\''s' and 'it'"'"'s', and as HTML writes one.
_HOP = r"""'\\++''|'"'"'|&(?:quot|apos|\#3[49]|\#x2[27]);"""
# A value as shells and connection strings write it. Possessive throughout (++, *+): nothing that
# follows can make it try again, so that its cost is its length. What is masked already is taken as
# it stands, so that masking twice changes nothing.
_VALUE = (
    r"(?:\[redacted\]"
    rf"|(?P<hop>{_HOP}).*?(?:(?P=hop)|$)"
    # quoted inside quotes: \"a value\", the closing quote escaped as often as the opening one
    r"""|(?P<slash>\\++)(?P<quote>["']).*?(?:(?<!\\)(?P=slash)(?P=quote)|$)"""
    # quoted; a quote that is never closed (a truncated message) runs to the end
    r"""|"(?:[^"\\]|\\.|\\$)*+(?:"|$)|'[^']*+(?:'|$)"""
    # bare; a\ space and a quoted"part inside"it are of it, a quote at its end is somebody else's
    r"""|(?:[^\s"'\\{stop}]|\\[^"']|\\$|"(?=[^\s"',;:&|)\]}])[^"\n]*+"|'(?=[^\s"',;:&|)\]}])[^'\n]*+')++)"""
)
_EQUALS = r"(?:=|%(?:25)*+3d|\\++u003d)"
#: What leads to the signature of a SAS; the & before it may be written \u0026 or %26.
SIGNATURE = rf"(?:(?<![a-z0-9])|(?<=u0026)|(?<=%26)|(?<=%2526))sig\s*+{_EQUALS}"
_SECRET_NAME = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd?|secret|token|credentials?|signature|key|sas|sig)"
)


def _value(stop: str = "") -> str:
    return _VALUE.replace("{stop}", stop)


_START = r"""(?:^|(?<=[\s"'`=;&|(,\[{]))"""
_FLAGS = re.IGNORECASE | re.DOTALL
_RULES: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern, _FLAGS)
    for pattern in (
        # -----BEGIN RSA PRIVATE KEY----- … , whole or cut off
        r"(-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)(?:\[redacted\]|.*?(?:(?=-----END)|$))",
        # Authorization: Bearer …, "authorization": "SharedKey name:signature"; after a scheme that
        # is not known two words are masked
        r"""(\bauthorization\\*+["']?\s*+[:=]\s*+\\*+["']?(?:(?:aws4-hmac-sha256|basic|bearer|digest|negotiate"""
        r"""|sharedkey(?:lite)?|token)\s++)?)"""
        r"""(?:\[redacted\]|[^\s"',;\\]++(?:[ \t]++[^\s"',;\\]++)?)""",
        r"""(\b(?:bearer|sharedkey(?:lite)?)(?:\s*+[:=]\s*+|\s++)\\*+["']?)(?:\[redacted\]|[^\s"'<>,;\\]++)""",
        # https://user:password@host, https://token@host
        r"""(://[^\s/:@"'<>]*+:)[^\s/"'<>]+(?=@)""",
        r"""(://)(?!git@)[^\s/:@"'<>]++(?=@)""",
        # ?sv=…&sig=…
        rf"""({SIGNATURE}\s*+["']?)"""
        r"""(?:\[redacted\]|[^\s&"'<>;,\\]++)""",
        # --password x, --account-key=x, -token x, /pass:x
        rf"""({_START}(?:--?|/)[a-z0-9_.-]{{0,64}}?{_SECRET_NAME}(?![a-z])[a-z0-9_.-]{{0,64}}+"""
        rf"""\\*+["']?(?:\s*+[=:,]\s*+|\s++)){_value()}""",
        # docker login -u x -p y; sshpass -p y; mysql -py; sqlcmd -P y; redis-cli -a y
        rf"""(\b(?:login|sshpass|mysql|mysqldump|mongosh?|nuget|twine)\b"""
        rf"""(?:(?!\b(?:login|sshpass|mysql|mongo|nuget|twine))[^|;&\n])*?"""
        rf"""\s(?-i:-p)(?:\s++|=)?){_value()}""",
        rf"""(\b(?:sqlcmd|bcp|unzip)\b(?:(?!\b(?:sqlcmd|bcp|unzip)\b)[^|;&\n])*?"""
        rf"""\s(?-i:-P)\s*+){_value()}""",
        rf"""(\bredis-cli\b(?:(?!\bredis-cli\b)[^|;&\n])*?\s(?-i:-a)\s++){_value()}""",
        # setx DB_PASSWORD y; aws configure set aws_secret_access_key y
        rf"""(\b(?:setx|configure\s++set)\s++[\w.-]{{0,64}}?{_SECRET_NAME}[0-9_]*+\s++){_value()}""",
        # Cookie: name=y; other=y
        r"""(\bcookie\\*+["']?\s*+:\s*+\\*+["']?)[^\r\n"'\\]++""",
        # {"name": "DB_PASSWORD", "value": "y"}, <add key="DbPassword" value="y"/>, and as YAML has it
        rf"""(\b(?:name|key)\\*+["']?\s*+[:=]\s*+\\*+["']?[\w.:-]{{0,64}}?{_SECRET_NAME}[0-9_]*+"""
        rf"""\\*+["']?(?:[\s,;]|\\[nrt])*+\\*+["']?value\\*+["']?\s*+[:=]\s*+){_value()}""",
        # net use Z: \\server\share /user:me password
        r"""(\bnet\s++use\s++(?:(?:[a-z]:|\*|/[^\s|;&]++|\\\\[^\s|;&]++)\s++)*+)(?![/\\*]|[a-z]:(?:\s|$))[^\s|;&"']++""",
        # curl -u user:password; but docker run -u 1000:1000
        rf"""((?:^|(?<=[\s"']))(?:-u|--user|--proxy-user)(?:\s++|=)?["']?(?!\d+:\d+(?![\w.]))"""
        rf"""[^\s:"'/=]++:){_value()}""",
        # AccountKey=…;  DB_PASSWORD=…  "password": "…"  <secret>… the name ends in a secret's word;
        # PASSWORD_PROD=… : it begins with one
        rf"""((?:(?:password|passwd|secret|token|credentials?)[_.-][a-z0-9_.-]{{0,48}}+(?=\s*+{_EQUALS})"""
        rf"""|{_SECRET_NAME}[0-9_]*+)(?:{_HOP}|\\*+["']?)\s*+"""
        # => is Ruby's and PHP's; a | or > after the colon, YAML's: the value is on the next line
        rf"""(?:{_EQUALS}>?|:(?!//)(?:[ \t]*+[|>][-+0-9]{{0,2}}[ \t]*+(?=[\r\n]))?)\s*+)"""
        rf"""{_value(";<>")}""",
        # <password>…</password>
        rf"""(<[a-z0-9_.:-]{{0,64}}?{_SECRET_NAME}(?:\s[^<>]*+)?(?<!/)>)[^<]++""",
        # a storage account key, a JSON web token, a GitHub token: known by their shape
        r"()(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86}==",
        r"()(?-i:(?<![\w-])eyJ[\w-]{8,}+(?:\.[\w-]++)+\.?)",
        r"()\b(?:gh[pousr]_|github_pat_|hf_|npm_)[A-Za-z0-9_]{20,}+",
        r"()\b(?:glpat-|xox[abeprs]-|AIza)[\w-]{16,}+",
        # the key of an Azure function in its URL
        rf"""([?&]code{_EQUALS})(?:\[redacted\]|[^\s&"'<>]+)""",
        # az keyvault secret set --name n --value x
        rf"""(\bsecret\s++set\b(?:(?!\bsecret\b)[^|;&\n])*?\s--value(?:\s++|=)){_value()}""",
    )
)
# -e NAME=value, --env NAME=value, -eNAME=value, -e "NAME=a value", -e=NAME=value, -ite NAME=value
_ENV = re.compile(
    rf"""({_START}(?:(?:-[dit]{{0,3}}e|--env|--build-arg)\\*+["']?(?:\s*+[=,]\s*+|\s++)|(?-i:-e(?=[A-Z_]))))"""
    rf"""(?:(?P<around>{_HOP}|\\*+["'])"""
    r"""(?P<quoted>[a-z_][\w.-]*+)=(?:(?!(?P=around))(?:\\.|.))*+(?:(?P=around)|$)"""
    r"""|(?P<bare>[a-z_][\w.-]*+)=(?:""" + _value() + r")?)",
    _FLAGS,
)
_ENCODED = re.compile(r"%[0-9a-fA-F]{2}")
_ENCODED_WORD = re.compile(r"[^\s\"'<>]+")
#: A URL inside a URL inside a URL … : deeper than this a word is masked unread.
_MAX_ENCODINGS = 8
_TOO_DEEP = re.compile(rf"%(?:25){{{_MAX_ENCODINGS}}}")

# Base64 of text with ASCII in it, as UTF-8 or UTF-16, with a byte order mark or without: of each four
# letters the first three have six, five and five bits, so that hardly a path or an id looks like it.
_MAX_BASE64 = 2  # base64 within base64
_QUAD = "[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
_BASE64_AT_ONCE = rf"(?://[45][A-Za-z0-9+/_-]|77u/)?(?:{_QUAD}){{2}}"
_BASE64_START = rf"(?:{_BASE64_AT_ONCE}|(?:[A-Za-z0-9+/_-]{{4}}){{1,16}}?(?:{_QUAD}){{4}})"
_BASE64 = re.compile(rf"(?<![A-Za-z0-9]){_BASE64_START}[A-Za-z0-9+/_-]*={{0,2}}")
_BASE64_WITHIN = re.compile(rf"(?<=[+/_-])(?={_BASE64_START})")

#: What the rules need, for RE2: in ASCII that it does not match they change nothing.
_HINTS = (
    r"(?i)pass|pwd?|secret|token|credential|signature|key|sas|sig|bearer|authorization|login|cookie"
    r"|net[^!-~]|mysql|mongo|nuget|twine|sqlcmd|bcp|unzip|redis-cli|-----begin|://[^/\s]*@"
    r"|(?:^|[^a-z0-9])-(?:[dit]{0,3}e|-env|-build|u|-user|-proxy)"
    r"|%[0-9a-f]{2}|(?-i:eyJ)|gh[pousr]_|github_|hf_|npm_|glpat-|xox|aiza|[?&]code|[a-z0-9+/]=="
)
#: A superset of the above, cheap enough to run over every value: what it does not match has
#: nothing to redact (a property test holds the two together). The letters at its end are those that
#: Python takes for an i, a k or an s where case is ignored.
GATE = (
    rf"{_HINTS}|(?-i:(?:^|[^A-Za-z0-9]){_BASE64_AT_ONCE}|(?:{_QUAD}){{4}}"
    r"|[\x{130}\x{131}\x{17f}\x{212a}])"
)
# Arrow has RE2 too, and forgets with each call what it learned of the pattern: twice the time.
_GATE = re2.compile(GATE.encode())
_HINT = re2.compile(_HINTS.encode())


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a member or variable of that name holds a secret: accountKey, DB_PASSWORD, sas-token."""
    words = [word.lower() for word in _WORD.findall(name)]
    if any(word in _SECRET_WORDS or _SECRET_END.search(word) for word in words):
        return True
    return any(first + second in _SECRET_WORDS for first, second in pairwise(words))


class Redactor:
    """Masks secrets; ``keep_env`` names the environment settings whose values are kept."""

    def __init__(self, keep_env: Collection[str] = ()) -> None:
        self.keep_env = frozenset(keep_env)
        self._text: Callable[[str], str] = lru_cache(maxsize=8192)(self._redact_text)

    def text(self, text: str) -> str:
        """``text`` with every secret in it masked, percent- and base64-encoded ones too."""
        return self._text(text) if len(text) <= _REMEMBERED else self._redact_text(text)

    def _redact_text(self, text: str, depth: int = 0) -> str:
        """``depth`` counts the base64 words that ``text`` was found in."""
        text = self._rules(text)
        if "%" in text:
            text = _ENCODED_WORD.sub(lambda match: self._decoded(match.group(), depth), text)
        return _BASE64.sub(lambda match: self._base64(match.group(), depth), text)

    def _environment_argument(self, match: re.Match[str]) -> str:
        quote = match["around"] or ""
        name = match["quoted"] or match["bare"]
        if name in self.keep_env:
            return match.group()
        return f"{match[1]}{quote}{name}={REDACTED}{quote}"

    def _decoded(self, word: str, depth: int) -> str:
        """A percent-encoded word as it was; decoded and masked where decoding shows a secret."""
        if _TOO_DEEP.search(word):
            return REDACTED
        shown = decoded = word
        for _ in range(_MAX_ENCODINGS):
            if not _ENCODED.search(decoded):
                return shown
            decoded, before = unquote(decoded), decoded
            if decoded == before:
                return shown
            masked = _BASE64.sub(
                lambda match: self._base64(match.group(), depth), self._rules(decoded)
            )
            if masked != decoded:
                shown = decoded = masked
        return REDACTED

    def _rules(self, text: str) -> str:
        # Ids of hexadecimal digits pass the gate, for they may be base64: they cost twenty searches.
        if text.isascii() and not _HINT.search(text.encode()):
            return text
        for rule in _RULES:
            text = rule.sub(_mask, text)
        return _ENV.sub(self._environment_argument, text)

    def _base64(self, word: str, depth: int) -> str:
        """A base64 word as it was; masked from where decoding shows a secret.

        What goes before, as in ``path/to/cGFzc3dvcmQ9…``, is made of the same letters.
        """
        if depth == _MAX_BASE64:
            return word
        within = _BASE64_WITHIN.finditer(word) if depth == 0 else iter(())
        tries = 1 if len(word) > 4096 else 8  # a bound on the work, for words of slashes alone
        for start in (0, *(match.start() for match in islice(within, tries))):
            for text in _decodings(word[start:]):
                if self._redact_text(text, depth + 1) != text:
                    return word[:start] + REDACTED
        return word

    def json(self, value: object, name: str = "", depth: int = _MAX_DEPTH) -> object:
        """A JSON value with its secrets masked; ``name`` is the member it stands under."""
        key = _plain_name(name)
        if value is None or value == {} or value == []:
            return value
        if key in _SECRET_PAIRS:
            return self._pairs(value, self.keep_env if key == "environmentsettings" else ())
        if not depth or key in _SECRET_MEMBERS or (key not in _REGISTRIES and is_secret_name(name)):
            return value if isinstance(value, bool) else REDACTED
        if isinstance(value, dict):
            return self._object(value, key, depth - 1)
        if isinstance(value, list):
            return [self.json(x, name if key in _REGISTRIES else "", depth - 1) for x in value]
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # JSON has no such number
        return self.text(value) if isinstance(value, str) else value

    def _object(self, value: dict[str, object], key: str, depth: int) -> dict[str, object]:
        """{"name": "DB_PASSWORD", "value": …} and {"key": "DB_PASSWORD", "value": …} hide a value."""
        names = {_plain_name(member) for member in value}
        labels = [x for member, x in value.items() if _plain_name(member) in ("name", "key")]
        hides = any(isinstance(label, str) and is_secret_name(label) for label in labels)
        masked: dict[str, object] = {}
        for member, x in value.items():
            lower = _plain_name(member)
            if key in _REGISTRIES and lower == "password":
                continue
            shown = self.json(x, "" if lower == "key" and "value" in names else member, depth)
            if hides and lower == "value" and x is not None:
                shown = REDACTED
            masked[_unused(self.text(member), masked)] = shown
        return masked

    def _pairs(self, value: object, keep: Collection[str]) -> object:
        if not isinstance(value, list):
            return REDACTED  # of the wrong type: nothing tells names from values
        return [self._pair(pair, keep) for pair in value]

    def _pair(self, pair: object, keep: Collection[str]) -> object:
        if not isinstance(pair, dict):
            return pair if pair in (None, {}, []) else REDACTED
        is_kept = isinstance(pair.get("name"), str) and pair["name"] in keep
        masked: dict[str, object] = {}
        for member, x in pair.items():
            # what is kept is free text still: a signature in it is masked
            shown = isinstance(x, str) and (member == "name" or (is_kept and member == "value"))
            masked[_unused(self.text(member), masked)] = (
                self.text(str(x)) if shown else (x if x is None else REDACTED)
            )
        return masked

    def masks(self, columns: Sequence[pa.StringArray]) -> dict[str, str]:
        """The values of these string columns that hold a secret, each with its masked form."""
        values = [column.unique() for column in columns if column.null_count < len(column)]
        if not values:
            return {}
        suspects = _suspects(pa.concat_arrays(values).drop_null())
        return {value: masked for value in suspects if (masked := self.text(value)) != value}

    def column(self, column: pa.StringArray) -> pa.StringArray:
        """A string column with every value redacted as ``text`` does; the same object if none is."""
        return mask_column(column, self.masks([column]))


def _suspects(values: pa.StringArray) -> Iterator[str]:
    """The values that the gate lets through, maybe others; these are without nulls.

    They are looked at as one text, a line each: to begin a match costs more than to match a short
    value.
    """
    lines = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
    text = pc.binary_join(lines, "\n")[0].as_buffer()
    match = _GATE.search(text)
    if match is None:
        return
    lengths = pc.binary_length(values).to_numpy()
    ends = np.cumsum(lengths + 1) - 1
    while match is not None:
        # A match begins in its value, or with the line break before it.
        index = int(np.searchsorted(ends, match.start(), "right"))
        yield values[index].as_py()
        match = _GATE.search(text, int(ends[index]))


def mask_column(column: pa.StringArray, masks: Mapping[str, str]) -> pa.StringArray:
    """A string column with the values of ``masks`` replaced; the same object if it has none."""
    if not masks:
        return column
    found = pc.index_in(column, pa.array(masks.keys(), pa.string()))
    if found.null_count == len(found):
        return column
    return pc.coalesce(pa.array(masks.values(), pa.string()).take(found), column)


def _plain_name(name: str) -> str:
    """A member's name in lower case, without the number that tells a repeated one: ``value (2)``."""
    return _REPEATED.sub("", name.lower()) if ")" in name else name.lower()


def _mask(match: re.Match[str]) -> str:
    """Keeps what leads to a secret, and the quotes around it, so that the text stays readable."""
    return match[1] + REDACTED


def _unused(name: str, members: Collection[str]) -> str:
    """A name that no member has yet: two may read the same once they are masked."""
    count, unused = 1, name
    while unused in members:
        count += 1
        unused = f"{name} ({count})"
    return unused


def _decodings(word: str) -> Iterator[str]:
    """The texts a base64 word may stand for: UTF-8, and UTF-16 as PowerShell encodes commands."""
    plain = word.rstrip("=").replace("-", "+").replace("_", "/")
    plain = plain[: len(plain) - (len(plain) % 4 == 1)]  # cut off within a letter
    data = base64.b64decode(plain + "=" * (-len(plain) % 4))
    yield data.decode("utf-8", "replace").removeprefix("\ufeff")
    if b"\0" in data:
        yield data.decode("utf-16-le", "replace").removeprefix("\ufeff")


_DEFAULT = Redactor()


def redact_text(text: str) -> str:
    """``text`` with every secret in it masked, as before anything is logged or stored."""
    return _DEFAULT.text(text)
