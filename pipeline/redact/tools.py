"""Finds passwords of programs with their own syntax: one-letter flags, positions, stdin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from pipeline.redact import values
from pipeline.redact.names import secrecy
from pipeline.redact.rules import trimmed
from pipeline.redact.views import plain
from pipeline.redact.words import Word, secret_in

Span = tuple[int, int]


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


#: (programs, flags whose value is attached or follows), from their manuals.
_ATTACHED_OR_NEXT = (
    (
        _words("sshpass mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat"),
        ("-p",),
    ),
    (
        _words(
            "sqlcmd bcp osql tsql zip unzip zipcloak zipnote ipmitool mosquitto_pub mosquitto_sub"
        ),
        ("-P",),
    ),
    (_words("redis-cli"), ("-a",)),
    (
        _words(
            "ldapsearch ldapadd ldapmodify ldapdelete ldapcompare ldapmodrdn ldapexop ldapwhoami"
        ),
        ("-w",),
    ),
    (_words("ldappasswd"), ("-w", "-s", "-a")),
    (
        _words(
            "psexec psexec64 paexec pskill cqlsh beeline twine evil-winrm crackmapexec netexec nxc"
        ),
        ("-p",),
    ),
    (_words("ssh-keygen"), ("-N", "-P")),
    (_words("snmpwalk snmpget snmpset snmpbulkwalk snmptrap"), ("-A", "-X")),
    (_words("usermod useradd adduser mkpasswd"), ("-p", "--password")),
    (_words("kinit.exe ncftpput ncftpget rdesktop wbadmin nsupdate hydra"), ("-p",)),
    (_words("openssl"), ("-k ", "-K ")),
    (_words("plink pscp psftp putty"), ("-pw",)),
    (_words("doctl"), ("-t",)),
)
#: Flags with an attached value only: without it the program asks, and the next word is another argument.
_ATTACHED = (
    (
        _words(
            "mysql mysqladmin mysqldump mysqlimport mysqlshow mysqlcheck mysqlbinlog mysqlslap mysqlpump"
            " mysqlsh mycli mariadb mariadb-admin mariadb-dump mariadb-import mariadb-show mariadb-check"
            " mariadb-backup mariabackup xtrabackup mysql_upgrade mytop mysqlhotcopy"
        ),
        "-p",
    ),
    (_words("7z 7za 7zr 7zz 7zip rar unrar winrar arj"), "-p"),
    (_words("rar winrar"), "-hp"),
)
_SLASHES = (
    (_words("schtasks"), _words("/rp /p")),
    (_words("signtool"), _words("/p")),
    (_words("xfreerdp wfreerdp xfreerdp3 sdl-freerdp"), _words("/p")),
    (_words("osql bcp"), _words("/p")),
    (
        _words("tasklist taskkill systeminfo driverquery gpresult getmac openfiles eventcreate"),
        _words("/p"),
    ),
)
_ASSIGNED = re.compile(r"(?P<name>[\w.-]{1,80})=(?P<value>\S+)")
_COMMAND = re.compile(r"(?:(?!&&|\|\||;(?:\s|\Z)|\|(?:\s|\Z)|\r?\n)[\s\S])+")
_RUN = re.compile(r"\S+")
_TOOL = re.compile(
    r"(?<![^\s/\\,;&|(\[{@>=:`-])(?P<tool>sshpass|mongo\w*|sqlcmd|bcp|osql|tsql|zip\w*|unzip|ipmitool|mosquitto_\w+|redis-cli|ldap\w+"
    r"|psexec\w*|paexec|cqlsh|beeline|twine|evil-winrm|crackmapexec|netexec|nxc|ssh-keygen|snmp\w+|usermod|useradd"
    r"|adduser|mkpasswd|ncftp\w+|rdesktop|hydra|openssl|plink|pscp|psftp|putty|doctl|mysql\w*|mycli|mytop|maria\w+(?:-\w+)?"
    r"|xtrabackup|7z\w*|rar|unrar|winrar|arj|schtasks|signtool|[wx]freerdp3?|sdl-freerdp|tasklist|taskkill|systeminfo|driverquery"
    r"|gpresult|getmac|openfiles|eventcreate|htpasswd|net1?|smb\w+|rpcclient|winexe|wmic|wbinfo|cadaver|sqlplus|sqlldr|rman|exp|imp"
    r"|expdp|impdp|rclone|az|login|nuget|dotnet|certutil|vault|kubectl|lftp|keytool|isql|curl|choco|cpush)(?:\.exe)?(?=[\s,]|\Z)",
    re.IGNORECASE,
)


def commands(text: str) -> Iterator[Span]:
    """Yields passwords of programs that rules for names miss."""
    if _TOOL.search(text):
        for match in _COMMAND.finditer(text):
            if _TOOL.search(text, *match.span()):
                yield from _command(text, *match.span())


def _command(text: str, start: int, end: int) -> Iterator[Span]:
    words = []
    for run in _RUN.finditer(text, start, end):
        first, last = run.span()
        while first < last and text[first] in ",[({":
            first += 1
        last = trimmed(text, first, last)
        if last > first:
            words.append(Word(plain(text[first:last]), first, last))
    met: set[str] = set()
    for index, word in enumerate(words[:-1]):
        tool = re.split(r"[/\\=:(@`]", word.text.lower())[-1].removesuffix(".exe")
        if tool not in met:  # what follows the first of its name follows the others too
            met.add(tool)
            yield from _program(tool, words[index + 1 :], words[:index])


def _program(tool: str, rest: list[Word], before: list[Word]) -> Iterator[Span]:
    for tools, flags in _ATTACHED_OR_NEXT:
        if tool in tools:
            for flag in flags:
                yield from _flag(rest, flag)
    for tools, flag in _ATTACHED:
        if tool in tools:
            yield from _flag(rest, flag, may_follow=False)
    for tools, slashes in _SLASHES:
        if tool in tools:
            yield from _slash(rest, slashes)
    if tool == "login" and before:
        yield from _flag(rest, "-p")
    if handler := _HANDLERS.get(tool):
        yield from handler(rest)
    if tool.startswith("smb") or tool in ("rpcclient", "winexe", "wmic", "wbinfo", "net"):
        yield from _percent(rest)


def _flag(words: list[Word], flag: str, may_follow: bool = True) -> Iterator[Span]:
    is_alone = flag.endswith(" ")
    flag = flag.rstrip()
    for index, word in enumerate(words):
        if word.text == flag:
            if may_follow and index + 1 < len(words):
                yield from secret_in(words[index + 1], 0)
        elif not is_alone and word.text.startswith(flag) and not word.text.startswith("--"):
            attached = word.text[len(flag) :]
            start = len(flag) + (attached[0] in "=:")
            if attached.isalpha() and attached.lower() in (
                "rotocol",
                "ort",
                "ath",
                "rint",
                "retty",
                "rogress",
                "w",
            ):
                continue
            yield from secret_in(word, start)


def _slash(words: list[Word], flags: frozenset[str]) -> Iterator[Span]:
    for index, word in enumerate(words):
        name, colon, value = word.text.partition(":")
        if name.lower() in flags:
            if colon and value:
                yield from secret_in(word, len(name) + 1)
            elif index + 1 < len(words) and not words[index + 1].text.startswith("/"):
                yield from secret_in(words[index + 1], 0)


def _percent(words: list[Word]) -> Iterator[Span]:
    """smbclient -U user%password"""
    for index, word in enumerate(words):
        for flag in ("--user", "-U"):
            if word.text.startswith(flag):
                attached = word.text[len(flag) :].lstrip("=")
                target = word if attached else words[index + 1] if index + 1 < len(words) else None
                if target is not None and "%" in target.text.rstrip("%"):
                    yield from secret_in(target, target.text.index("%") + 1)
                break


def _places(words: list[Word]) -> list[Word]:
    """The positional arguments."""
    return [word for word in words if not word.text.startswith("-")]


def _htpasswd(words: list[Word]) -> Iterator[Span]:
    flags = "".join(word.text[1:] for word in words if re.fullmatch(r"-[A-Za-z0-9]+", word.text))
    places = _places(words)
    if "b" in flags and len(places) >= 2:
        yield from secret_in(places[1 if "n" in flags or len(places) == 2 else 2], 0)


def _net(words: list[Word]) -> Iterator[Span]:
    """net user NAME PASSWORD /add; net use Z: \\\\server\\share PASSWORD /user:me"""
    verb = words[0].text.lower()
    places = [word for word in words[1:] if not word.text.startswith("/") and word.text != "*"]
    if verb == "user" and len(places) >= 2:
        yield from secret_in(places[1], 0)
    elif verb == "use":
        shares = (r"\\", "//", "\\")
        for word in places:
            is_drive = re.fullmatch(r"[A-Za-z]:", word.text) is not None
            if not is_drive and not word.text.startswith(shares) and not values.is_path(word.text):
                yield from secret_in(word, 0)
                break


def _sqlplus(words: list[Word]) -> Iterator[Span]:
    """sqlplus user/password@database"""
    for word in words:
        match = re.match(
            r"(?:userid=)?[\w$#.-]+/(?P<secret>[^\s/@][^\s@]*)", word.text, re.IGNORECASE
        )
        if match and not word.text.startswith(("-", "/")):
            yield from secret_in(word, match.start("secret"), match.end("secret"))


def _isql(words: list[Word]) -> Iterator[Span]:
    places = _places(words)
    if len(places) >= 3:
        yield from secret_in(places[2], 0)


def _nuget(words: list[Word]) -> Iterator[Span]:
    if any(word.text.lower() in ("source", "sources", "push", "add") for word in words):
        yield from _flag([w for w in words if not w.text.startswith("-p:")], "-p")
        if any(word.text.lower() == "push" for word in words):
            yield from _flag(words, "-k")


def _dotnet(words: list[Word]) -> Iterator[Span]:
    if words[0].text.lower() == "nuget":
        yield from _nuget(words)


def _certutil(words: list[Word]) -> Iterator[Span]:
    yield from _flag(
        [word for word in words if word.text == "-p" or not word.text.startswith("-p")], "-p"
    )


def _vault(words: list[Word]) -> Iterator[Span]:
    """vault kv put secret/app name=value"""
    verbs = [word.text for word in words[:2]]
    if "put" in verbs or "patch" in verbs or verbs[0] in ("write", "login"):
        for word in words:
            match = _ASSIGNED.fullmatch(word.text)
            if match and not match["value"].startswith("@") and not match["name"].startswith("-"):
                name = match["name"].lower()
                if verbs[0] in ("write", "login") and name not in ("value", "data", "token", "key"):
                    continue
                yield from secret_in(word, match.start("value"))


def _kubectl(words: list[Word]) -> Iterator[Span]:
    for index, word in enumerate(words):
        if word.text.startswith("--from-literal"):
            target = (
                words[index + 1] if word.text == "--from-literal" and words[index + 1 :] else word
            )
            match = re.match(r"(?:--from-literal=)?[\w.-]+=", target.text)
            if match and match.end() < len(target.text):
                yield from secret_in(target, match.end())


def _az(words: list[Word]) -> Iterator[Span]:
    """az sql server create -u me -p password; elsewhere -p is a plan or a path"""
    if any(word.text in ("-u", "--username", "--admin-user", "--user") for word in words):
        yield from _flag(words, "-p ")


def _rclone(words: list[Word]) -> Iterator[Span]:
    """rclone config create remote sftp pass password"""
    if words[0].text == "config":
        for name, word in pairwise(words):
            if secrecy(name.text):
                yield from secret_in(word, 0)


def _lftp(words: list[Word]) -> Iterator[Span]:
    for index, word in enumerate(words[:-1]):
        if word.text == "-u" and "," in words[index + 1].text:
            yield from secret_in(words[index + 1], words[index + 1].text.index(",") + 1)


def _curl(words: list[Word]) -> Iterator[Span]:
    for index, word in enumerate(words):
        for flag in ("--cert", "-E", "--proxy-user", "-U"):
            target = word if word.text.startswith(flag + "=") else None
            if word.text == flag and index + 1 < len(words):
                target = words[index + 1]
            if target is not None:
                match = re.search(r"(?<=[^:/\\=])(?<!^[A-Za-z]):(?=[^\\/])", target.text)
                if match:
                    yield from secret_in(target, match.end())
    for name, word in pairwise(words):
        if name.text in ("-b", "--cookie") and "=" in word.text:  # else it names a file
            yield from secret_in(word, word.text.index("=") + 1)


def _choco(words: list[Word]) -> Iterator[Span]:
    """choco push a.nupkg -k=key; choco install a -u=me -p password; but --params and -params"""
    short = [w for w in words if not w.text.startswith(("-pa", "-pr")) or "=" in w.text[:3]]
    for flag in ("-k", "-p"):
        yield from _flag(short, flag)


_HANDLERS: dict[str, Callable[[list[Word]], Iterator[Span]]] = {
    "htpasswd": _htpasswd,
    "net": _net,
    "net1": _net,
    **dict.fromkeys(("sqlplus", "sqlldr", "rman", "exp", "imp", "expdp", "impdp"), _sqlplus),
    "isql": _isql,
    "nuget": _nuget,
    "dotnet": _dotnet,
    "certutil": _certutil,
    "vault": _vault,
    "kubectl": _kubectl,
    "lftp": _lftp,
    "az": _az,
    "rclone": _rclone,
    "curl": _curl,
    "choco": _choco,
    "cpush": _choco,
}
