"""Settings: accounts, lake and limits, from flags, the environment and ``nodelake.toml``, in that order.

Keys come only from the environment, so that a settings file can be committed and shared.
"""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pipeline.config import hosts
from pipeline.config.errors import ConfigError

__all__ = ["DEFAULT_API_VERSION", "Account", "ConfigError", "Limits", "Secret", "Settings", "load"]

DEFAULT_API_VERSION = "2024-07-01.20.0"
#: The api-versions that nodelake knows, oldest first; as text they sort so.
API_VERSIONS = ("2024-02-01.19.0", DEFAULT_API_VERSION, "2025-06-01", "2026-10-01")
DEFAULT_LAKE = "data/lake"
DEFAULT_FILE = "nodelake.toml"

# An account's label becomes a file name of the lake.
LABEL = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
# Reserved file names of a lake: late snapshots, and files that are being written.
NOT_A_LABEL = re.compile(r".*\d{8}T\d{6}Z-[0-9a-f]{8}|.*\.(?:staging|parquet|json|lock)")
API_VERSION = re.compile(r"20\d\d-\d\d-\d\d(?:\.\d+\.\d+)?(?:-preview)?")
# A pasted key is no variable name: 64 bytes in base64 end in "==".
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
SECRET_NAME = re.compile(
    r"key|secret|passw|pwd|token|sas$|signature|credential|connection_?string", re.IGNORECASE
)
SECRET_VALUE = re.compile(
    r"(?:[?&;]|^)sig=|AccountKey=|SharedAccessKey=|://[^/\s@]*:[^/\s@]*@|[A-Za-z0-9+/]{86}==",
    re.IGNORECASE,
)


class Secret:
    """A value that repr, str, format, logs and pickle do not show; `reveal` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('[redacted]')"

    def __str__(self) -> str:
        return "[redacted]"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a Secret is not pickled")


Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of one client: the ``[limits]`` table, or ``[accounts.limits]`` for one account."""

    connections: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    """Concurrent connections to one account.

    Where a page takes 0.1 s, two keep two processors busy. Where it takes 1 s, a million nodes need
    eight to finish within the deadline; eight need hardly more memory than four.
    """
    page_size: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    """``maxresults`` of a listing; the service allows 1 to 1,000."""
    max_page_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 64 * 1024 * 1024
    """The most bytes of a response, compressed and decompressed."""
    max_pages: Count = 1000
    """The most pages of one listing: at 1,000 nodes a page, far more than any pool has."""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 6
    """Tries for one request, the first included."""
    deadline_seconds: Seconds = 240.0
    """Everything that one client does ends within this time."""
    connect_timeout_seconds: Seconds = 10.0
    read_timeout_seconds: Seconds = 60.0
    """The longest silence on a connection; the service's own timeout is 30 seconds."""


@dataclass(frozen=True, slots=True)
class Account:
    """One Batch account: where it is and how to sign in.

    Shapes: `endpoint` is ``scheme://host[:port]`` without a path; `label` is safe as a file name.
    """

    endpoint: str
    name: str
    label: str
    key: Secret | None = None
    key_env: str | None = None
    """The environment variable with the key; None means Entra."""
    api_version: str = DEFAULT_API_VERSION
    capture_start_task_output: bool = False
    """Store the end of the output of failed start tasks."""
    authority_host: str | None = None
    limits: Limits = field(default_factory=Limits)
    refused_host: str | None = None
    """A host in a settings file that may not get credentials: see `load`."""

    def shared_key(self) -> Secret | None:
        """Return the account's key, or None where it signs in with Entra.

        Raises ConfigError where a key is named and its variable is empty or not base64, as an account
        with a key never falls back to Entra silently; and where a settings file names a host that may
        not get credentials. Both are checked here, not when settings are read: a query needs settings
        but no keys.
        """
        if self.refused_host is not None:
            raise ConfigError(f"{self.label}: {hosts.refusal(self.refused_host)}")
        if self.key_env is None and self.key is None:
            return None
        where = self.key_env or f"the key of {self.label}"
        if self.key is None:
            raise ConfigError(f"{self.label}: the environment variable {where} is not set")
        try:
            decoded = base64.b64decode(self.key.reveal(), validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        if not decoded:
            raise ConfigError(f"{self.label}: {where} is not a key in base64")
        return self.key


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force, from flags, environment and file."""

    lake: str
    accounts: tuple[Account, ...]
    limits: Limits
    hash_key: Secret | None
    config_file: Path | None = None

    def require_accounts(self) -> tuple[Account, ...]:
        """Return the accounts. Raises ConfigError where there is none; it says what to set.

        A single account must have its key. Of several, one without a key never stops the others.
        """
        if not self.accounts:
            raise ConfigError(
                "no Batch account is configured: set AZURE_BATCH_ENDPOINT and AZURE_BATCH_ACCOUNT "
                "(and AZURE_BATCH_ACCESS_KEY, unless you sign in with Entra), "
                f"or list [[accounts]] in {self.config_file or DEFAULT_FILE}"
            )
        if len(self.accounts) == 1:
            self.accounts[0].shared_key()
        return self.accounts


class _AccountEntry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    endpoint: str
    name: str | None = None
    label: str | None = None
    key_env: str | None = None
    api_version: str | None = None
    capture_start_task_output: bool | None = None
    authority_host: str | None = None
    limits: dict[str, Any] = {}


class _File(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    lake: str | None = None
    api_version: str | None = None
    capture_start_task_output: bool = False
    accounts: list[_AccountEntry] = []
    limits: Limits = Limits()


def load(
    config_file: Path | None,
    environ: Mapping[str, str],
    *,
    lake: str | None = None,
    accounts: Sequence[str] = (),
    api_version: str | None = None,
    allowed_hosts: Sequence[str] = (),
) -> Settings:
    """Read the settings. Arguments are the command's flags and take precedence.

    `config_file` is ``--config``, by default NODELAKE_CONFIG, else ``nodelake.toml`` in the working
    directory. `accounts` selects by label or name. The environment's account
    (AZURE_BATCH_ENDPOINT) is added to those of the file; where both have the same label, the
    file's settings apply. A file may send credentials to the clouds' own hosts and to this
    machine only, and to `allowed_hosts` (--allow-host), those of NODELAKE_ALLOWED_HOSTS
    (separated by commas) and that of AZURE_BATCH_ENDPOINT. Raises ConfigError; no account at all
    is not an error here, see `Settings.require_accounts`.
    """
    path = _find_file(config_file, environ)
    file = _read_file(path) if path else _File()
    own = _account_from_environ(environ, file)
    allowed = hosts.allowed(allowed_hosts, environ, own.endpoint if own else None)
    found: dict[str, Account] = {}
    for position, entry in enumerate(file.accounts):
        where = f"{path}: accounts[{position}]"
        account = _account(entry, file, environ, where)
        host = hosts.refused(account.endpoint, entry.authority_host, allowed)
        account = replace(account, refused_host=host)
        if account.label in found:
            raise ConfigError(
                f"{where}: a second account with the label {account.label!r}; give it a label"
            )
        found[account.label] = account
    if own is not None:
        found.setdefault(own.label, own)
    where = "--api-version"
    if api_version is None and (api_version := environ.get("NODELAKE_API_VERSION")):
        where = "NODELAKE_API_VERSION"
    if api_version:
        _check_api_version(api_version, where)
        found = {
            label: replace(account, api_version=api_version) for label, account in found.items()
        }
    lake_uri = lake or environ.get("NODELAKE_LAKE") or file.lake or DEFAULT_LAKE
    if SECRET_VALUE.search(lake_uri):
        raise ConfigError(
            "the lake's address holds a secret, which belongs in AZURE_STORAGE_SAS_TOKEN or "
            "AZURE_STORAGE_KEY"
        )
    is_of_file = not (lake or environ.get("NODELAKE_LAKE"))
    if is_of_file and (refused := hosts.refused_storage(lake_uri, allowed)):
        raise ConfigError(f"{path}: {hosts.refusal(refused)}")
    hash_key = environ.get("NODELAKE_HASH_KEY")
    return Settings(
        lake=lake_uri,
        accounts=_select(tuple(found.values()), accounts),
        limits=file.limits,
        hash_key=Secret(hash_key) if hash_key else None,
        config_file=path,
    )


def label_problem(label: str) -> str | None:
    """Say why a text cannot be an account's label; None where it can."""
    if not LABEL.fullmatch(label):
        return f"{label!r}: a label is 1 to 128 of A-Z a-z 0-9 . _ - and does not begin with a dot"
    if NOT_A_LABEL.fullmatch(label):
        return f"{label!r}: other files of a lake have such names; choose another label"
    return None


def _select(known: tuple[Account, ...], wanted: Sequence[str]) -> tuple[Account, ...]:
    """The accounts that `wanted` names, in the order of `known`; all if it is empty."""
    for name in wanted:
        if not any(name in (account.label, account.name) for account in known):
            labels = ", ".join(account.label for account in known) or "none is configured"
            raise ConfigError(f"no account {name!r}; known: {labels}")
    if not wanted:
        return known
    return tuple(account for account in known if {account.label, account.name} & set(wanted))


def _find_file(config_file: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = config_file or (Path(name) if (name := environ.get("NODELAKE_CONFIG")) else None)
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"{named}: the settings file does not exist")
        return named
    default = Path(DEFAULT_FILE)
    return default if default.is_file() else None


def _read_file(path: Path) -> _File:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {type(error).__name__}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    _refuse_literal_secrets(raw, str(path), "$")
    try:
        return msgspec.convert(raw, _File)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from None


def _refuse_literal_secrets(value: object, file: str, path: str) -> None:
    """Refuse keys in the file itself, under any name; the message names the place, never the secret."""
    if isinstance(value, dict):
        for name, member in value.items():
            if SECRET_NAME.search(name) and not name.endswith("_env"):
                raise ConfigError(
                    f"{file}: {path}.{name} is a secret, which does not belong in a settings file; "
                    'put it into an environment variable and name that one: key_env = "NAME"'
                )
            _refuse_literal_secrets(member, file, f"{path}.{name}")
    elif isinstance(value, list):
        for position, member in enumerate(value):
            _refuse_literal_secrets(member, file, f"{path}[{position}]")
    elif isinstance(value, str) and SECRET_VALUE.search(value):
        raise ConfigError(
            f"{file}: {path}: this looks like a secret, which does not belong in a settings file; "
            'put it into an environment variable and name that one: key_env = "NAME"'
        )


def _account_from_environ(environ: Mapping[str, str], file: _File) -> Account | None:
    if not (endpoint := environ.get("AZURE_BATCH_ENDPOINT")):
        return None
    entry = _AccountEntry(
        endpoint=endpoint,
        name=environ.get("AZURE_BATCH_ACCOUNT"),
        key_env="AZURE_BATCH_ACCESS_KEY" if environ.get("AZURE_BATCH_ACCESS_KEY") else None,
    )
    return _account(entry, file, environ, "AZURE_BATCH_ENDPOINT")


def _account(entry: _AccountEntry, file: _File, environ: Mapping[str, str], where: str) -> Account:
    url = hosts.check_endpoint(entry.endpoint, where)
    host = url.hostname or ""
    cloud = hosts.CLOUD_HOST.fullmatch(host)
    if not (name := entry.name):
        if hosts.is_loopback(host) or "." not in host:
            raise ConfigError(
                f"{where}: {host} does not contain the account's name; set AZURE_BATCH_ACCOUNT "
                "(in the settings file: name)"
            )
        name = host.partition(".")[0]
    if cloud and cloud["name"] != name.lower():
        # The name is part of every signature: a wrong one would only show as a 403.
        raise ConfigError(f"{where}: the account {name!r} is not the one of the host {host}")
    label = entry.label or (f"{cloud['name']}.{cloud['region']}" if cloud else f"{name}.local")
    for value, what in ((name, "name"), (label, "label")):
        if problem := label_problem(value):
            raise ConfigError(f"{where}: the {what} {problem}")
    if entry.key_env is not None and not VARIABLE.fullmatch(entry.key_env):
        # The value may be a pasted key, so the message does not repeat it.
        raise ConfigError(f"{where}.key_env: not the name of an environment variable")
    key = (environ.get(entry.key_env) or "").strip() if entry.key_env else ""
    api_version = entry.api_version or file.api_version or DEFAULT_API_VERSION
    _check_api_version(api_version, where)
    try:
        limits = msgspec.convert(msgspec.structs.asdict(file.limits) | entry.limits, Limits)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}.limits: {error}") from None
    return Account(
        endpoint=f"{url.scheme}://{url.netloc}",
        name=name,
        label=label,
        key=Secret(key) if key else None,
        key_env=entry.key_env,
        api_version=api_version,
        capture_start_task_output=(
            file.capture_start_task_output
            if entry.capture_start_task_output is None
            else entry.capture_start_task_output
        ),
        authority_host=entry.authority_host or environ.get("AZURE_AUTHORITY_HOST") or None,
        limits=limits,
    )


def _check_api_version(api_version: str, where: str) -> None:
    if not API_VERSION.fullmatch(api_version):
        raise ConfigError(f"{where}: {api_version!r} is not an api-version such as 2024-07-01.20.0")
