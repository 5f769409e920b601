"""Takes secrets out of text, of JSON values and of Arrow columns, before anything is written or logged.

What is masked reads ``[redacted]``; masking twice changes nothing, and what is free of secrets comes
back as it was. It errs on the side of masking: a lost word costs less than a leaked key.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

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
    "password passwd pwd passphrase secret secrets key keys token tokens sas sig signature "
    "credential credentials authorization cookie connectionstring apikey accesskey accountkey "
    "sharedkey privatekey".split()
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

# A value as shells and connection strings write it: quoted, quoted inside quotes, or bare.
# A quote that is never closed (a truncated message) runs to the end.
# What is masked already is taken as it stands, so that masking twice changes nothing.
_DONE = r"\[redacted\]"
_VALUE = (
    rf"(?:{_DONE}"
    r"""|\\(["'])(?:.*?)(?:\\\{q}|$)|"(?:[^"\\]|\\.)*(?:"|$)|'[^']*(?:'|$)|[^\s"'{stop}]+)"""
)
_EQUALS = r"(?:=|%(?:25)*3d)"
_SECRET_NAME = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?|signature"
    r"|(?:api|access|account|shared|private|storage|subscription|function|host|master|encryption)?"
    r"[_.-]?(?:access)?[_.-]?key|sas|sig)"
)


def _value(stop: str = "", group: int = 2) -> str:
    """The pattern of a value; ``group`` is the number its inner quote has in the whole pattern."""
    return _VALUE.replace("{q}", str(group)).replace("{stop}", stop)


_FLAGS = re.IGNORECASE | re.DOTALL
_RULES: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern, _FLAGS)
    for pattern in (
        # -----BEGIN RSA PRIVATE KEY----- … , whole or cut off
        r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:(?=-----END)|$)",
        # Authorization: Bearer …, "authorization": "SharedKey name:signature"
        r"""(\bauthorization["']?\s*[:=]\s*["']?(?:[a-z]+\s+)?)(?:\[redacted\]|[^\s"',;]+)""",
        r"""(\b(?:bearer|sharedkey(?:lite)?)(?:\s*[:=]\s*|\s+)["']?)(?:\[redacted\]|[^\s"'<>,;]+)""",
        # https://user:password@host, https://token@host
        r"""(://[^\s/:@"'<>]*:)[^\s/"'<>]+(?=@)""",
        r"""(://)(?!git@)[^\s/:@"'<>]+(?=@)""",
        # ?sv=…&sig=…
        rf"""((?<![a-z0-9])sig\s*{_EQUALS}\s*["']?)(?:{_DONE}|[^\s&"'<>;,]+)""",
        # --password x, --account-key=x, -token x, /pass:x
        rf"""((?:^|(?<=[\s"'=;&|(,\[]))(?:--?|/)[a-z0-9_.-]{{0,64}}?{_SECRET_NAME}(?![a-z])[a-z0-9_.-]{{0,64}}"""
        rf"""["']?(?:\s*[=:,]\s*|\s+)){_value()}""",
        # docker login -u x -p y; sshpass -p y; mysql -py
        rf"""(\b(?:login|sshpass|mysql|mysqldump|net\s+use)\b[^|;&\n]*?\s-p[\s=]*){_value()}""",
        # curl -u user:password
        rf"""((?:^|(?<=[\s"']))(?:-u|--user|--proxy-user)[\s=]*["']?[^\s:"'/]+:){_value()}""",
        # AccountKey=…;  DB_PASSWORD=…  "password": "…"  <secret>… the name ends in a secret's word
        rf"""((?<![a-z0-9%])[a-z0-9_.-]{{0,64}}?{_SECRET_NAME}[0-9_]*\\?["']?\s*(?:{_EQUALS}|:(?!//))\s*)"""
        rf"""{_value(";<>")}""",
        # a storage account key, a JSON web token, a GitHub token: known by their shape
        r"()(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86}==",
        r"()\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?",
        r"()\bgh[pousr]_[A-Za-z0-9]{20,}",
    )
)
# -e NAME=value, --env NAME=value, -eNAME=value, -e "NAME=a value", -e=NAME=value
_ENV = re.compile(
    r"""((?:^|(?<=[\s"'=;&|(,\[]))(?:-e|--env|--build-arg)(?:["']?\s*[=,]\s*|["']?\s+|))"""
    r"""(?:(\\?["'])([a-z_][\w.-]*)=.*?(?:\2|$)|([a-z_][\w.-]*)=(?:""" + _value(group=5) + r")?)",
    _FLAGS,
)
_ENCODED = re.compile(r"[^\s\"'<>]*%[0-9a-fA-F]{2}[^\s\"'<>]*")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}={0,2}")

#: A superset of the above for Arrow's RE2, cheap enough to run over every value: what it does not
#: match has nothing to redact (a property test holds the two together).
GATE = (
    r"(?i)pass|pwd|secret|token|credential|signature|key|sas|sig|bearer|authorization|login"
    r"|net\s+use|mysql|-----begin|://[^/\s]*@|(?:^|[\s\"'=;&|(,\[])-(?:-?e|-build|u|-user|-proxy)"
    r"|%[0-9a-f]{2}|eyj|gh[pousr]_|(?:^|[^a-z0-9+_-])[a-z0-9+/]{86}=="
    r"|(?:^|[^a-z0-9_-])[a-z0-9]{16,}"
)


def is_secret_name(name: str) -> bool:
    """Whether a member or variable of that name holds a secret: accountKey, DB_PASSWORD, sas-token."""
    words = [word.lower() for word in _WORD.findall(name)]
    pairs = (first + second for first, second in pairwise(words))
    return not _SECRET_WORDS.isdisjoint(words) or not _SECRET_WORDS.isdisjoint(pairs)


class Redactor:
    """Masks secrets; ``keep_env`` names the environment settings whose values are kept."""

    def __init__(self, keep_env: Collection[str] = ()) -> None:
        self.keep_env = frozenset(keep_env)
        self._text: Callable[[str], str] = lru_cache(maxsize=8192)(self._redact_text)

    def text(self, text: str) -> str:
        """``text`` with every secret in it masked, percent- and base64-encoded ones too."""
        return self._text(text)

    def _redact_text(self, text: str) -> str:
        plain = self._rules(text)
        if "%" in plain:
            plain = _ENCODED.sub(self._decoded, plain)
        return _BASE64.sub(self._base64, plain)

    def _rules(self, text: str) -> str:
        for rule in _RULES:
            text = rule.sub(_mask, text)
        return _ENV.sub(self._environment_argument, text)

    def _environment_argument(self, match: re.Match[str]) -> str:
        lead, quote, quoted_name, bare_name = match.group(1, 2, 3, 4)
        name = quoted_name or bare_name
        if name in self.keep_env:
            return match.group()
        return f"{lead}{quote or ''}{name}={REDACTED}{quote or ''}"

    def _decoded(self, match: re.Match[str]) -> str:
        """A percent-encoded word as it was; decoded and masked where decoding shows a secret."""
        decoded = match.group()
        for _ in range(3):  # a URL inside a URL inside a URL
            decoded, before = unquote(decoded), decoded
            if decoded == before:
                break
            masked = self._rules(decoded)
            if masked != decoded:
                return masked
        return match.group()

    def _base64(self, match: re.Match[str]) -> str:
        """A base64 word as it was; masked whole where decoding shows a secret."""
        return (
            REDACTED
            if any(self._rules(text) != text for text in _decodings(match.group()))
            else match.group()
        )

    def json(self, value: object, name: str = "") -> object:
        """A JSON value with its secrets masked; ``name`` is the member it stands under."""
        key = name.lower()
        if value is None or value == {} or value == []:
            return value
        if key in _SECRET_PAIRS:
            return self._pairs(value, self.keep_env if key == "environmentsettings" else ())
        if key in _SECRET_MEMBERS or (key not in _REGISTRIES and is_secret_name(name)):
            return value if isinstance(value, bool) else REDACTED
        if isinstance(value, dict):
            hidden = isinstance(value.get("name"), str) and is_secret_name(value["name"])
            return {
                self.text(member): REDACTED
                if hidden and member == "value"
                else self.json(x, member)
                for member, x in value.items()
                if not (key in _REGISTRIES and member.lower() == "password")
            }
        if isinstance(value, list):
            return [self.json(x, name if key in _REGISTRIES else "") for x in value]
        return self.text(value) if isinstance(value, str) else value

    def _pairs(self, value: object, keep: Collection[str]) -> object:
        if not isinstance(value, list):
            return REDACTED  # of the wrong type: nothing tells names from values
        masked: list[object] = []
        for pair in value:
            if not isinstance(pair, dict):
                masked.append(REDACTED if pair not in (None, {}, []) else pair)
                continue
            name = pair.get("name")
            if isinstance(name, str) and name in keep:
                masked.append(pair)
                continue
            masked.append(
                {
                    self.text(member): self.text(x)
                    if member == "name" and isinstance(x, str)
                    else (x if x is None else REDACTED)
                    for member, x in pair.items()
                }
            )
        return masked

    @staticmethod
    def suspects(columns: Sequence[pa.StringArray]) -> bool:
        """Whether any value of these string columns may hold a secret; never a false no."""
        if not columns:
            return False
        values = pa.concat_arrays(columns).drop_null()
        return bool(pc.any(pc.match_substring_regex(values, GATE)).as_py())

    def column(self, column: pa.StringArray) -> pa.StringArray:
        """A string column with every value redacted as ``text`` does; the same object if none is."""
        if not self.suspects([column]):
            return column
        encoded = column.dictionary_encode()
        values = encoded.dictionary.to_pylist()
        masked = [self.text(value) for value in values]
        if masked == values:
            return column
        return pa.DictionaryArray.from_arrays(encoded.indices, pa.array(masked, pa.string())).cast(
            pa.string()
        )


def _mask(match: re.Match[str]) -> str:
    """Keeps what leads to a secret, and the quotes around it, so that the text stays readable."""
    return match.group(1) + REDACTED


def _decodings(word: str) -> Iterator[str]:
    """The texts a base64 word may stand for: UTF-8, and UTF-16 as PowerShell encodes commands."""
    padded = word.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return
    for encoding in ("utf-8", "utf-16-le"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if text.isprintable() or any(mark in text for mark in "\n\t"):
            yield text


_DEFAULT = Redactor()


def redact_text(text: str) -> str:
    """``text`` with every secret in it masked, as before anything is logged or stored."""
    return _DEFAULT.text(text)
