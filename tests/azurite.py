"""An Azure Blob account on this machine: Azurite, with a container to each lake."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlencode

import httpx
import obstore
import pytest

from pipeline.lake import Lake
from tests.conftest import PROJECT

ACCOUNT = "devstoreaccount1"
#: Azurite's own, the same everywhere: documented, and no secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
INSTALL = "npm install azurite, or put azurite-blob on the PATH"


def executable() -> str:
    """Where azurite-blob is; skips the test where it is absent, but fails it in CI."""
    beside = PROJECT.parent / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    local = PROJECT / "node_modules" / ".bin" / "azurite-blob"
    for path in (os.environ.get("AZURITE_BLOB"), shutil.which("azurite-blob"), beside, local):
        if path and Path(path).exists():
            return str(path)
    reason = f"needs Azurite: {INSTALL}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True)
class Azurite:
    """A running Azurite: its endpoint, and the settings that lead nodelake to it."""

    endpoint: str

    @property
    def settings(self) -> dict[str, str]:
        """The environment, with the account's key."""
        return {
            "AZURE_STORAGE_ACCOUNT": ACCOUNT,
            "AZURE_STORAGE_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
        }

    def make_container(self, name: str) -> None:
        """Makes an empty container."""
        path = f"/{ACCOUNT}/{name}"
        headers = {
            "x-ms-date": formatdate(usegmt=True),
            "x-ms-version": "2023-11-03",
            "content-length": "0",
        }
        signed = "".join(f"{key}:{headers[key]}\n" for key in ("x-ms-date", "x-ms-version"))
        text = "PUT\n" + "\n" * 11 + f"{signed}/{ACCOUNT}{path}\nrestype:container"
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{_mac(text)}"
        url = f"{self.endpoint}/{name}?restype=container"
        httpx.put(url, headers=headers).raise_for_status()

    def sas(self, permissions: str = "rwdl") -> str:
        """A SAS token of the account, for an hour."""
        fields = {
            "sp": permissions,
            "ss": "b",
            "srt": "sco",
            "se": f"{datetime.now(UTC) + timedelta(hours=1):%FT%TZ}",
            "sv": "2019-02-02",
        }
        order = (fields["sp"], "b", "sco", "", fields["se"], "", "", fields["sv"], "")
        text = "\n".join((ACCOUNT, *order))
        return urlencode(fields | {"sig": _mac(text)})


def _mac(text: str) -> str:
    mac = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256)
    return base64.b64encode(mac.digest()).decode()


@contextmanager
def azurite(
    folder: Path, *, tls: tuple[Path, Path] | None = None, log: Path | None = None
) -> Iterator[Azurite]:
    """Starts Azurite on a free port; ends it.

    ``tls``: a certificate and its key; then it takes bearer tokens, unsigned ones too.
    ``log``: a file that gets a line of every request.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [executable(), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += [
        "--location",
        str(folder),
        "--skipApiVersionCheck",
        "--disableTelemetry",
        *([] if log else ["--silent"]),
    ]
    if tls:
        command += ["--oauth", "basic", "--cert", str(tls[0]), "--key", str(tls[1])]
    scheme = "https" if tls else "http"
    with log.open("w") if log else nullcontext(subprocess.DEVNULL) as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{scheme}://127.0.0.1:{port}/", timeout=5)
                break
            except httpx.TransportError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield Azurite(f"{scheme}://127.0.0.1:{port}/{ACCOUNT}")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def copied(source: Path, folder: Path) -> Iterator[Lake]:
    """A copy of a lake of this machine on an Azurite of its own, to which the environment leads."""
    with azurite(folder) as served, pytest.MonkeyPatch.context() as environment:
        for name, value in served.settings.items():
            environment.setenv(name, value)
        served.make_container("lake")
        lake = Lake("az://lake/below/it")
        for file in source.rglob("*.*"):
            if file.suffix in (".parquet", ".json"):
                path = lake.storage.path(str(file.relative_to(source)))  # type: ignore[attr-defined]
                obstore.put(lake.storage.store, path, file.read_bytes())  # type: ignore[attr-defined]
        yield lake
