"""Secrets as shells, markup languages, YAML and command-line tools write them around a text."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable

import pyarrow as pa
import pytest

from pipeline.redact import Redactor, redact_text
from tests.planted import SECRET, shows

#: What a start task or a message of one may well say.
TEXTS = [
    f"docker run -e 'NAME={SECRET} x' -e \"OTHER={SECRET} y\" image",
    f"PGPASSWORD='{SECRET}' psql",
    f"{{'password': '{SECRET}'}}",
    f"password => '{SECRET}'",
    f'$env:API_KEY = "{SECRET}"',
]
TOOLS = [
    f"password: |\n  {SECRET}\n",
    f"password: >-\n    {SECRET}",
    f"- name: DB_PASSWORD\n  value: {SECRET}",
    f'{{"name": "DB_PASSWORD", "value": "{SECRET}"}}',
    f'{{\\"name\\": \\"DB_PASSWORD\\", \\"value\\": \\"{SECRET}\\"}}',
    f'<add key="DbPassword" value="{SECRET}"/>',
    f'<password encrypted="false">{SECRET}</password>',
    f"setx DB_PASSWORD {SECRET}",
    f"aws configure set aws_secret_access_key {SECRET}",
    f"Cookie: session={SECRET}; other={SECRET}",
    f"Set-Cookie: ARRAffinity={SECRET}; path=/",
    f"sqlcmd -S server -U me -P {SECRET}",
    f"bcp table in file -S server -U me -P{SECRET}",
    f"unzip -P {SECRET} archive.zip",
    f"redis-cli -a {SECRET} ping",
    f"mongosh -u me -p {SECRET}",
    f"dotnet nuget add source -u me -p {SECRET}",
    f"twine upload -p {SECRET}",
    f"plink -pw {SECRET} me@host",
]


def _single_quoted(text: str) -> str:
    """As an argument of bash -c: a quote inside single quotes ends them for its own length."""
    return "bash -c '" + text.replace("'", "'\\''") + "'"


def _other_single_quoted(text: str) -> str:
    return "bash -c '" + text.replace("'", "'\"'\"'") + "'"


def _is_masked(text: str) -> bool:
    """Whether nothing shows, masking again changes nothing, and a column is masked as a text is."""
    masked = redact_text(text)
    column = Redactor().column(pa.array([text]))
    return not shows(masked) and redact_text(masked) == masked and column.to_pylist() == [masked]


@pytest.mark.parametrize(
    "wrapped", [str, _single_quoted, _other_single_quoted, html.escape, json.dumps]
)
@pytest.mark.parametrize("text", TEXTS[:3])
def test_quotes_within_quotes_end_where_they_began(
    wrapped: Callable[[str], str], text: str
) -> None:
    """The inner quote, as a shell or a page writes it, is not taken for the end of the value."""
    assert _is_masked(wrapped(text))


@pytest.mark.parametrize("text", [*TEXTS, *TOOLS])
def test_what_tools_and_formats_call_a_secret(text: str) -> None:
    """Names beside values, values on the next line, flags of one letter of known tools."""
    assert _is_masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "the cookie was refused",
        "name: render value: 5",
        '{"name": "PATH", "value": "/usr/bin"}',
        "mysql -P 3306",
        "unzip archive.zip",
        "<br/><keyboard layout='us'/>",
        "say 'it'\\''s fine'",
    ],
)
def test_what_is_no_secret_comes_back_as_it_was(text: str) -> None:
    """Words that only look like the beginning of one."""
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "piece",
    ["name: ", "key='", "sqlcmd ", "redis-cli -", "password='\\''", "<key ", "cookie:", "setx "],
)
def test_the_cost_of_a_long_text_is_its_length(piece: str) -> None:
    """However often a secret seems to begin in it: a second is many times what it takes."""
    begun = time.process_time()
    redact_text(piece * (100_000 // len(piece)))
    assert time.process_time() - begun < 5
