"""``$filter`` and ``$select`` in the grammar of Batch, a small part of OData.

Names are case-sensitive, values are not. Which property takes which operator is published per
list ("OData filters in Azure Batch").
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from .replies import BatchError, bad_parameter

Json = dict[str, Any]
Test = Callable[[Json], bool]
Type = Literal["text", "time", "int", "bool"]

_EQUAL = frozenset({"eq"})
_EITHER = frozenset({"eq", "ne"})
_ORDER = frozenset({"eq", "ne", "ge", "gt", "le", "lt"})
_ID = _ORDER | {"startswith"}

Grammar = dict[str, tuple[frozenset[str], Type]]

NODES: Grammar = {
    "state": (_EITHER, "text"),
    "stateTransitionTime": (_ORDER, "time"),
    "lastBootTime": (_ORDER, "time"),
    "allocationTime": (_ORDER, "time"),
    "startTaskInfo/state": (_EQUAL, "text"),
    "startTaskInfo/result": (_EITHER, "text"),
    "startTaskInfo/exitCode": (_ORDER, "int"),
    "startTaskInfo/startTime": (_ORDER, "time"),
    "startTaskInfo/endTime": (_ORDER, "time"),
}
POOLS: Grammar = {
    "id": (_ID, "text"),
    "state": (_EITHER, "text"),
    "stateTransitionTime": (_ORDER, "time"),
    "creationTime": (_ORDER, "time"),
    "lastModified": (_ORDER, "time"),
    "allocationState": (_EITHER, "text"),
    "allocationStateTransitionTime": (_ORDER, "time"),
    "enableAutoScale": (_EITHER, "bool"),
    "enableInterNodeCommunication": (_EITHER, "bool"),
    "vmSize": (_ID, "text"),
}
NODE_COUNTS: Grammar = {"poolId": (_EQUAL, "text")}
USAGE: Grammar = {"poolId": (_ID, "text")}
FILES: Grammar = {"name": (frozenset({"startswith"}), "text")}
IMAGES: Grammar = {
    "nodeAgentSKUId": (_ID, "text"),
    "imageReference/publisher": (_ID, "text"),
    "imageReference/offer": (_ID, "text"),
    "imageReference/sku": (_ID, "text"),
    "osType": (_EITHER, "text"),
    "verificationType": (_EITHER, "text"),
}

_TOKENS = re.compile(
    r"\s*(?:(?P<open>\()|(?P<close>\))|(?P<comma>,)"
    r"|(?P<time>[Dd]ate[Tt]ime'(?P<when>[^']*)')"
    r"|'(?P<text>(?:[^']|'')*)'"
    r"|(?P<number>-?\d+(?![\w.]))"
    r"|(?P<word>[A-Za-z_][\w/]*))"
)


class _Token(NamedTuple):
    kind: str
    value: str


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(text.rstrip()):
        found = _TOKENS.match(text, at)
        if found is None or found.end() == at:
            raise _bad(text, f"Syntax error at position {at}")
        at = found.end()
        kind = found.lastgroup or ""
        if found["time"] is not None:
            tokens.append(_Token("time", found["when"]))
        elif found["text"] is not None:
            tokens.append(_Token("text", found["text"].replace("''", "'")))
        else:
            tokens.append(_Token(kind, found[kind]))
    return tokens


def _bad(text: str, reason: str) -> BatchError:
    return bad_parameter("$filter", text, reason)


class _Parser:
    """A recursive descent parser: ``or``, ``and``, ``not``, comparisons and parentheses."""

    def __init__(self, text: str, grammar: Grammar) -> None:
        self.text = text
        self.grammar = grammar
        self.tokens = _tokens(text)
        self.at = 0

    def parse(self) -> Test:
        test = self.either(0)
        if self.at != len(self.tokens):
            raise _bad(self.text, f"Unexpected '{self.tokens[self.at].value}'")
        return test

    def peek(self) -> _Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else _Token("end", "")

    def take(self, *kinds: str) -> str:
        token = self.peek()
        if token.kind not in kinds:
            raise _bad(self.text, f"Expected {' or '.join(kinds)}, found '{token.value}'")
        self.at += 1
        return token.value

    def is_word(self, word: str) -> bool:
        token = self.peek()
        return token.kind == "word" and token.value.lower() == word

    def either(self, depth: int) -> Test:
        if depth > 50:
            raise _bad(self.text, "The filter is nested too deep")
        tests = [self.both(depth)]
        while self.is_word("or"):
            self.at += 1
            tests.append(self.both(depth))
        return tests[0] if len(tests) == 1 else lambda item: any(test(item) for test in tests)

    def both(self, depth: int) -> Test:
        tests = [self.one(depth)]
        while self.is_word("and"):
            self.at += 1
            tests.append(self.one(depth))
        return tests[0] if len(tests) == 1 else lambda item: all(test(item) for test in tests)

    def one(self, depth: int) -> Test:
        if self.is_word("not"):
            self.at += 1
            if depth > 50:
                raise _bad(self.text, "The filter is nested too deep")
            inner = self.one(depth + 1)
            return lambda item: not inner(item)
        if self.peek().kind == "open":
            self.at += 1
            test = self.either(depth + 1)
            self.take("close")
            return test
        if self.is_word("startswith"):
            self.at += 1
            self.take("open")
            name = self.take("word")
            self.take("comma")
            prefix = self.take("text").lower()
            self.take("close")
            self.check(name, "startswith")
            return lambda item: str(_at(item, name) or "").lower().startswith(prefix)
        name = self.take("word")
        operator = self.take("word").lower()
        kind = self.check(name, operator)
        return _comparison(name, operator, kind, self.value(name, kind))

    def check(self, name: str, operator: str) -> Type:
        if name not in self.grammar:
            raise _bad(self.text, f"The property '{name}' cannot be filtered on")
        operators, kind = self.grammar[name]
        if operator not in operators:
            raise _bad(self.text, f"The operator '{operator}' is not supported for '{name}'")
        return kind

    def value(self, name: str, kind: Type) -> Any:
        token = self.peek()
        self.at += 1
        if kind == "text" and token.kind == "text":
            return token.value.lower()
        if kind == "int" and token.kind == "number":
            return int(token.value)
        if kind == "bool" and token.kind == "word" and token.value.lower() in ("true", "false"):
            return token.value.lower() == "true"
        if kind == "time" and token.kind == "time":
            when = read_time(token.value)
            if when is not None:
                return when
        raise _bad(self.text, f"'{token.value}' is not a value for '{name}'")


def read_time(text: str) -> tuple[datetime, int] | None:
    """Read a time of the service: (microseconds, hundreds of nanoseconds beyond).

    A time without a zone is UTC; None if the text is no time.
    """
    found = re.fullmatch(
        r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,7}))?)?([Zz]|[+-]\d\d:\d\d)?",
        text.strip(),
    )
    if found is None:
        return None
    day, clock, fraction, zone = found.groups()
    digits = (fraction or "").ljust(7, "0")
    zone = "+00:00" if zone in (None, "Z", "z") else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00'}{zone}")
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(microsecond=int(digits[:6])), int(digits[6])


def _at(item: Json, path: str) -> Any:
    for step in path.split("/"):
        if not isinstance(item, dict) or step not in item:
            return None
        item = item[step]
    return item


def _comparison(name: str, operator: str, kind: Type, wanted: Any) -> Test:
    def test(item: Json) -> bool:
        found = _at(item, name)
        if found is None:  # an absent value equals nothing and has no order
            return operator == "ne"
        if kind == "text":
            found = str(found).lower()
        elif kind == "time":
            found = read_time(str(found))
        return bool(_COMPARE[operator](found, wanted))

    return test


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: bool(a == b),
    "ne": lambda a, b: bool(a != b),
    "ge": lambda a, b: bool(a >= b),
    "gt": lambda a, b: bool(a > b),
    "le": lambda a, b: bool(a <= b),
    "lt": lambda a, b: bool(a < b),
}


def read_filter(text: str | None, grammar: Grammar) -> Test | None:
    """Return a ``$filter`` as a predicate, None for no filter; raises for an invalid one."""
    if text is None or not text.strip():
        return None
    if len(text) > 4000:
        raise _bad(text[:100], "The filter is too long")
    return _Parser(text, grammar).parse()


def read_select(text: str | None, known: frozenset[str]) -> list[str] | None:
    """Return the property paths of a ``$select``, None for all; raises for an unknown property."""
    if text is None or not text.strip():
        return None
    paths = [path.strip() for path in text.split(",") if path.strip()]
    for path in paths:
        if path.split("/")[0] not in known:
            raise bad_parameter("$select", text, f"The property '{path}' does not exist")
    return paths


def select(item: Json, paths: list[str] | None) -> Json:
    """Return an item with the selected properties only, in the item's own order."""
    if paths is None:
        return item
    wanted: dict[str, list[str] | None] = {}
    for path in paths:
        head, _, rest = path.partition("/")
        if not rest or wanted.get(head, []) is None:
            wanted[head] = None
        else:
            wanted.setdefault(head, [])
            inner = wanted[head]
            assert inner is not None
            inner.append(rest)
    selected: Json = {}
    for name, value in item.items():
        if name in wanted:
            inner = wanted[name]
            if inner is None or not isinstance(value, dict):
                selected[name] = value
            else:
                selected[name] = select(value, inner)
    return selected
