"""What holds of any secret, in whatever quotes, parts, lines and escapes it is written."""

from __future__ import annotations

import html
import json
import string
import time
from urllib.parse import quote

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.redact import Redactor, redact_text
from tests.redact.test_scores import HARMLESS

SETTINGS = settings(deadline=None, max_examples=250, suppress_health_check=[*HealthCheck])
LETTERS = string.ascii_letters + string.digits
#: A piece of a secret that can be distinguished from all else in the line.
PIECE = st.text(LETTERS, min_size=6, max_size=12).map(lambda text: f"q{text}7")
#: Where a secret is: each is followed by a word of a shell.
BEFORE = st.sampled_from(
    [
        "tool --password ",
        "tool --password=",
        "PGPASSWORD=",
        "export API_TOKEN=",
        "docker run -e NAME=",
        "mysqladmin -p",
        "sshpass -p ",
        "curl -u me:",
        "tool --client-secret ",
    ]
)


def _single(text: str) -> str:
    return f"'{text}'"


def _double(text: str) -> str:
    return f'"{text}"'


#: How a shell lets a part of a word be written.
WRITTEN = st.sampled_from(
    [
        str,
        _single,
        _double,
        lambda text: f"$'{text}'",
        lambda text: _single(text + " x"),
        lambda text: _double(text + ";&"),
    ]
)
#: What may stand between two parts of one word.
BETWEEN = st.sampled_from(["", "\\\n", "\\ ", "''", '""', "\\'", "\\$", "-", "+"])
WORD = st.lists(st.tuples(PIECE, WRITTEN, BETWEEN), min_size=1, max_size=4)


@given(BEFORE, WORD, st.sampled_from([" --verbose", "", "\nnext line", " && ls"]))
@SETTINGS
def test_no_part_of_a_word_survives(before, parts, after) -> None:
    """Quotes, parts side by side and continued lines make one word, and all of it is masked."""
    word = "".join(write(piece) + between for piece, write, between in parts[:-1])
    word += parts[-1][1](parts[-1][0])
    shown = redact_text(before + word + after)

    assert not [piece for piece, *_ in parts if piece in shown], shown
    # cmd reads no backslash, and quotes may be in pairs in two ways: then both readings are masked
    assert after.strip() in shown or '"' in word or "\\'" in word
    assert shown == redact_text(shown)


@given(BEFORE, PIECE, st.sampled_from(["\\\n", "\\\r\n", "`\n", "^\n", "^\r\n"]), st.booleans())
@SETTINGS
def test_a_continued_line_hides_nothing(before, secret, continued, is_indented) -> None:
    """Bash, PowerShell and cmd each have a sign for it."""
    gap = " " if before.endswith(" ") else ""
    line = before.rstrip() + gap + continued + ("    " if is_indented and gap else "") + secret

    assert secret not in redact_text(line)


WRAP = st.sampled_from(
    [
        lambda text: f"bash -c {_single(text)}",
        lambda text: f'sh -c "{text}"',
        lambda text: json.dumps({"commandLine": text}),
        lambda text: json.dumps([text]),
        html.escape,
        lambda text: quote(text, safe=""),
        lambda text: f"line one\n{text}\nline three",
        lambda text: f"cmd /c {text}",
    ]
)


@given(
    st.sampled_from(
        ["--password {}", "API_TOKEN={}", "Password={};x=1", "?a=1&sig={}", "https://me:{}@host/"]
    ),
    PIECE,
    st.lists(WRAP, max_size=3),
)
@SETTINGS
def test_no_wrapping_hides_a_secret(template, secret, wraps) -> None:
    """A command in a command in JSON in a URL."""
    text = template.format(secret)
    for wrap in wraps:
        text = wrap(text)
    shown = redact_text(text)

    assert secret not in shown, text
    assert shown == redact_text(shown)


NAMES = st.sampled_from(
    "password pass auth pat jwt bearer dsn connStr pfx pem cert kubeconfig apiKey clientSecret".split()
)


NESTING = st.lists(st.sampled_from(["list", "object", "string"]), max_size=3)


@given(NAMES, PIECE, NESTING)
@SETTINGS
def test_no_member_of_unknown_json_shows_its_secret(name, secret, nesting) -> None:
    """As a member, as a pair in either order, as an argument; nested, and as JSON in a text."""
    values: list[object] = [
        {name: secret},
        {"name": name, "value": secret},
        {"value": secret, "type": "x", "name": name},
        ["run", "--password", secret],
        ["mysql", f"-p{secret}"],
    ]
    for value in values:
        for kind in nesting:
            value = {"list": [value], "object": {"a": value}, "string": json.dumps(value)}[kind]
        shown = json.dumps(Redactor().json({"unknown": value}))
        assert secret not in shown


@given(st.lists(st.sampled_from(HARMLESS), min_size=1, max_size=4))
@SETTINGS
@example(["x" * 5000])
def test_harmless_lines_stay_as_they_are_in_any_company(texts) -> None:
    """As values of JSON, which no line before them changes."""
    readable = [text for text in texts if redact_text(text) == text]
    value = {f"line {index}": text for index, text in enumerate(readable)}

    assert value == Redactor().json(value)


PIECES = st.sampled_from(
    [
        *"\"'`\\^$(){}[]<>&;|,:=@/%#! \n",
        "password",
        "--token ",
        "-p",
        "\\\n",
        "&#61;",
        "%3D",
        "\\u003d",
        "login",
        "a",
        "://",
        "-e A=",
        "value: ",
        "name: KEY ",
    ]
)


@given(st.lists(PIECES, min_size=1, max_size=4).map("".join))
@settings(deadline=None, max_examples=60, suppress_health_check=[*HealthCheck])
def test_the_cost_of_a_text_is_its_length(piece) -> None:
    """Whatever is repeated: 16 times the text is at most 60 times the time, and less than 5 s."""
    short, long = piece * (2_000 // len(piece)), piece * (32_000 // len(piece))
    seconds = []
    for text in (short, long):
        begun = time.process_time()
        redact_text(text)
        seconds.append(time.process_time() - begun)

    assert seconds[1] < max(0.3, 60 * seconds[0]), seconds
    assert seconds[1] < 5
