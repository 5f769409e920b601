"""Masks texts, JSON values and Arrow columns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.redact import find, gate, values
from pipeline.redact.echoes import is_echo
from pipeline.redact.names import STRONG, secrecy
from pipeline.schema import REDACTED

#: Members whose whole value is always a secret (mounts, user accounts, VM extensions).
_SECRET_MEMBERS = frozenset(
    {"password", "sshprivatekey", "settings", "protectedsettings", "accountkey", "saskey"}
)
#: Lists of name-value pairs whose values are secrets: a start task's environment, a pool's metadata.
_SECRET_PAIRS = frozenset({"environmentsettings", "metadata"})
#: Objects whose password is dropped, as if it had not been sent.
_REGISTRIES = frozenset({"registry", "containerregistries"})
#: Pairs such as {"name": "DB_PASSWORD", "value": …}, the form of tags, settings and headers.
_LABELS = frozenset(
    "name key variable var setting header parameter param field env attribute".split()
)
_LABELLED = frozenset("value val values content data default text stringvalue".split())

_REPEATED = re.compile(r"(?: \(\d+\))+$")
#: Longer texts are not cached: thousands of them would fill the memory.
_REMEMBERED = 4096
#: JSON is masked below this depth, which bounds recursion.
_MAX_DEPTH = 150
#: The most passes over a text: a mask may reveal another secret.
_MAX_PASSES = 4


class Redactor:
    """Masks secrets; ``keep_env`` names environment settings whose values are kept."""

    def __init__(self, keep_env: Collection[str] = ()) -> None:
        self.keep_env = frozenset(keep_env)
        self._finder = find.Finder(self.keep_env)
        self._text: Callable[[str], str] = lru_cache(maxsize=8192)(self._redact_text)

    def text(self, text: str) -> str:
        """Returns ``text`` with every secret in it masked, percent- and base64-encoded ones too."""
        return self._text(text) if len(text) <= _REMEMBERED else self._redact_text(text)

    def _redact_text(self, text: str) -> str:
        for _ in range(_MAX_PASSES):
            spans = self._finder.spans(text)
            if not spans:
                break
            text = find.mask(text, spans)
        return text

    def json(self, value: object, name: str = "", depth: int = _MAX_DEPTH) -> object:
        """Returns a JSON value with its secrets masked; ``name`` is the member it stands under."""
        key = _plain_name(name)
        if value is None or value == {} or value == []:
            return value
        if key in _SECRET_PAIRS:
            return self._pairs(value, self.keep_env if key == "environmentsettings" else ())
        if not depth or key in _SECRET_MEMBERS or (key not in _REGISTRIES and _hides(name, value)):
            return value if isinstance(value, bool) else REDACTED
        if isinstance(value, dict):
            return self._object(value, key, depth - 1)
        if isinstance(value, list):
            if len(value) > 1 and all(isinstance(each, str) for each in value):
                value = self._finder.in_words(value)
            return [self.json(x, name if key in _REGISTRIES else "", depth - 1) for x in value]
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # not a JSON number
        return self.text(value) if isinstance(value, str) else value

    def _object(self, value: dict[str, object], key: str, depth: int) -> dict[str, object]:
        """Masks an object's members; a member that names a secret hides the value beside it."""
        names = {_plain_name(member) for member in value}
        is_labelled = not names.isdisjoint(_LABELLED)
        labels = [x for member, x in value.items() if _plain_name(member) in _LABELS]
        hides = is_labelled and any(isinstance(label, str) and secrecy(label) for label in labels)
        masked: dict[str, object] = {}
        for member, x in value.items():
            lower = _plain_name(member)
            if key in _REGISTRIES and lower == "password":
                continue
            shown = self.json(x, "" if lower == "key" and is_labelled else member, depth)
            if hides and lower in _LABELLED and x is not None and not isinstance(x, bool):
                is_shown = isinstance(x, str) and (values.is_reference(x) or not x)
                shown = x if is_shown else REDACTED
            masked[_unused(self.text(member), masked)] = shown
        return masked

    def _pairs(self, value: object, keep: Collection[str]) -> object:
        if not isinstance(value, list):
            return REDACTED  # of a wrong type: names and values cannot be distinguished
        return [self._pair(pair, keep) for pair in value]

    def _pair(self, pair: object, keep: Collection[str]) -> object:
        if not isinstance(pair, dict):
            return pair if pair in (None, {}, []) else REDACTED
        is_kept = isinstance(pair.get("name"), str) and pair["name"] in keep
        masked: dict[str, object] = {}
        for member, x in pair.items():
            # kept values are free text: signatures in them are masked
            shown = isinstance(x, str) and (member == "name" or (is_kept and member == "value"))
            masked[_unused(self.text(member), masked)] = (
                self.text(str(x)) if shown else (x if x is None else REDACTED)
            )
        return masked

    def masks(self, columns: Sequence[pa.StringArray]) -> dict[str, str]:
        """Returns the values of these string columns that hold a secret, each with its masked form."""
        distinct = [column.unique() for column in columns if column.null_count < len(column)]
        if not distinct:
            return {}
        suspects = gate.suspects(pa.concat_arrays(distinct).drop_null())
        return {value: masked for value in suspects if (masked := self.text(value)) != value}

    def column(self, column: pa.StringArray) -> pa.StringArray:
        """Returns a column with every value redacted as ``text`` does; the same object if none is."""
        return mask_column(column, self.masks([column]))


def mask_column(column: pa.StringArray, masks: Mapping[str, str]) -> pa.StringArray:
    """Returns a string column with the values of ``masks`` replaced; the same object if it has none."""
    if not masks:
        return column
    found = pc.index_in(column, pa.array(masks.keys(), pa.string()))
    if found.null_count == len(found):
        return column
    return pc.coalesce(pa.array(masks.values(), pa.string()).take(found), column)


def _hides(name: str, value: object) -> bool:
    """Whether a member's name makes its value a secret, and it is not a reference."""
    level = secrecy(name)
    if not level:
        return False
    if isinstance(value, str):
        is_shown = values.is_reference(value) and not is_echo(value)
        return not (is_shown or values.is_path(value) or not value)
    is_word_for_more = _plain_name(name) in ("pass", "auth", "cert", "salt", "pw", "pat")
    return level == STRONG or not (is_word_for_more and isinstance(value, int | float))


def _plain_name(name: str) -> str:
    """A member's name in lower case, without the number of a repeated one: ``value (2)``."""
    return _REPEATED.sub("", name.lower()) if ")" in name else name.lower()


def _unused(name: str, members: Collection[str]) -> str:
    """An unused name: two names may be equal once they are masked."""
    count, unused = 1, name
    while unused in members:
        count += 1
        unused = f"{name} ({count})"
    return unused


#: Keeps no setting's value; all runs of the process share its cache.
DEFAULT = Redactor()


def redact_text(text: str) -> str:
    """Returns ``text`` with every secret in it masked, as before anything is logged or stored."""
    return DEFAULT.text(text)
