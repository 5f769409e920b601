"""Decides whether a value is a secret, or a reference, a path or a plain word."""

from __future__ import annotations

import re
from itertools import pairwise

from pipeline.redact.names import STRONG
from pipeline.schema import REDACTED

_NAME = r"[A-Za-z_][\w.-]*+"
_REFERENCE = (
    r"(?:"
    r"\$\{\{[^}]*+\}\}|\$\{[#!]?\w++(?:[-:][-?+]?|:?\?[^}]*+)?\}|\$\{(?:env|file|secrets?|var|vault|ssm|cf|self)[:.][^}\s]*+\}"
    r"|\$\([^()]*+(?:\([^()]*+\)[^()]*+)*+\)"
    r"|\$\{?env:\w++\}?|\$[A-Za-z_]\w*+(?:\.\w++|\[[^\]\s]*+\])*+|\$[0-9@*#?]"
    r"|%%?[A-Za-z_]\w*+(?:\(\w*+\))?%?%|%(?:~[a-z]{0,5})?[0-9*]|%\(\w++\)s|![A-Za-z_]\w*+!"
    r"|\{\{[^}]*+\}\}|\{%[^%]*+%\}|<%[^%]*+%>|\#\{[^}]*+\}\#?|__[A-Z][A-Z0-9_]*+__|@\{[^}]*+\}|\{\w*+\}"
    r"|`[^`]*+`"
    r")"
)
_REFERENCES = re.compile(rf"(?:{_REFERENCE})(?:[-:@/_.]?{_REFERENCE})*+")
_POINTERS = re.compile(
    r"@Microsoft\.KeyVault\(.*|arn:aws[\w-]*:.*|op://.*|vault:[\w/.-]++(?:\#[\w.-]*+)?|kv:.*|secretref:.*"
    r"|(?:env|file|fd|var|ssm|sops):\S*|valueFrom|!(?:Ref|Sub|GetAtt|vault|secret|reference)\b.*"
    r"|secretsmanager:.*|projects/[^/]++/secrets/.*|ENC\[.*|\*+|\.{3,}|\u2026|x{3,}|X{3,}|\?+|-+"
    r"|(?:Optional|Union|List|SecretStr|Annotated)\[.*|SIG[A-Z]{2,6}[0-9]?|id=[\w.-]++(?:,.*)?|type=\w++,.*"
    r"|(?:\.[*+]|\\[SwWd]|\[\^|\(\.).*"
    r"|<[\w .:/-]*+>|(?:your|my|the|insert|enter|some|example|replace|change)[-_ ][a-z_ -]*+"
    r"|<?(?:hidden|masked|redacted|removed|omitted|filtered|sensitive|not[ -]shown|unset|unknown)>?",
    re.IGNORECASE | re.DOTALL,
)
# password = getpass(), token = args.token, os.environ["TOKEN"]: code, which says where a secret is
_CODE = re.compile(
    r"(?:await\s|new\s)?(?:[A-Za-z_]\w*+(?:\.|::|->))++[A-Za-z_]\w*+[(\[].*"
    r"|(?:getenv|getpass|get\w++|read\w*+|load\w*+|fetch\w*+|input|prompt|env|lookup|file|base64\w*+|decode\w*+|decrypt\w*+"
    r"|require|open|str|bytes|String|format|concat|random\w*+|uuid\w*+|generate\w*+|os|environ)[(\[].*"
    r"|(?:Get|Read|Import|New|ConvertTo|Select|Invoke|Unprotect)-[A-Z]\w++"
    r"|(?:self|this|args?|config|cfg|conf|settings|os|env|process|options?|opts?|params?|request|req|ctx|user"
    r"|data|var|local|secrets?|vars|module|credentials?|input|inputs|github|parameters|context|row|item)"
    r"(?:\.[A-Za-z_]\w*+)++",
    re.DOTALL,
)
_NOTHING = frozenset(
    "true false yes no on off null none nil undefined nan n/a na ~ default auto optional required"
    " always never empty string str text int bool boolean object array".split()
) | {""}
#: Words of messages about secrets: "token: expired", "Password: required".
_STATUS = re.compile(
    r"(?:is|was|were|are|has|have|had|via|line|require|requires|needs|takes|retype|re-enter|enter|confirm|repeat|unchanged|expiry|expires|not|no|must|may|can|cannot|could|should|will|does|did|do|the|a|an|for|of"
    r"|to|in|and|or|with|from|at|by|on|if|it|this|that|please|your|expired|invalid|missing|required|failed"
    r"|denied|unknown|incorrect|wrong|rejected|refused|accepted|valid|ok|okay|verified|found|updated|changed"
    r"|loaded|loading|created|deleted|set|unset|unexpected|malformed|permission|error|authentication|access"
    r"|using|too|only|got|expected|success|successful|succeeded|fail|failure|enabled|disabled|present|absent"
    r"|none|null|unauthorized|forbidden|revoked|rotated|unable|insufficient|no\s.*|already|skipping|skipped|passed"
    r"|user|file|entry|command|reading|read|sent|received|see|try|use|when|where|which|why|how|what|length|contains|cached|refreshed|refreshing)"
    r"[.,:;!?)]*",
    re.IGNORECASE,
)
_SEGMENT = r"[^/\\\s\"'<>|:*?=]++"
_PATH = re.compile(
    rf"(?:(?:~|\.{{1,2}}|[A-Za-z]:|\\\\|//)?[/\\]{{1,2}}{_SEGMENT}(?:[/\\]{{1,2}}{_SEGMENT})*+[/\\]?"
    rf"|(?:[\w.@~-]++[/\\])++[\w.@~-]++[/\\]?)[:,.]?"
)
_FILE = re.compile(
    r"[\w.@%+~-]{1,80}\.(?:pem|key|crt|cer|txt|json|ya?ml|toml|pfx|p12|pub|conf|cfg|cnf|ini|env|jks|kdbx|gpg|asc"
    r"|token|secrets?|db|log|py|sh|ps1|js|ts|go|rs|java|cs|csv|parquet|gz|zip|der|xml|sqlite|properties|tf|bat|cmd"
    r"|html?|md|sql|tsv|bin|dat|lock)[:,]?",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"0x[0-9a-fA-F]{1,16}|"
    r"[-+]?\d{1,6}(?:\.\d+)?(?:%|ms|s|m|h|d|[kmg]i?b?)?[,.)]*|\d+/\d+",
    re.IGNORECASE,
)
#: License servers (port@host, port@host) and well-known licenses are not secret keys.
_LICENSE = re.compile(
    r"\d{2,5}@[\w.-]+(?:[:,;]\d{2,5}@[\w.-]+)*|(?:[AL]?GPL|Apache|BSD|MIT|MPL|EPL|CC|ISC)[-\w.+]{0,16}[,;]?"
)
# id, customerId, deps-v1, user:name, ubuntu-22.04, SIGTERM; but not hunter2 nor Xy9
_PIECE = r"(?:[A-Z]?[a-z]{2,}(?:[A-Z][a-z]+)*|[A-Z]{2,}|[a-zA-Z]|[vV]?\d{1,3}|20\d\d|[xX](?:64|86))"
_PLAIN = re.compile(rf"{_PIECE}(?:[-_./:@,+ #]{{1,2}}{_PIECE})*+[-_./:,;!?)]*")
_LETTERS = re.compile(r"[^\W\d]+(?:[-_. ][^\W\d]+)*")
_UUID = re.compile(r"\{?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?")
_COUNTED = ("token", "tokens", "sig", "cookies", "secrets", "passwords", "jwt")
_SERVER = re.compile(r"(?:localhost|[\w-]+(?:\.[\w-]+)+)(?::\d{2,5})?|[A-Za-z][\w-]*:\d{2,5}")
_MAX_PLAIN = 48


def is_reference(value: str) -> bool:
    """Returns whether a value only names the place of a secret, or is hidden already."""
    return bool(
        value == REDACTED or _REFERENCES.fullmatch(value) or _POINTERS.fullmatch(value)
    ) and not _has_default(value)


def _has_default(value: str) -> bool:
    """Returns whether a reference contains a default value: ``${PASSWORD:-hunter2}``."""
    return ":-" in value and not value.endswith(":-}")


def is_code(value: str) -> bool:
    """Returns whether a value is an expression of a program."""
    return bool(_CODE.fullmatch(value))


def is_path(value: str) -> bool:
    """Returns whether a value is the path or the name of a file."""
    if len(value) > 260:
        return False
    if _FILE.fullmatch(value):
        return True
    if not _PATH.fullmatch(value):
        return False
    pieces = [piece for piece in re.split(r"[/\\]+", value.rstrip(":,.")) if piece]
    if len(pieces) < 2 and not value.startswith(("./", "../", "~/", ".\\", "/")):
        return False
    if len(pieces) == 1 and not _PLAIN.fullmatch(pieces[0]):
        return False
    return not any(is_random(piece) for piece in pieces)


def is_random(text: str) -> bool:
    """Returns whether a word mixes capitals, small letters and digits unlike a name."""
    if len(text) < 8:
        return False
    changes = sum(_kind(one) != _kind(other) for one, other in pairwise(text))
    kinds = {_kind(letter) for letter in text} - {"-"}
    return len(kinds) == 3 and changes * 3 > len(text)


def _kind(letter: str) -> str:
    if letter.isdigit():
        return "0"
    return "a" if letter.islower() else "A" if letter.isupper() else "-"


def is_plain(value: str) -> bool:
    """Returns whether a value is made of words and small numbers: ``customerId``, ``deps-v1``."""
    if len(value) > _MAX_PLAIN or (
        {_kind(letter) for letter in value} >= {"0", "a", "A"} and not value[-1].isdigit()
    ):
        return False
    return bool(
        _PLAIN.fullmatch(value)
        or (_LETTERS.fullmatch(value) and len(value) <= 24)
        or _UUID.fullmatch(value)
    )


def is_number(value: str) -> bool:
    """Returns whether a value is a count, a share, a time or a size."""
    return bool(_NUMBER.fullmatch(value))


def is_nothing(value: str) -> bool:
    """Returns whether a value means "none", or only says whether there is one."""
    return value.lower().rstrip(",.;:)}]") in _NOTHING or (
        len(value) < 3 and not any(map(str.isalnum, value))
    )


def is_status(value: str) -> bool:
    """Returns whether a value is the first word of a message about a secret."""
    return bool(_STATUS.fullmatch(value))


def is_secret(value: str, level: int, name: str = "") -> bool:
    """Returns whether a value under a name of that secrecy is a secret."""
    if not level or is_nothing(value) or is_reference(value):
        return False
    own = name.lower().rsplit(".", 1)[-1].lstrip("-/").replace("_", "-")
    if is_path(value) or value.rstrip(",;:)}]").lower().replace("_", "-") == own:
        return False  # password=password, --api-key API_KEY: a variable of its name
    if level == STRONG:
        lower = name.lower()
        is_count = ("token" in lower or lower.endswith(_COUNTED)) and is_number(value)
        is_server = lower.endswith(("dsn", "string", "str")) and bool(_SERVER.fullmatch(value))
        return not (is_count or is_server)
    is_license = "licen" in name.lower() and bool(_LICENSE.fullmatch(value))
    return not (is_number(value) or is_plain(value) or is_code(value) or is_license)
