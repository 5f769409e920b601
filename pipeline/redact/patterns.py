"""Finds secrets in headers (bearer tokens), URLs, markup and statements: one pattern for each format."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.redact import rules, values
from pipeline.redact.names import STRONG, WEAK, secrecy
from pipeline.redact.views import QUOTED_SPACE, plain

Span = tuple[int, int]
_FLAGS = re.IGNORECASE | re.DOTALL

_EQUALS = r"(?:=|%(?:25)*+3d|\\++u003d)"
#: The text before the signature of a SAS; its & may be written \u0026 or %26.
SIGNATURE = rf"(?:(?<![a-z0-9])|(?<=u0026)|(?<=%26)|(?<=%2526))sig\s*+{_EQUALS}"

# --- patterns: the group ``secret`` is one ---

_SPACES = rf"(?:\s|{QUOTED_SPACE})"
_SCHEME = (
    r"(?:aws4-hmac-sha256|apikey|basic|bearer|bot|digest|dpop|hawk|key|negotiate|ntlm|oauth|sharedkey(?:lite)?"
    r"|splunk|token|genie-?key)"
)
_WORD_END = r"[^\s,;<>\"']"
_PATTERNS = tuple(
    re.compile(pattern, _FLAGS)
    for pattern in (
        # -----BEGIN RSA PRIVATE KEY----- … , whole or cut off
        r"-----BEGIN[ \ue020][A-Z0-9 \ue020]*PRIVATE[ \ue020]KEY(?:[ \ue020]BLOCK)?-----"
        r"(?P<secret>.*?(?:(?=-----END)|\Z))",
        r"PuTTY-User-Key-File.{0,4000}?Private-Lines:[ ]\d++\s(?P<secret>.*?)(?=Private-MAC|\Z)",
        # Authorization: Bearer …, authorization = SharedKey name:signature; after a scheme that is not
        # known two words are masked
        rf"\bauthorization\W{{0,3}}{_SPACES}*[:=]{_SPACES}*+"
        rf"(?:{_SCHEME}{_SPACES}++(?P<reference>{_WORD_END}++)|(?!{_SCHEME}(?:{_SPACES}|\Z))"
        rf"(?P<secret>{_WORD_END}++(?:[ \t]++(?![-/|&]){_WORD_END}++(?![=:]))?))",
        rf"\b(?:bearer|sharedkey(?:lite)?){_SPACES}++(?P<value>{_WORD_END}++)",
        rf"\b(?:basic){_SPACES}++(?P<secret>[A-Za-z0-9+/]{{12,}}={{1,2}})",
        # https://user:password@host
        r"://[^\s/:@\"'<>?#]*+:(?P<reference>[^\s/\"'<>]+)(?=@)",
        # https://token:x-oauth-basic@host
        r"://(?P<reference>[^\s/:@\"'<>?#]++):(?:x-oauth-basic)?@",
        # jdbc:oracle:thin:user/password@host
        r"jdbc:oracle:\w++:[^\s/:@]++/(?P<reference>[^\s/\"'<>]+)(?=@)",
        # https://token@host
        r"://(?!git@)(?P<user>[^\s/:@\"'<>?#]++)(?=@)",
        # Cookie: name=y; other=y
        rf"\bcookie2?\W{{0,2}}\s*+:{_SPACES}*+(?P<secret>[^\r\n\"']++)",
        # {"name": "DB_PASSWORD", "value": "y"}, <add key="DbPassword" value="y"/>, in either order
        r"\b(?:name|key|variable|setting|field|header|param(?:eter)?|id)\W{0,2}\s*+[:=]\s*+(?P<name>[\w.:/-]{1,80}+)"
        r"(?P<gap>[^{}\[\]<>]{0,160}?)\b(?:value|val|content|default|secureValue)\W{0,2}\s*+[:=]\s*+"
        r"(?P<paired>[|>][-+0-9]{0,2}(?=[ \t]*+\r?\n)|[^\s,}\]>]+)",
        r"\b(?:value|val|content|default|secureValue)\W{0,2}\s*+[:=]\s*+(?P<paired>[^\s,}\]>]++)"
        r"(?P<gap>[^{}\[\]<>]{0,160}?)\b(?:name|key|variable|setting|field|header|param(?:eter)?|id)\W{0,2}\s*+[:=]\s*+"
        r"(?P<name>[\w.:/-]{1,80})",
        # <password>…</password>, <AdministratorPassword><Value>…</Value>
        r"<(?P<name>[\w.:-]{1,80})(?:\s[^<>]{0,400})?(?<!/)>\s*+(?:<value>\s*+)?(?P<paired>(?:(?!<).)+)",
        # <entry key="db.password">…</entry>, <setting name="ApiSecret"><value>…</value>
        r"<[\w.:-]{1,40}\s[^<>]{0,100}?\b(?:name|key|id)\s?=\s?(?P<name>[\w.:/-]{1,80}+)[^<>]{0,300}(?<!/)>\s*+"
        r"(?:<value>\s*+)?(?P<paired>(?:(?!<).)+)",
        # reg add HKLM\x /v DefaultPassword /d y
        r"/v\s++(?P<name>[\w.-]{1,80}+)[^\n]{0,80}?\s/d\s++(?P<paired>\S+)",
        # the password is y
        r"\b(?:password|passphrase|passcode|token|secret|(?:api|access|account)\skey)\s(?:is|was|to):?\s++"
        r"(?P<said>\S+)",
        # login failed with password y; API key provided: y
        r"(?P<lead>\b(?:with|using|given|wrong|bad|by)\s)?\b(?:password|passphrase|passcode|token|secret"
        r"|(?:api|access|account|licen[cs]e|product|activation)\skey|serial\snumber)"
        r"\s++(?:(?:provided|given|supplied|received|used):?\s++)?(?P<spoken>[^\s:=]\S*+)",
        # authenticate("me", "y"), auth=("me", "y")
        r"\b(?:authenticate|(?:http)?basicauth|login|pscredential|networkcredential|(?:http)?auth\s?=)\s?\("
        r"\s?[^\s,()]++\s?,\s?(?P<second>[^\s,()]++)",
        # echo y > /root/.ssh/token
        r"\b(?:echo|printf)\s++(?:-\w++\s++)*+(?P<into>[^\s-]\S*+)\s*+>{1,2}\s*+(?:\S*/)?(?P<name>[\w.-]{1,80}+)",
        # keyring.set_password("service", "me", "y")
        r"\bset_?password\s?\((?:\s?[^\s,()]++\s?,){0,2}\s?(?P<second>[^\s,()]++)\s?\)",
        # config set -n key -v y
        r"(?:^|\s)(?:-n|--name|--key)[\s=]\s*+(?P<name>[\w.-]{1,80}+)\s++(?:-v|--value)[\s=]\s*+"
        r"(?P<paired>\S++)",
        # accountKey y, in a file of settings
        r"(?<![\w.$-])(?P<name>(?-i:[a-z]++[A-Z])\w{1,60}+|[a-z]++(?:_[a-z]++)++)[ \t]++"
        r"(?P<beside_it>[^\s=:|&;<>-]\S*+)",
        # DB_PASSWORD      y, a row of a table of variables
        r"(?:^|\n)[ \t]*+(?P<name>[A-Za-z][A-Za-z0-9]*+_\w++)[ \t]{2,}+"
        r"(?P<row>[^\s=:|]\S*+)[ \t]*+(?=\n|\r|\Z)",
        # connect("user", "me", "password", "y")
        r"[,(\[]\s?(?P<name>[\w.-]{1,80}+)\s?(?=,\s?(?P<listed>[^\s,()\[\]]++))",
        # a channel of conda: https://host/t/token/channel
        r"://[^\s/\"'<>]++/t/(?P<channel>[^\s/\"'<>]++)",
        # tool /u:me /p:y
        r"(?:^|\s)/u(?:ser(?:name)?)?:\S++(?:\s++\S++){0,3}?\s++/p(?:w|ass)?:(?P<slashed>\S++)",
        r"(?:^|\s)/p(?:w|ass)?:(?P<slashed>\S++)(?=(?:\s++\S++){0,3}?\s++/u(?:ser(?:name)?)?:\S)",
        # tool -u me -p y
        r"(?:^|\s)-(?:u|-user(?:name)?)[\s=,]\s*+(?P<me>[^\s-]\S*+)[\s,]++-p[\s,]++(?P<beside>[^\s-]\S*+)",
        r"(?:^|\s)-p\s++(?P<beside>[^\s-]\S*+)\s++-(?:u|-user(?:name)?)[\s=]\s*+(?P<me>[^\s-]\S*+)",
        # mount -t cifs -o user=me%y
        r"\bcifs\b[^\n;|]{0,400}?\buser(?:name)?=[^\s,%=]++%(?P<reference>[^\s,]++)",
        # user me y, in a script for ftp
        r"\bs?ftp\b.{0,400}?(?:\n[ \t]*+|\b(?:echo|quote)\s++)user[ \t]++\S++[ \t]++"
        r"(?P<reference>[^\s>]++)",
        r"\becho\s++user[ \t]++\S++[ \t]++(?P<reference>[^\s>]++)(?=.{0,400}?\bs?ftp\b)",
        r"\bquote\s++pass\s++(?P<reference>[^\s>]++)",
        # ENV DB_PASSWORD y; setx DB_PASSWORD y; aws configure set aws_secret_access_key y
        r"\b(?:env|setx(?:\s++/m)?|setenv|config(?:ure)?\s++set|set-secret|SetEnvironmentVariable|putenv|setProperty"
        r"|define|ini_set|set_secret|setSecret)"
        r"[ \t(,]++(?!-)(?P<name>[\w.:/-]{1,80})(?:[ \t]*+,[ \t]*+|[ \t]++)(?![=:|&])(?P<paired>\S+)",
        # CREATE USER x WITH PASSWORD 'y'; IDENTIFIED BY 'y'; PASSWORD('y')
        r"\bidentified\s++(?:with\s++\S++\s++)?by\s++(?:password\s++)?(?P<reference>[^\s;,]+)",
        r"\b(?:create|alter)\s++(?:user|role|login)\b[^;\n]{0,200}?\bpassword\s++(?P<reference>[^\s;,=]+)",
        r"\bpassword\s?\(\s?(?P<reference>[^\s()]+)\s?\)",
        # variable "db_password" { default = "y" }
        r"\bvariable\s++(?P<name>[\w-]{1,80})\s*+\{[^{}]{0,300}?\bdefault\s*+=\s*+(?P<paired>\S+)",
        # the key of an Azure function in its URL
        r"[?&\ue026]code=(?P<code>[^\s&\"'<>\ue026]+)",
        # machine host login me password y
        r"\b(?:machine\s++\S++|default)\s++login\s++\S++\s++password\s++(?P<secret>\S+)",
        r"\b(?:login|user|account)\s++\S++\s++password\s++(?P<reference>\S+)",
        # host:5432:database:user:password
        r"^[ \t]*+(?:[\w.*-]++):(?:\d{3,5}|\*):[^\s:]++:[^\s:]++:(?P<reference>[^\s:][^\r\n:]*)$",
    )
)
_MULTILINE = re.MULTILINE
_PATTERNS = (*_PATTERNS[:-1], re.compile(_PATTERNS[-1].pattern, _FLAGS | _MULTILINE))


def patterns(text: str) -> Iterator[Span]:
    """Yields the secrets in headers, URLs, markup and statements."""
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            for group, accepts in _ACCEPTED.items():
                if group in pattern.groupindex and match[group] is not None:
                    start, end = match.span(group)
                    if block := group == "paired" and rules.BLOCK.match(text, start):
                        if secrecy(match["name"]):
                            yield from rules.block_lines(text, start, block.end())
                        continue
                    end = rules.trimmed(text, start, end)
                    if end > start and accepts(match, plain(text[start:end])):
                        yield start, end


def _is_any(_: re.Match[str], value: str) -> bool:
    return not values.is_reference(value.strip())


def _is_literal(_: re.Match[str], value: str) -> bool:
    return bool(value) and not values.is_reference(value) and not values.is_nothing(value)


def _is_bearer(_: re.Match[str], value: str) -> bool:
    return not (
        values.is_status(value)
        or values.is_reference(value)
        or (values.is_plain(value) and len(value) < 12)
        or re.match(r"(?:tokens?|auth\w*|scheme|realm|error|header|method)\b", value, re.IGNORECASE)
    )


def _is_user(match: re.Match[str], value: str) -> bool:
    scheme = re.search(r"[a-z+.-]{1,20}\Z", match.string[: match.start()][-20:].lower())
    is_web = scheme is not None and scheme.group().endswith(("http", "https"))
    return not values.is_reference(value) and not (
        (values.is_plain(value) and (not is_web or len(value) < 24))
        or (not is_web and len(value) < 24 and not values.is_random(value))
    )


def _is_pair(match: re.Match[str], value: str) -> bool:
    level = secrecy(match["name"])
    if re.search(
        r"\b(?:value|name)\W{0,2}\s*[:=]", match["gap"] if "gap" in match.re.groupindex else ""
    ):
        return False
    return bool(level) and values.is_secret(value.strip(), level, match["name"])


def _is_said(_: re.Match[str], value: str) -> bool:
    return not values.is_status(value) and values.is_secret(value.rstrip(".,;!?"), WEAK)


def _is_spoken(match: re.Match[str], value: str) -> bool:
    """After ``with password`` any word but a plain one; else only a word that a machine made."""
    value = value.rstrip(".,;!?)")
    is_enough = bool(match["lead"]) or values.is_random(value)
    return is_enough and not values.is_status(value) and values.is_secret(value, WEAK)


def _is_second(_: re.Match[str], value: str) -> bool:
    return values.is_secret(value, WEAK)


def _is_row(match: re.Match[str], value: str) -> bool:
    is_pair = "=" in value.rstrip("=")
    return not is_pair and secrecy(match["name"]) == STRONG and values.is_secret(value, WEAK)


def _is_code(_: re.Match[str], value: str) -> bool:
    return len(value) >= 8 and not value.isdigit() and values.is_secret(value, WEAK)


def _is_listed(match: re.Match[str], value: str) -> bool:
    return values.is_random(value) and _is_row(match, value)


_OF_CONDA = re.compile(r"conda|mamba|channel|pixi", re.IGNORECASE)


def _is_channel(match: re.Match[str], value: str) -> bool:
    """Excludes topics of a forum, which follow /t/ too."""
    is_near = _OF_CONDA.search(match.string, max(0, match.start() - 300), match.end() + 60)
    return bool(is_near) and values.is_secret(value, WEAK)


def _is_slashed(_: re.Match[str], value: str) -> bool:
    """Excludes properties of a build: /p:Configuration=Release."""
    return "=" not in value.rstrip("=") and values.is_secret(value, WEAK)


def _is_beside(match: re.Match[str], value: str) -> bool:
    """Excludes ports and arguments of scripts: python -u run.py -p x."""
    is_port = re.fullmatch(r"[\d.:]+(?:/(?:tcp|udp))?", value) is not None
    is_prompt = re.search(r"pass(?:word|code).*[:?]\s*\Z", value, re.IGNORECASE) is not None
    return not (is_port or is_prompt or values.is_path(plain(match["me"]))) and values.is_secret(
        value, WEAK
    )


_ACCEPTED = {
    "secret": _is_any,
    "reference": _is_literal,
    "value": _is_bearer,
    "user": _is_user,
    "paired": _is_pair,
    "said": _is_said,
    "spoken": _is_spoken,
    "second": _is_second,
    "row": _is_row,
    "into": _is_pair,
    "beside_it": _is_row,
    "code": _is_code,
    "listed": _is_listed,
    "channel": _is_channel,
    "slashed": _is_slashed,
    "beside": _is_beside,
}
