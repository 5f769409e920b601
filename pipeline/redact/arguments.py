"""Finds secrets in the arguments of commands, and in what is piped to their stdin."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.redact import values
from pipeline.redact.names import WEAK
from pipeline.redact.rules import trimmed
from pipeline.redact.views import plain
from pipeline.redact.words import Word, secret_in

Span = tuple[int, int]


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


#: user:password after -u
_BASIC = _words("curl wget http https xh httpie siege hey ab rest lynx aria2c bombardier vegeta")
_NO_BASIC = _words(
    "docker podman nerdctl kubectl chown gosu su-exec su sudo install rsync setpriv chroot runuser"
    " docker-compose singularity apptainer systemd-run useradd usermod id start-stop-daemon"
)
#: Words of a command that a secret follows.
_LEADS = tuple(
    re.compile(
        rf"(?:^|[\s,;&|(\[{{/\\\ue020])(?:{lead})(?:\.exe)?[ \t]*,?[ \t]+{more}(?P<secret>[^\s-]\S*)",
        re.IGNORECASE,
    )
    for lead, more in (
        (r"vault(?:\.exe)?\s+login(?:\s+-[\w-]+(?:=\S+)?)*", r""),
        (
            r"(?:cargo|wandb|stripe|hub|ngc)\s+login(?:\s+--registry\s+\S+)?(?:\s+--?[\w-]+(?:=\S+)?)*",
            r"",
        ),
        (r"(?:snyk|codecov|railway)\s+auth", r""),
        (r"ngrok(?:\.exe)?\s+(?:config\s+add-authtoken|authtoken)", r""),
        (
            r"rclone\s+obscure|nuget\s+setapikey|openssl\s+passwd(?:\s+-\w+)*|mkpasswd(?:\s+-m\s+\S+)?",
            r"",
        ),
        (r"requirepass|masterauth|primaryauth", r""),
        (r"redis-cli(?:\s+-[a-zA-Z]\s+\S+)*\s+auth(?:\s+(?:default|\w+)(?=\s+\S))?", r""),
        (r"user-secrets\s+set\s+(?!-)\S+", r""),
        (r"wpa_passphrase\s+\S+", r""),
        (r"convertto-securestring(?:\s+-string|\s+-asplaintext|\s+-force)*", r""),
        (r"poetry\s+config\s+http-basic\.\S+\s+\S+", r""),
        (
            r"(?:poetry|npm|yarn|pnpm)\s+config\s+(?:set\s+)?(?:pypi-token\.\S+|\S*_(?:auth|authtoken|password))",
            r"",
        ),
        (
            r"(?:bundle|composer)\s+config\s+(?:set\s+)?(?:--?\w+\s+)*(?:http-basic|github-oauth|gitlab-token|\w+[.-]\S*)\S*"
            r"(?:\s+\w+(?=\s+\S))?",
            r"",
        ),
        (r"mc\s+(?:alias\s+set|config\s+host\s+add)\s+\S+\s+\S+\s+\S+", r""),
        (r"cf\s+auth\s+\S+", r""),
        (r"nmcli\b[^\n;|]{0,200}?\s(?:password|wifi-sec\.psk|802-11-wireless-security\.psk)", r""),
        (
            r"secret\s+(?:set|create)\b[^\n;|]{0,200}?\s--?(?:value|body|b|v|string-value|secret-string)",
            r"",
        ),
        (r"put-parameter\b[^\n;|]{0,300}?securestring[^\n;|]{0,200}?\s--value", r""),
        (r"put-parameter\b[^\n;|]{0,300}?\s--value(?=\s+\S+\s+[^\n;|]{0,200}?securestring)", r""),
        (
            r"(?:keyvault\s+secret\s+set|secrets?\s+(?:put|put-secret|set|create)|set-secret)\b[^\n;|]{0,300}?\s--?(?:value|string-value|secret)",
            r"",
        ),
    )
)
_ASSIGNED = re.compile(r"[\w.-]{1,80}=\S")


def arguments(text: str) -> Iterator[Span]:
    """Yields the secrets among the arguments of commands, and those piped to them."""
    for lead in _LEADS:
        for match in lead.finditer(text):
            start, end = match.span("secret")
            end = trimmed(text, start, end)
            if _ASSIGNED.match(text, start, end):
                continue  # its name decides whether it is a secret
            yield from secret_in(Word(plain(text[start:end]), start, end), 0)
    yield from _stdin(text)
    yield from _user_arguments(text)


# --- what is sent to a program's stdin ---

#: Programs that read a password from stdin.
_READS = (
    r"(?:-{1,2}password-stdin|sudo[ \t]+(?:-\w+[ \t]+)*-\w*S|--with-token|--passphrase-fd"
    r"|vault[ \t]+login|\bkinit\b|fd:0|-pass(?:in)?[ \t]+stdin|cryptsetup|az[ \t]+devops[ \t]+login"
    r"|docker[ \t]+secret[ \t]+create|secrets?[ \t]+(?:set|create|versions[ \t]+add)"
    r"|(?:ch|smb|\b)passwd\b|convertto-securestring|--pass(?:word)?-file[ =]-|cadaver|ansible-vault)"
)
_STDIN = re.compile(
    r"\b(?:echo|printf|write-output|cat[ \t]*<<<)(?:\.exe)?[ \t]+(?:-[neE]+[ \t]+)*(?:\S*%s\S*[ \t]+)?"
    rf"(?P<secret>\S+)(?:[ \t]+[^\s|]\S*){{0,1}}?[ \t]*\|[ \t]*(?=[^\n]{{0,400}}?{_READS})",
    re.IGNORECASE,
)
_BEFORE_PIPE = re.compile(r"(?P<secret>[^\s|(){}=]{1,300})[ \t]{0,9}\Z")
_PIPE = re.compile(r"\|[ \t]*+convertto-securestring", re.IGNORECASE)
_HERE = re.compile(
    rf"{_READS}[^\n|]{{0,80}}?<<<[ \t]*(?P<secret>\S+)",
    re.IGNORECASE,
)
_ACCOUNTS = re.compile(
    r"chpasswd[^\n]{0,80}?<<-?[ \t]*\\?(?P<end>\w+)[^\n]*\n(?P<lines>.{1,4000}?)(?:\n[ \t]*(?P=end)|\Z)",
    re.DOTALL,
)
_ACCOUNT = re.compile(r"^[ \t]*[\w.-]+:(?P<secret>[^\s:][^\r\n]*)", re.MULTILINE)


def _stdin(text: str) -> Iterator[Span]:
    if "|" not in text and "<<" not in text:
        return
    for pipe in _PIPE.finditer(text):
        if before := _BEFORE_PIPE.search(text, max(0, pipe.start() - 310), pipe.start()):
            yield from secret_in(Word(plain(before["secret"]), *before.span("secret")), 0)
    for pattern in (_STDIN, _HERE):
        for match in pattern.finditer(text):
            word = Word(plain(match["secret"]), *match.span("secret"))
            is_account = "chpasswd" in text[match.start() : match.end() + 400].lower()
            colon = word.text.find(":") if is_account else -1
            if word.text.startswith("(") or values.is_code(word.text):
                continue
            yield from secret_in(word, colon + 1 if colon >= 0 else 0)
    for match in _ACCOUNTS.finditer(text):
        for account in _ACCOUNT.finditer(text, *match.span("lines")):
            start, end = account.span("secret")
            if not values.is_reference(plain(text[start:end].strip())):
                yield start, end


_USER = re.compile(
    r"(?:^|(?<=[\s,;&|(\[{]))(?P<flag>-[a-zA-Z]{0,8}u|--user|--basic|--auth|-a)(?:\s*,\s*|\s+|=)?"
    r"(?P<name>[^\s:\"'/=,]{1,100}):(?P<secret>[^\s]+)"
)


def _user_arguments(text: str) -> Iterator[Span]:
    """curl -u user:password; but docker run -u app:app"""
    for match in _USER.finditer(text):
        before = text[max(0, match.start() - 300) : match.start()]
        command = re.split(r"[|;&\n]", before)[-1].lower()
        programs = {
            word.rsplit("/", 1)[-1].removesuffix(".exe")
            for word in re.findall(r"[\w./-]+", command)
        }
        word = Word(plain(match["secret"]), *match.span("secret"))
        end = trimmed(word.text, 0, len(word.text))
        value = word.text[:end]
        if value.startswith("//"):
            continue  # curl -u https://host
        if match["flag"] in ("-a", "--auth", "--basic") and not programs & _BASIC:
            continue
        if not programs & _BASIC:
            if (
                match["flag"] not in ("-u", "--user")
                or programs & _NO_BASIC
                or not values.is_secret(value, WEAK)
            ):
                continue
        elif re.fullmatch(r"\d{1,5}", value) and match["name"].isdigit():
            continue
        yield from secret_in(word, 0, end)
