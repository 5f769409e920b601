"""JSON values: what members, pairs and lists of arguments hide."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.redact import Redactor, is_secret_name
from tests.planted import SECRET


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
    """null, {} and [] and booleans say whether a secret is there, and no more."""
    value = {"password": None, "key": {}, "tokens": [], "isSecret": True, "environmentSettings": []}

    assert value == Redactor().json(value)


@pytest.mark.parametrize("label", ["name", "key", "Name", "Key"])
@pytest.mark.parametrize("member", ["value", "Value"])
def test_a_pair_that_names_a_secret_hides_its_value(label: str, member: str) -> None:
    """{"name": "DB_PASSWORD", "value": …} as tags and settings are written."""
    hidden = {label: "DB_PASSWORD", member: SECRET}
    plain = {label: "colour", member: "blue"}

    assert [{label: "DB_PASSWORD", member: "[redacted]"}, plain] == Redactor().json([hidden, plain])


def test_names_that_are_masked_alike_are_distinguished() -> None:
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
    """Nothing distinguishes names from values then."""
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
