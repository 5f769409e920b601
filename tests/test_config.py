"""Settings: where they come from, what is refused, and that no message shows a secret."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from pipeline.config import DEFAULT_API_VERSION, ConfigError, Limits, Secret, load

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg=="
ENDPOINT = "https://myaccount.eastus.batch.azure.com"
ENVIRON = {
    "AZURE_BATCH_ENDPOINT": ENDPOINT,
    "AZURE_BATCH_ACCOUNT": "myaccount",
    "AZURE_BATCH_ACCESS_KEY": KEY,
}


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text, name="nodelake.toml"):
    """Write a settings file and return its path."""
    path = Path(name)
    path.write_text(text)
    return path


def account_of(endpoint, **environ):
    """The one account of an environment that names `endpoint`."""
    [account] = load(None, {"AZURE_BATCH_ENDPOINT": endpoint, **environ}).accounts
    return account


def refusal(*args, **kwargs):
    """The message of the ConfigError that `load` raises."""
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    return str(caught.value)


class TestSources:
    """Flags, environment, file, and which of them holds."""

    def test_nothing_configured(self):
        """Without any settings there are defaults and no account, which only a snapshot minds."""
        settings = load(None, {})

        assert ("data/lake", (), Limits(), None) == (
            settings.lake,
            settings.accounts,
            settings.limits,
            settings.hash_key,
        )
        with pytest.raises(ConfigError, match="set AZURE_BATCH_ENDPOINT"):
            settings.require_accounts()

    def test_environment(self):
        """The variables of the Azure CLI are enough."""
        settings = load(None, ENVIRON | {"NODELAKE_LAKE": "az://c/l", "NODELAKE_HASH_KEY": "h"})
        [account] = settings.require_accounts()

        assert (ENDPOINT, "myaccount", "myaccount.eastus", KEY, DEFAULT_API_VERSION) == (
            account.endpoint,
            account.name,
            account.label,
            account.key.reveal(),
            account.api_version,
        )
        assert ("az://c/l", Secret("h")) == (settings.lake, settings.hash_key)

    def test_no_key_means_entra(self):
        """Without a key, or with an empty one, the account signs in with Entra."""
        for environ in ({}, {"AZURE_BATCH_ACCESS_KEY": ""}):
            account = account_of(ENDPOINT, AZURE_AUTHORITY_HOST="login.example", **environ)

            assert (None, None, "login.example") == (
                account.key_env,
                account.shared_key(),
                account.authority_host,
            )

    def test_file(self):
        """Each [[accounts]] is an account, with settings and limits of its own."""
        path = write(
            """
            lake = "lake-of-file"
            api_version = "2025-06-01"
            [limits]
            attempts = 3
            connections = 2
            [[accounts]]
            endpoint = "one.eastus.batch.azure.com"
            key_env = "ONE_KEY"
            [[accounts]]
            endpoint = "https://two.westus.batch.azure.com/"
            name = "two"
            label = "second"
            api_version = "2024-02-01.19.0"
            authority_host = "https://login.example"
            limits = { connections = 4 }
            """
        )
        settings = load(path, {"ONE_KEY": KEY}, allowed_hosts=["login.example"])
        one, two = settings.require_accounts()

        assert ("lake-of-file", path) == (settings.lake, settings.config_file)
        assert ("one.eastus", "2025-06-01", 2, 3, Secret(KEY)) == (
            one.label,
            one.api_version,
            one.limits.connections,
            one.limits.attempts,
            one.shared_key(),
        )
        assert ("https://two.westus.batch.azure.com", "second", "2024-02-01.19.0", 4, 3, None) == (
            two.endpoint,
            two.label,
            two.api_version,
            two.limits.connections,
            two.limits.attempts,
            two.shared_key(),
        )

    def test_precedence(self):
        """A flag beats the environment, which beats the file."""
        path = write('lake = "file"\napi_version = "2025-06-01"')

        assert "file" == load(path, {}).lake
        assert "environ" == load(path, {"NODELAKE_LAKE": "environ"}).lake
        assert "flag" == load(path, {"NODELAKE_LAKE": "environ"}, lake="flag").lake
        assert "2025-06-01" == load(path, ENVIRON).accounts[0].api_version
        [account] = load(path, ENVIRON, api_version="2026-10-01").accounts
        assert "2026-10-01" == account.api_version
        environ = ENVIRON | {"NODELAKE_API_VERSION": "2024-02-01.19.0"}
        assert "2024-02-01.19.0" == load(path, environ).accounts[0].api_version
        [account] = load(path, environ, api_version="2026-10-01").accounts
        assert "2026-10-01" == account.api_version
        with pytest.raises(ConfigError, match="NODELAKE_API_VERSION"):
            load(None, ENVIRON | {"NODELAKE_API_VERSION": "newest"})

    def test_capture_of_start_task_output(self):
        """Off, unless the file says so; an account of it may say otherwise."""
        assert not load(None, ENVIRON).accounts[0].capture_start_task_output
        accounts = """
            [[accounts]]
            endpoint = "one.eastus.batch.azure.com"
            [[accounts]]
            endpoint = "two.eastus.batch.azure.com"
            capture_start_task_output = {}
            """
        captured = {
            (top, own): [
                account.capture_start_task_output
                for account in load(write(f"{top}{accounts.format(own)}"), {}).accounts
            ]
            for top in ("", "capture_start_task_output = true")
            for own in ("true", "false")
        }
        assert captured == {
            ("", "true"): [False, True],
            ("", "false"): [False, False],
            ("capture_start_task_output = true", "true"): [True, True],
            ("capture_start_task_output = true", "false"): [True, False],
        }

    def test_which_file(self):
        """--config, else NODELAKE_CONFIG, else nodelake.toml here; a named one has to be there."""
        named = write('lake = "named"', "named.toml")
        flag = write('lake = "flag"', "flag.toml")

        assert "named" == load(None, {"NODELAKE_CONFIG": str(named)}).lake
        assert "flag" == load(flag, {"NODELAKE_CONFIG": str(named)}).lake
        write('lake = "here"')
        assert "here" == load(None, {}).lake
        assert "gone.toml: the settings file does not exist" == refusal(Path("gone.toml"), {})

    def test_environment_beside_file(self):
        """The environment's account joins those of the file; of one label the file's holds."""
        path = write('[[accounts]]\nendpoint = "one.eastus.batch.azure.com"')

        assert ["one.eastus", "myaccount.eastus"] == [
            account.label for account in load(path, ENVIRON).accounts
        ]
        same = write(f'[[accounts]]\nendpoint = "{ENDPOINT}"\nkey_env = "OTHER"', "same.toml")
        [account] = load(same, ENVIRON).accounts
        assert "OTHER" == account.key_env

    def test_selection(self):
        """--account takes labels and names; an unknown one is answered with the known ones."""
        path = write(
            """
            [[accounts]]
            endpoint = "one.eastus.batch.azure.com"
            [[accounts]]
            endpoint = "one.westus.batch.azure.com"
            [[accounts]]
            endpoint = "two.westus.batch.azure.com"
            """
        )

        def labels(*wanted):
            return [account.label for account in load(path, {}, accounts=wanted).accounts]

        assert ["two.westus"] == labels("two.westus")
        assert ["one.eastus", "one.westus"] == labels("one")
        assert ["one.eastus", "two.westus"] == labels("two", "one.eastus")
        assert "no account 'three'; known: one.eastus, one.westus, two.westus" == refusal(
            path, {}, accounts=["three"]
        )
        empty = write("", "empty.toml")
        assert "no account 'x'; known: none is configured" == refusal(empty, {}, accounts=["x"])


class TestEndpoint:
    """Where an account is, and the label that follows from it."""

    @pytest.mark.parametrize(
        ("given", "endpoint", "label"),
        [
            ("a.eastus.batch.azure.com", "https://a.eastus.batch.azure.com", "a.eastus"),
            (" https://A.EastUS.batch.azure.com:443/ ", None, "a.eastus"),
            ("a.usgovvirginia.batch.usgovcloudapi.net", None, "a.usgovvirginia"),
            ("a.chinaeast2.batch.chinacloudapi.cn", None, "a.chinaeast2"),
            ("https://a.example.com:8443", "https://a.example.com:8443", "a.local"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "a.local"),
            ("http://127.9.9.9", "http://127.9.9.9", "a.local"),
            ("http://[::1]:80", "http://[::1]", "a.local"),
            ("http://LOCALHOST:1", "http://localhost:1", "a.local"),
        ],
    )
    def test_forms(self, given, endpoint, label):
        """An endpoint is brought to its plain form, and the label comes from its host."""
        account = account_of(given, AZURE_BATCH_ACCOUNT="a")
        plain = endpoint or f"https://{given.strip().removeprefix('https://').lower()}"

        assert (plain.removesuffix("/").removesuffix(":443"), label) == (
            account.endpoint,
            account.label,
        )

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ("http://a.eastus.batch.azure.com", "plain http is for this machine only"),
            ("http://127.0.0.1.example.com", "plain http is for this machine only"),
            ("http://10.0.0.1", "plain http is for this machine only"),
            ("http://localhost.example.com", "plain http is for this machine only"),
            ("ftp://a.eastus.batch.azure.com", "neither https nor http"),
            ("https://user:hunter2@a.eastus.batch.azure.com", "a user name or a password"),
            ("https://hunter2@a.eastus.batch.azure.com", "a user name or a password"),
            ("https://a.eastus.batch.azure.com/hunter2", "only scheme, host and port"),
            ("https://a.eastus.batch.azure.com?sig=hunter2", "only scheme, host and port"),
            ("https://a.eastus.batch.azure.com#hunter2", "only scheme, host and port"),
            ("https://", "no valid host"),
            ("https://a b", "no valid host"),
            ("https://a:hunter2", "not a URL"),
            ("https://[::1", "not a URL"),
        ],
    )
    def test_refused(self, given, reason):
        """Plain http elsewhere, credentials, paths and queries are refused and not repeated."""
        message = refusal(None, {"AZURE_BATCH_ENDPOINT": given, "AZURE_BATCH_ACCOUNT": "a"})

        assert reason in message
        assert "hunter2" not in message

    def test_name(self):
        """The name is the host's first part, unless the host has none; a wrong one is refused."""
        assert "myaccount" == account_of(ENDPOINT).name
        assert "myaccount" == account_of("https://myaccount.example.com").name
        assert "does not contain the account's name" in refusal(
            None, {"AZURE_BATCH_ENDPOINT": "http://127.0.0.1:1"}
        )
        assert "is not the one of the host" in refusal(
            None, ENVIRON | {"AZURE_BATCH_ACCOUNT": "another"}
        )

    @pytest.mark.parametrize(
        "label",
        [
            *("../up", ".hidden", "a/b", "a b", "ä", "a" * 129),
            *("a-late-20260101T050000Z-12345678", "x.staging", "a.parquet"),
        ],
    )
    def test_label_is_a_file_name(self, label):
        """A label that could not be a file name of the lake is refused."""
        path = write(f'[[accounts]]\nendpoint = "{ENDPOINT}"\nlabel = "{label}"')

        assert "the label" in refusal(path, {})

    def test_labels_are_unique(self):
        """Two accounts with one label would write one file."""
        entry = f'[[accounts]]\nendpoint = "{ENDPOINT}"\n'

        assert "a second account with the label 'myaccount.eastus'" in refusal(
            write(entry + entry), {}
        )


class TestKeys:
    """Keys come from the environment, and are shown nowhere."""

    @pytest.mark.parametrize(
        "line",
        [
            f'key = "{KEY}"',
            'key = "hunter2"',
            'access_key = "hunter2"',
            'account_key = "hunter2"',
            'shared_key = "hunter2"',
            'Password = "hunter2"',
            'client_secret = "hunter2"',
            'sas = "hunter2"',
            'token = "hunter2"',
            "credentials = { a = 'hunter2' }",
            f'label = "{KEY}"',
            'label = "AccountKey=hunter2"',
            'label = "https://u:hunter2@h"',
        ],
    )
    def test_literal_key_is_refused(self, line):
        """A key in the file is refused wherever it is, and the message does not repeat it."""
        for text in (f'[[accounts]]\nendpoint = "{ENDPOINT}"\n{line}', line, f"[limits]\n{line}"):
            message = refusal(write(text), {})

            assert 'key_env = "NAME"' in message
            assert "hunter2" not in message
            assert KEY not in message

    def test_key_in_place_of_its_variable(self):
        """A key pasted where its variable's name belongs is not repeated either."""
        for value in (KEY, "not a name", "A" * 81):
            message = refusal(
                write(f'[[accounts]]\nendpoint = "{ENDPOINT}"\nkey_env = "{value}"'), {}
            )
            assert value not in message

    def test_lake_with_a_secret(self):
        """A lake's address with a SAS in it is refused from every source."""
        lake = "https://s.blob.core.windows.net/c?sv=1&sig=hunter2"
        for args in (
            ((None, {"NODELAKE_LAKE": lake}), {}),
            ((None, {}), {"lake": lake}),
            ((write(f'lake = "{lake}"'), {}), {}),
        ):
            message = refusal(*args[0], **args[1])
            assert "hunter2" not in message

    def test_missing_key(self):
        """A named key that is not set stops a snapshot, not a query, and never means Entra."""
        path = write(f'[[accounts]]\nendpoint = "{ENDPOINT}"\nkey_env = "MY_KEY"')
        settings = load(path, {})

        with pytest.raises(ConfigError, match="the environment variable MY_KEY is not set"):
            settings.require_accounts()
        with pytest.raises(ConfigError, match="MY_KEY"):
            settings.accounts[0].shared_key()

    @pytest.mark.parametrize("key", ["hunter2!", "hunter2", "====", "k\u00e4y"])
    def test_key_that_is_no_base64(self, key):
        """A key that is not base64 is reported with the name of its variable."""
        settings = load(None, ENVIRON | {"AZURE_BATCH_ACCESS_KEY": key})

        with pytest.raises(ConfigError) as caught:
            settings.require_accounts()
        assert "AZURE_BATCH_ACCESS_KEY is not a key in base64" in str(caught.value)
        assert key not in str(caught.value)

    def test_secret_shows_nothing(self):
        """No repr, str or format of settings shows a key, and a Secret cannot be pickled."""
        settings = load(None, ENVIRON | {"NODELAKE_HASH_KEY": "hunter2"})
        texts = (repr(settings), str(settings), f"{settings.hash_key}", f"{settings.hash_key!r:>9}")

        assert [] == [text for text in texts if KEY in text or "hunter2" in text]
        assert {Secret("a"): 1} == {Secret("a"): 1}
        assert Secret("a") != "a"
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(settings.hash_key)
        with pytest.raises(TypeError, match="not pickled"):
            copy.copy(settings.hash_key)


class TestHosts:
    """Where a settings file, which may be somebody else's, may send credentials."""

    @pytest.mark.parametrize(
        ("line", "host"),
        [
            ('endpoint = "https://evil.example"\nname = "a"', "evil.example"),
            ('endpoint = "https://a.eastus.batch.azure.com.evil.example"', "evil.example"),
            ('endpoint = "https://evilbatch.azure.com"', "evilbatch.azure.com"),
            ('endpoint = "https://10.0.0.1"\nname = "a"', "10.0.0.1"),
            (f'endpoint = "{ENDPOINT}"\nauthority_host = "https://evil.example"', "evil.example"),
            (f'endpoint = "{ENDPOINT}"\nauthority_host = "evil.example"', "evil.example"),
        ],
    )
    @pytest.mark.parametrize("key", ['\nkey_env = "MY_KEY"', ""])
    def test_refused(self, line, host, key):
        """With a key and with Entra, when credentials are asked for, not before."""
        path = write(f"[[accounts]]\n{line}{key}")
        [account] = load(path, {"MY_KEY": KEY}).accounts

        with pytest.raises(ConfigError) as caught:
            account.shared_key()
        assert host in str(caught.value)
        assert "NODELAKE_ALLOWED_HOSTS" in str(caught.value)
        with pytest.raises(ConfigError):
            load(path, {"MY_KEY": KEY}).require_accounts()

    @pytest.mark.parametrize(
        "endpoint",
        [
            ENDPOINT,
            "https://a.usgovvirginia.batch.usgovcloudapi.net",
            "https://a.chinaeast2.batch.chinacloudapi.cn",
            "http://127.0.0.1:8080",
            "https://localhost:1",
        ],
    )
    def test_azure_and_this_machine(self, endpoint):
        """Need nothing."""
        name = "" if "batch." in endpoint else 'name = "a"\n'
        path = write(f'[[accounts]]\n{name}endpoint = "{endpoint}"')

        assert load(path, {}).accounts[0].shared_key() is None

    def test_allowed_by_flag_or_environment(self):
        """Never by the file itself."""
        path = write('[[accounts]]\nendpoint = "https://a.example:444"\nname = "a"')
        own = {"AZURE_BATCH_ENDPOINT": "https://a.example", "AZURE_BATCH_ACCOUNT": "b"}

        assert load(path, {}, allowed_hosts=["A.example"]).accounts[0].shared_key() is None
        for environ in ({"NODELAKE_ALLOWED_HOSTS": "x, a.example"}, own):
            assert load(path, environ).accounts[0].shared_key() is None
        with pytest.raises(ConfigError, match="allowed_hosts"):
            load(write('allowed_hosts = ["a.example"]', "b.toml"), {})

    def test_the_environment_is_trusted(self):
        """What it names may be any host."""
        assert account_of("https://a.example", AZURE_BATCH_ACCOUNT="a").shared_key() is None

    def test_a_lake_of_the_file(self):
        """Storage credentials go to Azure's storage only, unless another place names the lake."""
        evil = "abfss://c@a.dfs.evil.example/lake"
        path = write(f'lake = "{evil}"')

        assert "a.dfs.evil.example" in refusal(path, {})
        assert evil == load(path, {}, allowed_hosts=["a.dfs.evil.example"]).lake
        assert evil == load(path, {"NODELAKE_LAKE": evil}).lake == load(path, {}, lake=evil).lake
        good = "abfss://c@a.dfs.core.windows.net/lake"
        assert good == load(write(f'lake = "{good}"'), {}).lake


class TestFileErrors:
    """What is wrong in a file."""

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("lakes = 1", "`lakes`"),
            ("lake = 1", "`$.lake`"),
            ("[limits]\npage_size = 1001", "`$.limits.page_size`"),
            ("[limits]\npage_size = 0", "`$.limits.page_size`"),
            ("[limits]\nattempts = 1.5", "`$.limits.attempts`"),
            ("[limits]\ntries = 1", "`tries`"),
            ("[limits]\nconnections = 65", "`$.limits.connections`"),
            ("[limits]\ndeadline_seconds = 0", "`$.limits.deadline_seconds`"),
            ('[[accounts]]\nname = "a"', "`endpoint`"),
            (f'[[accounts]]\nendpoint = "{ENDPOINT}"\nregion = "x"', "`region`"),
            (f'[[accounts]]\nendpoint = "{ENDPOINT}"\nlimits = {{ x = 1 }}', "accounts[0].limits"),
            (f'[[accounts]]\nendpoint = "{ENDPOINT}"\napi_version = "new"', "accounts[0]"),
            ("lake = x", "line 1"),
        ],
    )
    def test_names_file_and_path(self, text, path):
        """What is wrong in a file is reported with the file and the place in it."""
        message = refusal(write(text), {})

        assert message.startswith("nodelake.toml: ")
        assert path in message

    def test_unreadable(self):
        """A file that is no UTF-8 is an error of settings."""
        Path("nodelake.toml").write_bytes(b"\xff")

        assert "nodelake.toml: cannot be read: UnicodeDecodeError" == refusal(None, {})

    def test_api_version_flag(self):
        """An --api-version that cannot be one is refused before it is sent anywhere."""
        assert "--api-version: 'latest' is not an api-version" in refusal(
            None, ENVIRON, api_version="latest"
        )


def test_settings_do_not_change():
    """Settings, accounts and limits are frozen: threads share them."""
    settings = load(None, ENVIRON)

    with pytest.raises(FrozenInstanceError):
        settings.lake = "x"
    with pytest.raises(FrozenInstanceError):
        settings.accounts[0].label = "x"
    with pytest.raises(AttributeError):
        settings.limits.attempts = 1


@pytest.mark.parametrize("field", msgspec.structs.fields(Limits), ids=lambda field: field.name)
def test_every_limit_can_be_set_in_the_file(field):
    """Each field of Limits is a name of the [limits] table."""
    value = 2048 if field.name == "max_page_bytes" else 7
    settings = load(write(f"[limits]\n{field.name} = {value}"), ENVIRON)

    assert value == getattr(settings.limits, field.name)
    assert value == getattr(settings.accounts[0].limits, field.name)


# A cold or busy machine is no failure.
patient = effort(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PIECES = [
    *[
        "https://",
        "http://",
        "ftp:",
        "//",
        "/",
        "@",
        ":",
        "443",
        "99999",
        "?",
        "#",
        "[",
        "]",
        "::1",
    ],
    *["a", ".", "eastus.batch.azure.com", "127.0.0.1", "localhost", "%", " ", "\n", "\x00", "é"],
]


@patient
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
@example("https://eastus.batch.azure.com")
@example("http://127.0.0.1:443/")
def test_any_endpoint(text):
    """Whatever an endpoint is made of, it is refused or it is scheme, host and port, safely."""
    try:
        accounts = load(None, {"AZURE_BATCH_ENDPOINT": text, "AZURE_BATCH_ACCOUNT": "a"}).accounts
    except ConfigError:
        return
    for account in accounts:
        url = urlsplit(account.endpoint)
        assert url.scheme == "https" or url.hostname in ("localhost", "127.0.0.1", "::1")
        assert ("", "", "", None) == (url.path, url.query, url.fragment, url.username)
        assert account == account_of(account.endpoint, AZURE_BATCH_ACCOUNT="a")


@patient
@given(
    st.lists(
        st.sampled_from(
            "lake accounts limits endpoint key_env key [[accounts]] [limits] = . , # { } [ ] ''' é"
            ' "x" 1 "hunter2hunter2" \n'.split(" ")
        ),
        max_size=12,
    ).map(" ".join)
)
def test_any_file(text):
    """Whatever a file holds, it is settings or a ConfigError that does not repeat its values."""
    try:
        load(write(text), {})
        message = ""
    except ConfigError as error:
        message = str(error)
    assert "hunter2" not in message
