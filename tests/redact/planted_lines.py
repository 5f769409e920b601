"""Lines that hold a secret, as people, programs and services write them; made of templates and values.

Nothing here is taken from the patterns that it is compared with: each line is as a manual has it.
"""

from __future__ import annotations

import base64
import html
import json
import random
import string
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from tests.redact.templates import TEMPLATES


class Planted(NamedTuple):
    """A line, the parts of its secret that may not be read afterwards, and the kind of the line."""

    kind: str
    line: str
    parts: tuple[str, ...]


def _random(of: random.Random, letters: str, count: int) -> str:
    return "".join(of.choice(letters) for _ in range(count))


def plain_value(of: random.Random) -> str:
    """A secret that a shell takes without quotes."""
    kind = of.randrange(6)
    if kind == 0:
        return (
            of.choice(["hunter", "Summer", "letmein", "Qwerty", "dragon"])
            + str(of.randrange(10, 9999))
            + "z"
        )
    if kind == 1:
        return _random(of, "0123456789abcdef", 32)
    if kind == 2:
        return "Z" + _random(of, string.ascii_letters + string.digits + "_.-", 14) + "9x"
    if kind == 3:
        return base64.b64encode(of.randbytes(33)).decode().replace("/", "A")
    if kind == 4:
        return "p4" + _random(of, string.ascii_letters + string.digits + "+_-.~", 18) + "Q7"
    return (
        _random(of, string.ascii_lowercase, 5)
        + "-"
        + _random(of, string.digits, 4)
        + "-"
        + _random(of, string.ascii_uppercase, 4)
    )


def quoted_value(of: random.Random) -> str:
    """A secret that only quotes keep together."""
    kind = of.randrange(4)
    if kind == 0:
        return "correct horse " + _random(of, string.ascii_lowercase + string.digits, 8)
    if kind == 1:
        return "P@ss;w0rd&" + _random(of, string.ascii_letters, 6)
    if kind == 2:
        return "größe#" + _random(of, string.digits, 6) + "!ü"
    return plain_value(of)


def _shapes(of: random.Random) -> Iterator[tuple[str, str]]:
    """Tokens that services give, bare in a text."""
    alnum = string.ascii_letters + string.digits
    hexa = "0123456789abcdef"
    upper = string.ascii_uppercase + "234567"
    word = alnum + "_-"
    yield "AWS", "AKIA" + _random(of, upper, 16)
    yield "AWS", "ASIA" + _random(of, upper, 16)
    yield "Google", "AIza" + _random(of, word, 35)
    yield "Google", "ya29." + _random(of, word, 60)
    yield "OpenAI", "sk-" + _random(of, alnum, 48)
    yield "OpenAI", "sk-proj-" + _random(of, word, 60)
    yield "Anthropic", "sk-ant-api03-" + _random(of, word, 80)
    yield "Stripe", "sk_live_" + _random(of, alnum, 24)
    yield "Stripe", "rk_live_" + _random(of, alnum, 24)
    yield "Stripe", "whsec_" + _random(of, alnum, 32)
    yield "Docker", "dckr_pat_" + _random(of, word, 27)
    yield "Databricks", "dapi" + _random(of, hexa, 32)
    yield "PyPI", "pypi-AgEIcHlwaS5vcmc" + _random(of, word, 80)
    yield "npm", "npm_" + _random(of, alnum, 36)
    yield "GitHub", "ghp_" + _random(of, alnum, 36)
    yield "GitHub", "github_pat_" + _random(of, alnum, 22) + "_" + _random(of, alnum, 59)
    yield "GitLab", "glpat-" + _random(of, word, 20)
    yield "SendGrid", "SG." + _random(of, word, 22) + "." + _random(of, word, 43)
    yield "Slack", "xoxb-" + _random(of, string.digits, 12) + "-" + _random(of, alnum, 24)
    yield (
        "Slack",
        "https://hooks.slack.com/services/T"
        + _random(of, upper, 8)
        + "/B"
        + _random(of, upper, 8)
        + "/"
        + _random(of, alnum, 24),
    )
    yield "Entra", _random(of, alnum, 3) + "8Q~" + _random(of, alnum + "_.~-", 34)
    yield "Azure DevOps", _random(of, "abcdefghijklmnopqrstuvwxyz234567", 52)
    yield "Azure DevOps", _random(of, alnum, 76) + "AZDO" + _random(of, alnum, 4)
    yield "Azure", base64.b64encode(of.randbytes(64)).decode()
    yield "Hugging Face", "hf_" + _random(of, alnum, 34)
    body = [
        base64.urlsafe_b64encode(x).decode().rstrip("=")
        for x in (
            b'{"alg":"HS256","typ":"JWT"}',
            b'{"sub":"%d"}' % of.randrange(10**9),
            of.randbytes(32),
        )
    ]
    yield "JWT", ".".join(body)
    yield "Vault", "hvs." + _random(of, alnum, 90)
    yield "DigitalOcean", "dop_v1_" + _random(of, hexa, 64)


SENTENCES = [
    "used {} for the call",
    "run.sh {} --fast",
    'log: "{}" refused',
    "value={}",
    "first line\n{}\nlast line",
    "https://example.org/{}",
]


def _fragments(secret: str) -> tuple[str, ...]:
    return tuple({secret, secret[-8:], secret[: max(8, len(secret) // 2)]})


def planted(seed: int = 20261130, each: int = 3) -> list[Planted]:
    """Every template with values of its own, every shape, and what is wrapped and joined."""
    of = random.Random(seed)
    lines = []
    for kind, templates in TEMPLATES.items():
        for template in templates:
            for _ in range(each):
                secret = quoted_value(of) if "{q}" in template else plain_value(of)
                lines.append(Planted(kind, template.format(s=secret, q=secret), _fragments(secret)))
    for _ in range(each):
        for _, token in _shapes(of):
            tail = token.rsplit("/", 1)[-1] if token.startswith("https") else token
            lines.append(Planted("shapes", of.choice(SENTENCES).format(token), _fragments(tail)))
        lines += _wrapped(of)
        lines += _joined(of)
    return lines


def _wrapped(of: random.Random) -> Iterator[Planted]:
    """Texts with a secret, encoded, escaped or wrapped at 64 or 76 letters."""
    for width in (64, 76):
        secret = plain_value(of)
        text = (
            f"#!/bin/sh\n# {_random(of, string.ascii_lowercase, 90)}\nexport DB_PASSWORD={secret}\n"
        )
        code = base64.b64encode(text.encode()).decode()
        rows = [code[i : i + width] for i in range(0, len(code), width)]
        yield Planted("wrapped", "echo\n" + "\n".join(rows) + "\n| base64 -d", tuple(rows[1:2]))
    secret = plain_value(of)
    text = f"tool --password {secret}"
    code = base64.b64encode(text.encode("utf-16-le")).decode()
    yield Planted("wrapped", f"powershell -EncodedCommand {code}", (code,))
    code = base64.b64encode(f'{{"password": "{secret}"}}'.encode()).decode()
    yield Planted("wrapped", f"settings: {code}", (code,))
    yield Planted(
        "wrapped", quote(f"https://x/?a=1&sig={secret}", safe=""), (quote(secret, safe=""),)
    )
    yield Planted("wrapped", html.escape(f'<add password="{secret}"/>'), (secret,))
    yield Planted("wrapped", json.dumps(json.dumps({"a": {"password": secret}})), (secret,))
    key = "\n".join(_random(of, string.ascii_letters + string.digits, 64) for _ in range(4))
    for label in ("RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"):
        pem = f"-----BEGIN {label}-----\n{key}\n-----END {label}-----"
        yield Planted("wrapped", pem, (key[:40], key[-40:]))
        yield Planted("wrapped", json.dumps({"file": pem}), (key[:40], key[-40:]))


def _joined(of: random.Random) -> Iterator[Planted]:
    """Values of adjacent parts and over lines, as shells join them."""
    one = _random(of, string.ascii_letters, 7) + "1"
    two = _random(of, string.ascii_letters, 7) + "2"
    for line in (
        f"tool --password '{one}'\"{two}\"",
        f"tool --password={one}'{two}'",
        f"mysqladmin -p'{one}'\"{two}\" ping",
        f"docker run -e NAME=\"{one}\"'{two}' img",
        f"tool --password {one}\\\n{two}",
        f"tool --password '{one}'\\''{two}'",
        f"curl -u me:'{one}'{two} https://x",
        f"export PASSWORD=\"{one} \"'{two}'",
        f"tool --password {one}\\ {two}",
        f"tool --token $'{one}\\'{two}'",
    ):
        yield Planted("joined", line, (one, two))
