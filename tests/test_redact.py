"""Redaction: no secret of a kind the design names lands anywhere; what is harmless stays readable."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import shape
from pipeline.columns import Report
from pipeline.flatten import pool_rows
from pipeline.redact import GATE, Redactor, is_secret_name, redact_text
from tests.made_up import AT, ORIGIN, Api, Json, flattener, page, whole_node

SECRET = "hunter2hunter2"
KEY = "A1b2C3d4/+" * 8 + "A1b2C3=="  # the form of a storage account's key: 88 letters

#: Every kind of secret that the design names, as it stands in text.
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
            try:
                yield from strings(json.loads(value))
            except ValueError:
                pass
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


def planted(text: str) -> Json:
    """A whole node with a text in every free-text field and enum field, its keys left alone."""

    def plant(value: Any, of: shape.Shape) -> Any:
        if isinstance(of, shape.Members):
            return {k: plant(x, of.members[k]) for k, x in value.items()}
        if isinstance(of, shape.Elements):
            return [plant(x, of.element) for x in value]
        if of.column.secret == "text" or of.column.enum:
            return [text] if isinstance(value, list) else text
        return value

    made = plant(whole_node("tvmps_a_d"), shape.NODE)
    assert isinstance(made, dict)
    return made


def with_strangers(value: Any, text: str) -> Any:
    """A value with unknown members in every object: under a plain name, nested, and as a name."""
    if isinstance(value, list):
        return [with_strangers(x, text) for x in value]
    if not isinstance(value, dict):
        return value
    grown = {name: with_strangers(x, text) for name, x in value.items()}
    return grown | {"stranger": text, "strangers": [{"inner": [text]}], text: 1}


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
        ('{"password": "x", "user": "me"}', '{"password": [redacted], "user": "me"}'),
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
    columns = [pa.array(["a"]), pa.array(["key=a", "key=a", "key"])]
    assert {"key=a": "key=[redacted]"} == Redactor().masks(columns)


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


@pytest.mark.parametrize("piece", [*HOSTILE, "-u =", "%", "--password"], ids=repr)
def test_hostile_text_is_read_in_linear_time(piece: str) -> None:
    """200 KB of any trigger: a pattern that tried each against all that follows would never end."""
    tails = {"-u =": "=", "%": "25", "--password": " "}
    text = piece + tails[piece] * 200_000 if piece in tails else piece * (200_000 // len(piece))

    redact_text(text)


# --- JSON ---


@pytest.mark.parametrize(
    "name",
    "password accountKey AZURE_CLIENT_SECRET sas-token SASToken dbpassword authtoken storagekey apiKey "
    "x-api-key connectionString credentials DB_PWD keyVaultSecretId sshPrivateKey signature "
    "protectedSettings settings".split(),
)
@pytest.mark.parametrize("value", [SECRET, [SECRET], {"a": {"b": SECRET}}, 42, 4.2])
def test_a_value_under_a_secrets_name_is_masked(name: str, value: Any) -> None:
    """Whatever its type, at any depth; names are kept."""
    assert {"a": [{name: "[redacted]"}]} == Redactor().json({"a": [{name: value}]})


@pytest.mark.parametrize(
    "name",
    "name monkey turkey compass bypass designation keyboard vTpmEnabled commandLine id".split(),
)
def test_a_value_under_another_name_is_kept(name: str) -> None:
    """A word within a word is no word."""
    assert not is_secret_name(name)
    assert {name: "x"} == Redactor().json({name: "x"})


def test_what_is_empty_is_no_secret() -> None:
    """null, {} and [] and booleans tell whether a secret is there, and no more."""
    value = {"password": None, "key": {}, "tokens": [], "isSecret": True, "environmentSettings": []}

    assert value == Redactor().json(value)


@pytest.mark.parametrize("label", ["name", "key", "Name", "Key"])
@pytest.mark.parametrize("member", ["value", "Value"])
def test_a_pair_that_names_a_secret_hides_its_value(label: str, member: str) -> None:
    """{"name": "DB_PASSWORD", "value": …} as tags and settings are written."""
    hidden = {label: "DB_PASSWORD", member: SECRET}
    plain = {label: "colour", member: "blue"}

    assert [{label: "DB_PASSWORD", member: "[redacted]"}, plain] == Redactor().json([hidden, plain])


def test_names_that_are_masked_alike_are_told_apart() -> None:
    """Nothing is lost where two secrets were names."""
    value = Redactor().json({"sig=one": 1, "sig=two": 2, "plain": 3})

    assert {"sig=[redacted]": "[redacted]", "sig=[redacted] (2)": "[redacted]", "plain": 3} == value


def test_kept_environment_settings_are_free_text() -> None:
    """--keep-env keeps a value, but not a signature in it; other values are masked."""
    settings = [
        {"name": "KEPT", "value": "https://a/b?sv=1&sig=abc"},
        {"name": "DB_PASSWORD", "value": "kept all the same"},
        {"name": "OTHER", "value": SECRET},
    ]
    value = {"environmentSettings": settings, "commandLine": "docker run -e KEPT=x -e OTHER=y"}
    shown = Redactor(["KEPT", "DB_PASSWORD"]).json(value)

    assert {
        "environmentSettings": [
            {"name": "KEPT", "value": "https://a/b?sv=1&sig=[redacted]"},
            {"name": "DB_PASSWORD", "value": "kept all the same"},
            {"name": "OTHER", "value": "[redacted]"},
        ],
        "commandLine": "docker run -e KEPT=x -e OTHER=[redacted]",
    } == shown


def test_pairs_of_the_wrong_type_are_masked() -> None:
    """Nothing tells names from values then."""
    for wrong in (SECRET, {"A": SECRET}, [SECRET], [[SECRET]], 5):
        shown = Redactor().json({"environmentSettings": wrong, "metadata": wrong})
        assert SECRET not in json.dumps(shown)


@pytest.mark.parametrize("name", ["registry", "containerRegistries"])
def test_registry_passwords_are_dropped(name: str) -> None:
    """As if they had not been sent."""
    registry = {"username": "me", "password": SECRET, "registryServer": "r"}
    expected = {"username": "me", "registryServer": "r"}

    assert {name: expected} == Redactor().json({name: registry})
    assert {name: [expected]} == Redactor().json({name: [registry]})


# --- tables ---


@pytest.mark.parametrize("encoding", ["as it is", "percent twice", "base64", "base64 of UTF-16"])
def test_no_plant_in_any_field_is_found_in_any_table(encoding: str) -> None:
    """Every free-text field, unknown fields and their names at all levels, unknown enum values."""
    for plant in PLANTS:
        text = ENCODINGS[encoding](plant)
        for value in (planted(text), with_strangers(whole_node(), text)):
            reading = flattener()
            tables, _ = reading.page(page(value), AT)
            assert not reading.report.malformed
            assert not leaks(*tables.values(), reading.report), plant


@pytest.mark.parametrize(
    "wrong",
    [{"totalTasksRun": "3"}, {"startTask": []}, {"id": None}, {"recentTasks": [5]}],
    ids=str,
)
def test_no_plant_in_a_malformed_node_is_found(wrong: Json) -> None:
    """Its JSON is redacted in extra_json, and its problems name no value."""
    for plant in PLANTS:
        value = with_strangers(planted(plant), plant) | wrong
        value["lastBootTime"] = plant
        value["errors"] = plant
        value["virtualMachineInfo"] = [{plant: plant}]
        reading = flattener()
        tables, _ = reading.page(page(value, plant, [plant]), AT)
        assert 3 == reading.report.malformed
        assert not leaks(*tables.values(), reading.report), plant


def test_an_unstructured_secret_in_a_masked_field_is_found_nowhere() -> None:
    """Fields that are secrets by their meaning, in nodes well formed and malformed."""
    value = whole_node()
    value["startTask"]["containerSettings"]["registry"]["password"] = SECRET
    value["startTask"]["environmentSettings"] = [{"name": "A", "value": SECRET, "new": SECRET}]
    marked = [
        column
        for _, leaf in shape.leaves(shape.NODE)
        if (column := leaf.column).secret in {"mask", "drop"}
    ]
    assert ["container_settings_registry_password", "value"] == [column.name for column in marked]

    for each in (value, value | {"state": 1}, value | {"startTask": [value["startTask"]]}):
        reading = flattener(hash_key=b"key")
        tables, _ = reading.page(page(each), AT)
        assert not leaks(*tables.values(), reading.report)


def test_keys_are_exempt() -> None:
    """Ids join tables: they are kept as they are, whatever they look like."""
    value = whole_node("-e A=node")
    value["recentTasks"][0] |= {"jobId": "password=job", "taskId": "sig=task"}
    tables, _ = flattener().page(page(value), AT)
    (row,) = tables["recent_tasks"].to_pylist()

    assert ("-e A=node", "password=job", "sig=task") == (
        row["node_id"],
        row["job_id"],
        row["task_id"],
    )


# --- pools ---


def made_of(api: Api, definition: Json, leaf: Callable[[str, Json], Any], path: str = "") -> Any:
    """A value of a definition with every member, its scalars what ``leaf`` makes of path and type."""
    whole = api.resolved(definition)
    if "properties" in whole:
        members = whole["properties"].items()
        return {name: made_of(api, inner, leaf, f"{path}.{name}") for name, inner in members}
    if whole.get("type") == "array":
        return [made_of(api, whole["items"], leaf, path)]
    return leaf(path, whole)


def pool(api: Api, leaf: Callable[[str, Json], Any]) -> Json:
    """A pool with every member there is, its id left alone."""
    return {**made_of(api, {"$ref": "CloudPool"}, leaf), "id": "pool1"}


def rows_and_report(*values: Json) -> Iterable[Any]:
    """What is made of pools."""
    report = Report()
    return [*pool_rows(values, ORIGIN, Redactor(), report), report]


def test_no_plant_in_a_pool_is_found(shared) -> None:
    """Every string of a pool at every depth, strangers, and a malformed pool."""
    api = Api(shared)
    simple = {"integer": 1, "boolean": True, "number": 1.5, "object": {"a": 1}}
    for plant in PLANTS:

        def leaf(_: str, whole: Json, plant: str = plant) -> Any:
            is_text = whole.get("type") == "string" and whole.get("format") != "date-time"
            return plant if is_text else simple.get(whole.get("type", "object"))

        value = pool(api, leaf)
        value["resourceTags"] = {plant: plant}
        for each in (
            value,
            with_strangers(value, plant),
            value | {"vmSize": [plant], "url": {plant: 1}},
        ):
            assert not leaks(*rows_and_report(each)), plant


def test_what_of_a_pool_is_secret_by_its_meaning_is_masked(shared) -> None:
    """Mount keys, SAS and passwords, user passwords and SSH keys, extension settings, metadata …"""
    api = Api(shared)
    secrets = re.compile(
        r"accountKey|sasKey|password|sshPrivateKey|ettings$|metadata\.value|environmentSettings\.value"
    )
    met = set()

    def leaf(path: str, whole: Json) -> Any:
        if secrets.search(path):
            met.add(path.split(".", 1)[1])
            return SECRET if whole.get("type") == "string" else {"a": [{"b": SECRET}]}
        is_text = whole.get("type") == "string"
        return (
            "2026-11-21T00:00:00Z" if is_text and whole.get("format") else "x" if is_text else None
        )

    made = rows_and_report(pool(api, leaf))

    assert {
        "virtualMachineConfiguration.containerConfiguration.containerRegistries.password",
        "virtualMachineConfiguration.extensions.settings",
        "virtualMachineConfiguration.extensions.protectedSettings",
        "startTask.containerSettings.registry.password",
        "startTask.environmentSettings.value",
        "userAccounts.password",
        "userAccounts.linuxUserConfiguration.sshPrivateKey",
        "metadata.value",
        "mountConfiguration.azureBlobFileSystemConfiguration.accountKey",
        "mountConfiguration.azureBlobFileSystemConfiguration.sasKey",
        "mountConfiguration.cifsMountConfiguration.password",
        "mountConfiguration.azureFileShareConfiguration.accountKey",
    } == met
    assert not leaks(*made)


def test_the_search_finds_what_is_there() -> None:
    """The proof of the proofs above: unredacted, every plant in every wrapping is found."""
    for plant in PLANTS:
        for wrap in ENCODINGS.values():
            assert shows(f"run {wrap(plant)} now"), wrap(plant)
    assert leaks({"extra_json": json.dumps({"a": PLANTS[0]})})
