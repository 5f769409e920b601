"""Redaction: no secret of a kind the design names lands anywhere; what is harmless stays readable."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import re2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.redact import GATE, Redactor, gate, redact_text
from tests.planted import ENCODINGS, KEY, PLANTS, SECRET, leaks, shows

# --- text ---


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("plant", PLANTS)
def test_a_secret_in_text_is_masked(plant: str, encoding: str) -> None:
    """Alone, between words and between lines, in every wrapping; and twice is once."""
    for context in ("{}", "run {} now", "first\n{}\nlast", '{{"cmd": "{}"}}'):
        text = context.format(ENCODINGS[encoding](plant))
        redacted = redact_text(text)

        assert not shows(redacted), text
        assert "[redacted]" in redacted
        assert redacted == redact_text(redacted)
        assert pc.match_substring_regex(pa.array([text]), GATE)[0].as_py()
        with mock.patch.object(gate, "_HINT", re2.compile(b"")):
            assert Redactor().text(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"key is {KEY}",
        f"_{KEY}",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "github_pat_0123456789abcdefghijABCDEFGHIJ012345",
    ],
)
def test_a_secret_known_by_its_form_is_masked(text: str) -> None:
    """Account keys, web tokens and GitHub's tokens say what they are."""
    redacted = redact_text(text)

    assert "[redacted]" in redacted
    assert not any(word in redacted for word in ("A1b2C3d4", "dozjgNry", "0123456789"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker run -e A=x -e B=y image", "docker run -e A=[redacted] -e B=[redacted] image"),
        ('bash -c "docker run -e A=x"; ls', 'bash -c "docker run -e A=[redacted]"; ls'),
        ("a?sv=1&sig=x&se=2 b", "a?sv=1&sig=[redacted]&se=2 b"),
        ("AccountName=a;AccountKey=x;Suffix=y", "AccountName=a;AccountKey=[redacted];Suffix=y"),
        ('{"password": "x", "user": "me"}', '{"password": "[redacted]", "user": "me"}'),
        ("https://me:x@host/path", "https://me:[redacted]@host/path"),
        ("x --password x --count 3", "x --password [redacted] --count 3"),
        ("net use Z: \\\\s\\d /user:me x", "net use Z: \\\\s\\d /user:me [redacted]"),
        ("files/cGFzc3dvcmQ9aHVudGVyMg==", "files/[redacted]"),
    ],
)
def test_the_text_around_a_secret_stays_readable(text: str, expected: str) -> None:
    """Only the value goes; what leads to it and what follows is kept."""
    assert expected == redact_text(text)


HARMLESS = [
    "",
    "/bin/bash -c 'set -e; apt-get update && apt-get install -y python3 > /dev/null'",
    'cmd /c "echo %PATH% && dir C:\\Windows"',
    "docker run --rm -v /mnt:/mnt --user 1000:1000 -p 80:80 image:tag",
    "docker run -it --entrypoint /bin/sh image",
    "java -Dfile.encoding=UTF-8 -jar tool.jar",
    "python train.py --epochs=5 -epochs=5 --lr 0.1 --tokenizer bert",
    "grep -e foo file | sed -e 's/a=b/c/' | xargs -I{} echo {}",
    "git clone ssh://git@github.com/org/repo.git && git clone git@github.com:org/repo.git",
    "curl -L https://example.com/a.tgz | tar xz",
    "wget https://example.com/x?version=1&id=2",
    "mount -t nfs -o vers=3 host:/share /mnt",
    "echo a | tee -a log; base64 -d < in > out",
    "https://acct.westeurope.batch.azure.com/pools/pool1/nodes/"
    "tvmps_c27912941bb3fa0a0bb3890a6fca7bf95b0301eb1ece4281e29cc40998898313_d",
    "tvm-4266194380_1-20200321t021200z",
    "/subscriptions/4a3d2b1c-0000-4444-8888-123456789abc/resourceGroups/rg/providers/"
    "Microsoft.Network/virtualNetworks/v/subnets/s",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "registry.azurecr.io/team/image:1.2.3",
    "$TargetDedicatedNodes=min(10,avg($PendingTasks.GetSample(TimeInterval_Minute * 5, 0.5)));",
    "The task exited with an exit code representing a failure",
    "The specified blob does not exist. RequestId:0f7a8b2c-1e2d-4c3b-9a8f-001122334455",
    "Time:2026-11-21T10:00:00.1234567Z",
    "DiskFull: the disk is full",
    "signature verification failed; invalid password; token expired; login failed",
    "0x8D4EDFEBFADF4AB",
    "PT15M",
    "50% done, 100% sure",
    "a%20b%20c",
    "standard_d4s_v3",
    "batch.node.ubuntu 22.04",
    "user@example.com",
    "monkey business, design signal, compass, keyboard",
    "cGF0aC90by9maWxlIGhlbGxvIHdvcmxk",
    "aGVsbG8gd29ybGQsIG5vdGhpbmcgdG8gc2VlIGhlcmU=",
    "東京 über \U0001f680",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_is_unchanged(text: str) -> None:
    """What operators read every day."""
    assert text == redact_text(text)


#: Pieces that secrets are written with, for properties to be tried where it matters.
PIECES = [
    *(
        "password",
        "--password",
        "-p",
        "key",
        "sig",
        "token",
        "AccountKey",
        "bearer",
        "login",
        "net",
    ),
    *(
        "authorization",
        "-e",
        "-eA",
        "--env",
        "A=b",
        "=",
        ":",
        "==",
        " ",
        "\n",
        "\u00a0",
        '"',
        "'",
        "\\",
    ),
    *(
        '\\"',
        "&",
        "?",
        ";",
        ",",
        "@",
        "://",
        "/",
        "%",
        "%3D",
        "%25",
        "%20",
        "%22",
        "[redacted]",
        "<",
    ),
    *(
        "eyJ",
        "ghp_",
        "-----BEGIN PRIVATE KEY-----",
        "-----END",
        "use",
        "-u",
        "a",
        "b.c",
        "1",
        "\u0130",
    ),
    *(
        "cGFzc3dvcmQ9aHVudGVyMg",
        "c2lnPWFiYw==",
        "aHVudGVyMg",
        "\u0131",
        "\u017f",
        "é",
        "\ud800",
        "\x00",
    ),
]
SUSPICIOUS = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)
PROPERTY = settings(deadline=None, max_examples=400, suppress_health_check=[*HealthCheck])


@given(SUSPICIOUS)
@PROPERTY
def test_masking_twice_is_masking_once(text: str) -> None:
    """Whatever the text, what is masked stays as it is."""
    redacted = redact_text(text)

    assert redacted == redact_text(redacted)


@given(st.one_of(SUSPICIOUS, st.text(max_size=40)).filter(lambda x: "\ud800" not in x))
@PROPERTY
def test_the_gate_lets_no_secret_by(text: str) -> None:
    """What Arrow's gate does not match has nothing to redact; a column is its texts."""
    redacted = redact_text(text)
    column = pa.array([text, None, "", text])

    assert redacted == text or pc.match_substring_regex(column, GATE)[0].as_py()
    assert [redacted, None, "", redacted] == Redactor().column(column).to_pylist()


@given(st.one_of(SUSPICIOUS, st.text(max_size=40)))
@PROPERTY
def test_no_rule_is_passed_over(text: str) -> None:
    """Where nothing hints at a rule, all of them together change nothing."""
    redacted = redact_text(text)

    with mock.patch.object(gate, "_HINT", re2.compile(b"")):
        assert Redactor().text(text) == redacted


@given(st.lists(st.one_of(SUSPICIOUS, st.text(max_size=9), st.none()), max_size=9))
@PROPERTY
def test_a_columns_values_do_not_change_one_another(texts: list[str | None]) -> None:
    """They are looked at as one text, and each is redacted as it would be by itself."""
    texts = [text for text in texts if text is None or "\ud800" not in text]
    redacted = [text and redact_text(text) for text in texts]

    assert redacted == Redactor().column(pa.array(texts, pa.string())).to_pylist()


@given(st.text(st.characters(codec="utf-8", exclude_characters="=:%@-/+"), max_size=60))
@PROPERTY
def test_text_without_triggers_is_unchanged(text: str) -> None:
    """Without =, :, %, @, -, and words that mean secrets there is nothing to find."""
    words = ("pass", "secret", "token", "key", "sas", "sig", "bearer", "auth", "pwd", "credential")
    if any(word in text.casefold() for word in (*words, "net", "ey", "gh")):
        return
    assert text == redact_text(text)


def test_a_column_without_secrets_is_the_same_object() -> None:
    """Nothing is copied where nothing is masked."""
    column = pa.array(["a", None, "monkey"])

    assert Redactor().column(column) is column
    assert {} == Redactor().masks([])
    assert {} == Redactor().masks([pa.array([None, "a", "key"], pa.string())])
    columns = [pa.array(["a"]), pa.array(["pwd=a", "pwd=a", "pwd"])]
    assert {"pwd=a": "pwd=[redacted]"} == Redactor().masks(columns)


HOSTILE = [
    *(
        "a.",
        "--pass",
        "sig=",
        "%25",
        "%2",
        "%zz",
        "a",
        "/a",
        "cGFz/",
        "cGFz",
        "cGFzc3dv",
        "eyJ-",
        "=",
    ),
    *("login ", "-u=", "-u", "\\", '"', "'", 'key="', "key='", 'key=\\"', "-e ", "-e A=", '-e "A='),
    *("://", "://a:", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "authorization: ", "bearer "),
    *("net use ", " ", "\n", "--key-", "--password ", "password=", "key.", "secret_", "?", "?sig="),
    *(
        "mysql -",
        "\u0130",
        "\x00",
        "a:",
        "\\u0026sig\\u003d",
        "a\\",
        " /",
        "--",
        "-u a:",
        "=%3d",
        "<a",
    ),
    *('-e A=a"b c"', "key=a'b", "--pass-", "<password>", "eyJaaaaaaaa.", KEY, "net use Z: "),
]


def test_an_encoding_that_goes_on_and_on_is_masked_unread() -> None:
    """Percent signs encoded otherwise than as %25, more often than anybody does."""
    word = f"?sig%3D{SECRET}"
    for _ in range(9):
        word = word.replace("%", "%%32%35")
    assert redact_text(f"get {word} now") == "get [redacted] now"


@pytest.fixture
def bounded() -> Iterator[None]:
    """Ends a test that uses a hundred times the processor time that it should."""

    def end(*_: object) -> None:
        raise AssertionError("more than 10 s of processor time")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, 10)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("piece", [*HOSTILE, "-u =", "%", "--password"], ids=repr)
def test_hostile_text_is_read_in_linear_time(piece: str) -> None:
    """60 KB of any trigger: a pattern that tried each against all that follows would never end."""
    tails = {"-u =": "=", "%": "25", "--password": " "}
    text = piece + tails[piece] * 60_000 if piece in tails else piece * (60_000 // len(piece))

    redact_text(text)


def test_the_search_finds_what_is_there() -> None:
    """The proof of the proofs above: unredacted, every plant in every wrapping is found."""
    for plant in PLANTS:
        for wrap in ENCODINGS.values():
            assert shows(f"run {wrap(plant)} now"), wrap(plant)
    assert leaks({"extra_json": json.dumps({"a": PLANTS[0]})})
