"""Secrets to plant: every kind that the design names, the ways they may be wrapped, and the search."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa

from pipeline.flatten.columns import Report

SECRET = "hunter2hunter2"
KEY = "A1b2C3d4/+" * 8 + "A1b2C3=="  # the form of a storage account's key: 88 letters

#: Every kind of secret that the design names, as it is in text.
PLANTS = [
    f"https://acct.blob.core.windows.net/c?sv=2022-11-02&sig={SECRET}%2Bx%3D&se=2026-01-01",
    f"?sig={SECRET}",
    rf"https:\/\/acct\/c?sv=1\u0026sig={SECRET}\u0026se=2",
    rf"sv\u003d1\u0026sig\u003d{SECRET}",
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET};EndpointSuffix=x",
    f"Endpoint=sb://x/;SharedAccessKeyName=Root;SharedAccessKey={SECRET}",
    f"https://user:{SECRET}@example.com/x",
    f"https://{SECRET}@example.com/x",
    f"postgres://me:{SECRET}@db:5432/x",
    f"Authorization: Bearer {SECRET}",
    f"authorization: Custom {SECRET}",
    f'{{"Authorization": "SharedKey acct:{SECRET}"}}',
    f"bearer {SECRET}",
    f"--password {SECRET}",
    f"--password={SECRET}",
    f"--admin-password '{SECRET} and more'",
    f"--account-key {SECRET}",
    f'["--token", "{SECRET}"]',
    f"--sas-token\n{SECRET}",
    f'--password \\"{SECRET}\\"',
    f"cmdkey /add:server /user:me /pass:{SECRET}",
    f"net use Z: \\\\acct.file.core.windows.net\\share /user:AZURE\\acct {SECRET}",
    f"net use Z: \\\\server\\share {SECRET} /user:me",
    f"docker login -u me -p {SECRET} registry.example.com",
    f"sshpass -p '{SECRET}' ssh me@host",
    f"mysql -uroot -p{SECRET} db",
    f"curl -u me:{SECRET} https://example.com",
    f"docker run -e NAME={SECRET} image",
    f"docker run -e 'NAME=a {SECRET}' image",
    f'docker run -e "NAME=a \\"quoted\\" {SECRET}" image',
    f'docker run -e NAME=a"b {SECRET}" image',
    f"docker run -eNAME={SECRET} -it image",
    f"docker run -ite NAME={SECRET} image",
    f"docker run --env NAME={SECRET} image",
    f"docker run --env=NAME={SECRET} image",
    f"export DB_PASSWORD={SECRET}",
    f"PASSWORD_PROD={SECRET}",
    f"password=a\\ {SECRET}",
    f'password="{SECRET}\\',
    f'{{"password": "{SECRET}", "user": "me"}}',
    f'{{\\"clientSecret\\": \\"{SECRET}\\"}}',
    f'{{\\\\\\"password\\\\\\": \\\\\\"a {SECRET}\\\\\\"}}',
    f"<password>{SECRET}</password>",
    f"x-api-key: {SECRET}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    f"s\u0131g={SECRET}",  # letters that Python takes for others where case is ignored
    f"--password\u00a0{SECRET}",
    f"\u00a0-e NAME={SECRET}",
]


def _encoded(text: str, encoding: str = "utf-8") -> str:
    return base64.b64encode(text.encode(encoding)).decode()


def _quoted(text: str) -> str:
    return quote(text, safe="")


#: The ways a text may be wrapped before it gets into another.
ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "percent": _quoted,
    "percent, slashes kept": quote,
    "percent twice": lambda text: _quoted(_quoted(text)),
    "percent thrice": lambda text: _quoted(_quoted(_quoted(text))),
    "base64": _encoded,
    "base64 for URLs": lambda text: re.sub(
        "=*$", "", base64.urlsafe_b64encode(text.encode()).decode()
    ),
    "base64 of UTF-16": lambda text: _encoded(text, "utf-16-le"),
    "base64 of UTF-16 with its mark": lambda text: _encoded(text, "utf-16"),
    "base64 of base64": lambda text: _encoded(_encoded(text)),
    "base64 of percent": lambda text: _encoded(_quoted(text)),
    "percent of base64": lambda text: _quoted(_encoded(text)),
    "base64 in a path": lambda text: f"path/to/{_encoded(text)}",
    "base64 cut off": lambda text: re.sub("=*$", "", _encoded(text + " ")),
}


def readings(text: str, depth: int = 4) -> Iterator[str]:
    """A text, and what it may be decoded to: percent and base64, in any order."""
    yield text
    if not depth:
        return
    if (plain := unquote(text)) != text:
        yield from readings(plain, depth - 1)
    for word in re.findall(r"[A-Za-z0-9+/_-]{8,}", text):
        for start in {0, *(at.end() for at in re.finditer("[/_-]", word[:40]))}:
            piece = word[start:].replace("-", "+").replace("_", "/")
            try:
                data = base64.b64decode(piece + "=" * (-len(piece) % 4))
            except binascii.Error:
                continue
            decoded = data.decode("utf-8", "replace") + "|" + data.decode("utf-16-le", "replace")
            if SECRET[:6] in decoded or re.search("[A-Za-z0-9+/%]{12}", decoded):
                yield from readings(decoded, depth - 1)


def shows(text: str, secret: str = SECRET) -> bool:
    """Whether a secret can be read in a text, or in what it decodes to."""
    return any(secret.lower() in reading.lower() for reading in readings(text))


def strings(value: Any) -> Iterator[str]:
    """Every string in a value, names of members too; JSON in strings is opened."""
    if isinstance(value, str):
        yield value
        if value[:1] in {"{", "["}:
            with contextlib.suppress(ValueError):
                yield from strings(json.loads(value))
    elif isinstance(value, dict):
        for name, x in value.items():
            yield from strings(name)
            yield from strings(x)
    elif isinstance(value, list | tuple):
        for x in value:
            yield from strings(x)


def leaks(*produced: Any, secret: str = SECRET) -> set[str]:
    """The texts of tables, rows and reports in which a secret can be read."""
    found = set()
    for each in produced:
        if isinstance(each, pa.Table):
            each = each.to_pylist()
        elif isinstance(each, Report):
            each = [*each.unknown_fields, *each.unknown_enum_values, *each.problems]
        found |= {text for text in set(strings(each)) if shows(text, secret)}
    return found
