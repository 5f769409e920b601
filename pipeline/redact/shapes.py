"""Finds secrets by their shape: the prefix of a service, a length, a checksum.

The rules of gitleaks cover more services, but few command lines or names; they need context before a
secret, and are 200 patterns where these are one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Patterns without lookarounds, for RE2 too; each begins at the start of a word.
SHAPES = (
    # clouds
    r"A(?:KIA|SIA|BIA|CCA|GPA|IDA|IPA|NPA|NVA|ROA|PKA|SCA|3T[A-Z0-9])[A-Z0-9]{16}",
    r"AIza[\w-]{30,}",
    r"ya29\.[\w-]{16,}",
    r"GOCSPX-[\w-]{20,}",
    r"1//0[\w-]{30,}",
    r"[\w~.-]{3}[0-9]Q~[\w~.-]{31,34}",
    r"do[opr]_v1_[0-9a-f]{40,}",
    r"LTAI[A-Za-z0-9]{12,24}",
    r"AKID[A-Za-z0-9]{13,40}",
    r"dapi[0-9a-f]{32}(?:-[0-9])?",
    r"HRKU-[\w-]{30,}",
    r"hv[sbr]\.[\w-]{20,}",
    r"[A-Za-z0-9]{10,20}\.atlasv1\.[\w=-]{40,}",
    r"pul-[0-9a-f]{40}",
    r"dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{20,}",
    # forges and registries
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_\w{20,}",
    r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas|ffct)-[\w.-]{16,}",
    r"AT(?:ATT3|CTT3|BB|SSO)[\w=.-]{20,}",
    r"npm_[A-Za-z0-9]{20,}",
    r"pypi-[\w-]{32,}",
    r"dckr_(?:pat|oat)_[\w-]{16,}",
    r"rubygems_[0-9a-f]{40,}",
    r"oy2[a-z0-9]{43}",
    r"cio[A-Za-z0-9]{32}",
    r"AKCp[A-Za-z0-9]{50,}",
    # models
    r"sk-(?:ant|proj|svcacct|admin|or|lf)-[\w-]{16,}",
    r"sk-[A-Za-z0-9]{20,}",
    r"hf_[A-Za-z0-9]{20,}",
    r"(?:gsk|r8|pplx|xai|tvly|fw|csk|nvapi|jina|lsv2|esecret|co)[_-][A-Za-z0-9_-]{30,}",
    # payments, mail, chat
    r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}",
    r"whsec_[A-Za-z0-9+/=_-]{20,}",
    r"sq0(?:atp|csp|idp)-[\w-]{20,}",
    r"shp(?:at|ca|pa|ss|ua)_[A-Fa-f0-9]{32}",
    r"SG\.[\w-]{16,}\.[\w-]{16,}",
    r"key-[0-9a-f]{32}",
    r"[0-9a-f]{32}-us[0-9]{1,2}",
    r"xkeysib-[0-9a-f]{32,}-\w+",
    r"SK[0-9a-f]{32}",
    r"xox[abceoprs](?:\.xox[bp])?-[\w-]{10,}",
    r"xapp-[0-9]-[\w-]{20,}",
    r"[0-9]{8,10}:AA[\w-]{32,}",
    r"[MNO][A-Za-z0-9_-]{23,27}\.[\w-]{6}\.[\w-]{27,}",
    # others
    r"(?:glsa|glc|sntrys|sntryu|lin_api|ntn|secret|PMAK|NRAK|NRAL|NRII|nfp|sbp|pscale_(?:tkn|pw|oauth)|figd|fo1"
    r"|ghu|dop|ops|tskey(?:-auth|-api|-client)?|phc|phx|rdme|vercel|sl|napi|dnkey|doo|prefect|p8e|EAA|b2)[_-][A-Za-z0-9_=+/-]{28,}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{50,}",
    r"FlyV1 fm[0-9][\w-]*_[A-Za-z0-9+/=]{40,}",
    r"\$(?:1|2[abxy]?|5|6|7|y|argon2(?:i|d|id))\$[./A-Za-z0-9$=,+-]{20,}",
    # web tokens, keys of Azure that carry their service's sign, storage account keys
    r"eyJ[\w-]{8,}(?:\.[\w-]+)+\.?",
    r"[A-Za-z0-9]{52}JQQJ9[A-Za-z0-9]{27}",
    r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}",
    r"[A-Za-z0-9+/_-]{28,80}(?:\+(?:ASt|ABa|ACR[A-D]|AMC|ASb|AEh|ARm)|AzSe|AzFu|AzCa|ACDb|AIoT|AzEG)[A-Za-z0-9+/_-]{4,12}={0,2}",
    r"[A-Za-z0-9+/]{86}==",
)
_SHAPE = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(SHAPES)})", re.ASCII)
_HOOK = re.compile(
    r"hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/(?P<secret>[\w/-]{8,})"
    r"|discord(?:app)?\.com/api/webhooks/\d+/(?P<discord>[\w-]{16,})"
    r"|(?:webhook\.office|outlook\.office)\.com/webhook(?:b2)?/(?P<teams>[\w@/-]{16,})"
    r"|api\.telegram\.org/bot(?P<telegram>[\w:-]{16,})",
    re.ASCII,
)
# 52 letters of base32 are an older token of Azure DevOps, 40 of base64 near an access key id its secret.
_BASE32 = re.compile(r"(?<![A-Za-z0-9])[a-z2-7]{52}(?![A-Za-z0-9])")
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+=_-])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=_-])")
_AWS_NEAR = re.compile(r"A(?:KIA|SIA)[A-Z0-9]{12}|\baws\b|aws_|secret", re.IGNORECASE)


def known(text: str) -> Iterator[tuple[int, int]]:
    """Yields the spans of secrets with a known shape."""
    for match in _SHAPE.finditer(text):
        if _is_meant(match.group()):
            yield match.span()
    for match in _HOOK.finditer(text):
        yield match.span(match.lastgroup or 0)
    for match in _BASE32.finditer(text):
        if len(set(match.group())) > 12 and re.search("[2-7]", match.group()):
            yield match.span()
    if _AWS_NEAR.search(text):
        for match in _AWS_SECRET.finditer(text):
            word = match.group()
            if re.search("[A-Z]", word) and re.search("[a-z]", word) and re.search("[0-9]", word):
                yield match.span()


def _is_meant(word: str) -> bool:
    """Whether a word is as random as a secret, and not a name such as ``sk-learn-…``."""
    return any(map(str.isdigit, word)) or word.startswith("eyJ") or not word.islower()
