"""A fast filter for texts that may hold a secret: one RE2 pattern over a whole column at once."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

from pipeline.redact.encoded import AT_ONCE, QUAD
from pipeline.redact.shapes import SHAPES

# These must match every word of ``names`` and every program of ``tools``.
_NAMES = (
    r"pass|pwd|secret|token|cred|signature|key|sas|sig|bearer|authorization|cookie|jwt|dsn|conn(?:ection)?str"
    r"|kubeconfig|kennwort|contrase|senha|motdepasse|wachtwoord|psk|pfx|pkcs12|kdbx|pincode|identified|licen[cs]e"
)
_SHORT = "auth auths pat pats pem cert certs pw p12 salt".split()
_ENDED = "|".join(
    (
        rf"(?:{'|'.join(f'[{word[0].upper()}{word[0]}]{word[1:]}' for word in _SHORT)})(?:[^a-z]|$)",
        rf"(?:{'|'.join(word.upper() for word in _SHORT)})(?:[^A-Za-z]|$)",
    )
)
_PROGRAMS = (
    r"login|net1?(?:\.exe)?[^!-~]|net1?(?:\.exe)?[\"',]|mysql|mycli|mytop|maria|xtrabackup|mongo|nuget|twine|sqlcmd|bcp|osql|tsql|isql"
    r"|zip|redis-cli|7z|rar[^a-z]|arj|schtasks|ldap|smb|rpcclient|winexe|wmic|wbinfo|cadaver|sqlplus"
    r"|sqlldr|rman|expdp|impdp|vault|psexec|paexec|ipmitool|mosquitto|cqlsh|beeline|winrm|mapexec|netexec"
    r"|nxc|snmp|usermod|useradd|adduser|ncftp|rdesktop|hydra|openssl|plink|pscp|psftp|putty|doctl|signtool"
    r"|freerdp|tasklist|taskkill|systeminfo|driverquery|gpresult|getmac|openfiles|eventcreate|certutil"
    r"|lftp|ngrok|rclone|user-secrets|snyk|codecov|railway|bundle|composer|poetry|alias[^!-~]+set|host[^!-~]+add"
    r"|choco|cpush|cifs|ftp|art-?api|securevalue|authenticate ?\(|/t/"
    r"|[^!-~]/u(?:ser(?:name)?)?:|--from-literal|environment-var|kinit|ssh-keygen|cryptsetup|put-parameter|curl|secrets?[^!-~]|sudo|securestring"
)
_FORMS = (
    r"-----begin|://[^/\s]*@|jdbc:oracle|[?&]code|aws|basic[^!-~]"
    r"|hooks\.slack|discord|webhook|api\.telegram"
    r"|:(?:[0-9]{3,5}|\*):[^\s:]+:[^\s:]+:"
    r"|(?:^|[^a-z0-9])-(?:[dit]{0,3}e|-env|-build|u|a|-user|-proxy|-basic)"
    # escapes, continued lines and adjacent parts may hide a name
    r"|%[0-9a-f]{2}|&\#|&[a-z]{2,24}[0-9]{0,2};|\\[ux][0-9a-f]{2}|[\\`^]\r?\n|[a-z][\"'][a-z]*[\"'][a-z]"
)


def _loose(shape: str) -> str:
    """A shape with shorter runs, which costs RE2 less."""
    return re.sub(r"\{(\d+)(?:,\d*)?\}", lambda run: f"{{{min(int(run[1]), 6)},}}", shape)


#: Matches every ASCII text in which the rules find something.
_HINTS = (
    rf"(?i:{_NAMES}|{_PROGRAMS}|{_FORMS})|{_ENDED}|{'|'.join(map(_loose, SHAPES[:-1]))}"
    r"|[A-Za-z0-9+/]==|(?:^|[^A-Za-z0-9])[a-z2-7]{52}"
)
#: A superset of the above, cheap enough to run over every value: what it does not match has nothing to
#: redact (a property test holds the two together). The letters at its end are those that Python takes
#: for an i, a k or an s where case is ignored, and words for a password in other scripts.
GATE = (
    rf"{_HINTS}|(?:^|[^A-Za-z0-9]){AT_ONCE}|(?:{QUAD}){{4}}"
    r"|[\x{130}\x{131}\x{17f}\x{212a}]|пароль|密码|パスワード"
)
# Arrow has RE2 too, but compiles the pattern in each call: twice the time.
_OPTIONS = re2.Options()
_OPTIONS.max_mem = 64 << 20
_GATE = re2.compile(GATE.encode(), _OPTIONS)
_HINT = re2.compile(_HINTS.encode(), _OPTIONS)


def may_hold(text: str) -> bool:
    """Returns whether the rules may find something in a text."""
    return not text.isascii() or _HINT.search(text.encode()) is not None


def lets_through(text: str) -> bool:
    """Returns whether a text passes the filter: cheaper than the rules, for bytes that are not text."""
    return _GATE.search(text.encode("utf-8", "replace")) is not None


def suspects(texts: pa.StringArray) -> Iterator[str]:
    """Yields the texts that pass the filter, and maybe others; the texts have no nulls.

    They are searched as one text of lines: starting a match costs more than matching a short value.
    """
    lines = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    text = pc.binary_join(lines, "\n")[0].as_buffer()
    match = _GATE.search(text)
    if match is None:
        return
    lengths = pc.binary_length(texts).to_numpy()
    ends = np.cumsum(lengths + 1) - 1
    while match is not None:
        # A match begins in its value, or with the line break before it.
        index = int(np.searchsorted(ends, match.start(), "right"))
        yield texts[index].as_py()
        match = _GATE.search(text, int(ends[index]))
