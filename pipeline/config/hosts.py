"""Hosts in settings: the form of an endpoint, and the hosts to which a file may send credentials.

A settings file may come from someone else: it is trusted only with Azure's own hosts and this machine.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from pipeline.config.errors import ConfigError

# The account hosts of the clouds (service.md; the one for China is not confirmed).
CLOUD_HOST = re.compile(
    r"(?P<name>[^.]+)\.(?P<region>[^.]+)\.batch\."
    r"(?:azure\.com|usgovcloudapi\.net|chinacloudapi\.cn)"
)
BATCH_DOMAINS = (".batch.azure.com", ".batch.usgovcloudapi.net", ".batch.chinacloudapi.cn")
AUTHORITIES = (
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.chinacloudapi.cn",
    "login.partner.microsoftonline.cn",
)
STORAGE_DOMAINS = (
    ".dfs.core.windows.net",
    ".dfs.core.usgovcloudapi.net",
    ".dfs.core.chinacloudapi.cn",
    ".dfs.fabric.microsoft.com",
)


def allowed(
    flags: Sequence[str], environ: Mapping[str, str], own_endpoint: str | None
) -> frozenset[str]:
    """Return the hosts that flags and environment allow, with the hosts that the environment names."""
    named = [*flags, *environ.get("NODELAKE_ALLOWED_HOSTS", "").split(",")]
    named += [own_endpoint or "", environ.get("AZURE_AUTHORITY_HOST", "")]
    return frozenset(host for name in named if (host := _host_of(name.strip())))


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url if "://" in url else f"https://{url}").hostname or "").lower()
    except ValueError:
        return ""


def refused(endpoint: str, authority: str | None, allowed: frozenset[str]) -> str | None:
    """Return the first host of an account in a file that may not get credentials."""
    host = _host_of(endpoint)
    if not (is_loopback(host) or host.endswith(BATCH_DOMAINS) or host in allowed):
        return host
    if authority:
        host = _host_of(authority)
        if not (is_loopback(host) or host in AUTHORITIES or host in allowed):
            return host or "the host of authority_host"
    return None


def refused_storage(lake: str, allowed: frozenset[str]) -> str | None:
    """Return the host of a file's lake if it may not get credentials."""
    if not lake.startswith("abfss://"):
        return None  # the environment names the storage account
    host = _host_of(lake)
    return None if host.endswith(STORAGE_DOMAINS) or host in allowed else host


def refusal(host: str) -> str:
    """Return the error message about a host that may not get credentials."""
    return (
        "a settings file may send credentials only to Azure's own hosts and to this machine, not "
        f"to {host}: if it is yours, allow it with --allow-host {host} (snapshot, usage, node) or "
        "in the environment variable NODELAKE_ALLOWED_HOSTS"
    )


def check_endpoint(endpoint: str, where: str) -> SplitResult:
    """Return the normalised endpoint. Errors do not repeat it: it may hold a password."""
    text = endpoint.strip()
    if "://" not in text:
        text = "https://" + text
    try:
        url = urlsplit(text)
        host, port = (url.hostname or "").lower(), url.port
    except ValueError:
        raise ConfigError(f"{where}: the endpoint is not a URL") from None
    if url.username is not None or url.password is not None or "@" in url.netloc:
        raise ConfigError(f"{where}: the endpoint holds a user name or a password")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise ConfigError(
            f"{where}: the endpoint is only scheme, host and port, "
            "such as https://myaccount.eastus.batch.azure.com"
        )
    if not re.fullmatch(r"[a-z0-9.-]+|[0-9a-f:.]+", host):
        raise ConfigError(f"{where}: the endpoint has no valid host")
    if url.scheme not in ("https", "http"):
        raise ConfigError(f"{where}: the endpoint's scheme is neither https nor http")
    if url.scheme == "http" and not is_loopback(host):
        raise ConfigError(
            f"{where}: plain http is for this machine only (127.0.0.0/8, ::1, localhost); use https"
        )
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != {"https": 443, "http": 80}[url.scheme]:
        netloc += f":{port}"
    return SplitResult(url.scheme, netloc, "", "", "")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: 127.0.0.0/8, ::1 or localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
