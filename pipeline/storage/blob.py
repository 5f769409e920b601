"""A lake on Azure Blob (or ADLS Gen2): conditional puts, leases, exact range reads.

Listing, reading and small puts use obstore; leases and block uploads with a conditional block list,
which it lacks, use the REST API.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import obstore
import pyarrow as pa
from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError
from obstore.store import AzureStore

from pipeline.redact import redact_text
from pipeline.storage.base import (
    Changed,
    Entry,
    Found,
    Given,
    LakeError,
    LakeSettingsError,
    Missing,
    Over,
)
from pipeline.storage.ranges import RangeFile
from pipeline.storage.rest import Rest, blob_errors

#: The largest file that is put in one request.
PUT_BYTES = 16 << 20
_THREADS = 16
#: Seconds after which polars asks for its token again.
_TOKEN_SECONDS = 120

_AZ = re.compile(r"az://([^/@]+)(?:/(.*))?")
_ABFSS = re.compile(r"abfss://([^/@]+)@([^/.]+)\.dfs\.([^/]+?)(?:/(.*))?")


@dataclass(frozen=True)
class Address:
    """The parts of a URI: account, container, prefix, and the account's blob endpoint."""

    uri: str
    account: str
    container: str
    prefix: str
    endpoint: str


def parse(uri: str, environ: Mapping[str, str]) -> Address:
    """Reads ``az://container/prefix`` or ``abfss://container@account.dfs.core.windows.net/prefix``.

    ``AZURE_STORAGE_ACCOUNT`` names the account of the first form. ``AZURE_STORAGE_ENDPOINT`` is the
    blob endpoint where it is not the account's own, such as that of Azurite.

    Raises:
        LakeError: it has neither form, or no account is named.
    """
    endpoint = environ.get("AZURE_STORAGE_ENDPOINT", "").rstrip("/")
    if match := _ABFSS.fullmatch(uri):
        container, account, cloud, prefix = match.groups()
        endpoint = endpoint or f"https://{account}.blob.{cloud}"
    elif match := _AZ.fullmatch(uri):
        container, prefix = match.groups()
        account = environ.get("AZURE_STORAGE_ACCOUNT", "")
        if not account:
            raise LakeSettingsError(
                f"{uri}: set AZURE_STORAGE_ACCOUNT to the storage account's name"
            )
        endpoint = endpoint or f"https://{account}.blob.core.windows.net"
    else:
        raise LakeSettingsError(
            f"{redact_text(uri)}: not az://container/prefix or "
            "abfss://container@account.dfs.core.windows.net/prefix"
        )
    return Address(uri.rstrip("/"), account, container, (prefix or "").strip("/"), endpoint)


class Blob:
    """The blobs below one prefix of a container, which must exist.

    Signs in with ``AZURE_STORAGE_KEY``, else ``AZURE_STORAGE_SAS_TOKEN``, else azure-identity.
    """

    def __init__(self, uri: str, environ: Mapping[str, str] = os.environ) -> None:
        self.address = parse(uri, environ)
        self.missed = 0
        key = environ.get("AZURE_STORAGE_KEY")
        sas = environ.get("AZURE_STORAGE_SAS_TOKEN", "").lstrip("?")
        parameters: dict[str, Any] = {}
        token: Callable[[], str] | None = None
        if key:
            parameters["account_key"] = key
        elif sas:
            parameters["sas_key"] = sas
        else:
            parameters["credential_provider"], token = _identity()
        where = self.address
        with blob_errors(where.uri):
            self.store = AzureStore(
                container_name=where.container,
                account_name=where.account,
                endpoint=where.endpoint,
                client_options={"allow_http": urlsplit(where.endpoint).scheme == "http"},
                **parameters,
            )
        self.rest = Rest(
            f"{where.endpoint}/{where.container}", self.store, sas=None if key else sas, token=token
        )
        self._polars_token = None if token is None else _for_polars(token)
        self._known: dict[str, Entry] = {}

    def __str__(self) -> str:
        return self.address.uri

    @property
    def root(self) -> Path:
        """There is none."""
        raise LakeError(f"{self}: this needs a lake in a directory: choose another --lake")

    def url(self, key: str) -> str:
        """The URI of the lake, and the key."""
        return f"{self.address.uri}/{key}"

    def path(self, key: str) -> str:
        """The blob's name in the container."""
        return f"{self.address.prefix}/{key}" if self.address.prefix else key

    def list(self, prefix: str) -> Iterator[Entry]:
        """The blobs below a prefix, without unfinished ones."""
        cut = len(self.path(""))
        with blob_errors(self.url(prefix)):
            for chunk in obstore.list(self.store, self.path(prefix)):
                for meta in chunk:
                    yield self._entry(meta["path"][cut:], meta)

    def entries(self, folder: str, keys: Collection[str]) -> Iterator[Entry]:
        """The blobs below a folder with these keys: a listing returns 5,000 at a time."""
        wanted = {*keys}
        return (entry for entry in self.list(folder) if entry.key in wanted) if wanted else iter(())

    def many(self, read: Callable[[Given], Found], things: Iterable[Given]) -> Iterator[Found]:
        """In threads: each waits for the network."""
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from pool.map(read, things)

    def leftovers(self) -> Iterator[Entry]:
        """None: the service drops uncommitted blocks after a week."""
        return iter(())

    def find(self, key: str) -> Entry | None:
        """The blob as it is now."""
        with blob_errors(self.url(key)):
            try:
                return self._entry(key, obstore.head(self.store, self.path(key)))
            except (NotFoundError, FileNotFoundError):
                self._known.pop(key, None)
                return None

    def _entry(self, key: str, meta: Any) -> Entry:
        etag = (meta["e_tag"] or "").strip('"')
        entry = Entry(key, meta["size"], meta["last_modified"].astimezone(UTC), etag)
        self._known[key] = entry
        return entry

    def known(self, key: str) -> Entry:
        """The blob as it was last listed, or as it is now. Raises Missing."""
        entry = self._known.get(key) or self.find(key)
        if entry is None:
            raise Missing(f"{self.url(key)}: the file is missing")
        return entry

    def open(self, key: str) -> Any:
        """The blob, for random access by ranges of one version of it."""
        return pa.PythonFile(RangeFile(self, self.known(key)), mode="r")

    def read_range(self, entry: Entry, start: int, end: int) -> bytes:
        """The bytes from start to end of exactly this version. Raises Missing where it is gone."""
        with blob_errors(self.url(entry.key)):
            try:
                options: Any = {"range": (start, end), "if_match": f'"{entry.etag}"'}
                found = obstore.get(self.store, self.path(entry.key), options=options)
                return bytes(found.bytes())
            except (NotFoundError, FileNotFoundError, PreconditionError):
                self._known.pop(entry.key, None)
                self.missed += 1
                raise Missing(f"{self.url(entry.key)}: the file is gone, or another one") from None

    def sink(self, key: str, over: Over = "anything") -> _Sink:
        """Begins a blob in a temporary file of this machine."""
        return _Sink(self, key, over)

    def delete(self, entry: Entry, *, durable: bool = True) -> bool:
        """Deletes exactly this version of a blob; False where it is gone or replaced."""
        self._known.pop(entry.key, None)
        return self.rest.delete(self.path(entry.key), self.url(entry.key), entry.etag)

    def lock(self, name: str) -> Any:
        """Holds a lease of 60 seconds on a blob, renewed until the block ends."""
        return self.rest.lease(self.path(f"locks/{name}"), self.url(f"locks/{name}"))

    def register(self, connection: Any) -> None:
        """Lets DuckDB read this lake's URLs through exact range reads."""
        from pipeline.storage.duck import BlobFiles

        connection.register_filesystem(BlobFiles(self, self.address.uri))

    def polars_options(self) -> dict[str, Any]:
        """The account, its endpoint, and how to sign in: polars reads through the same Rust library."""
        options = {**self.store.config, **(self.store.client_options or {})}
        return {"storage_options": options, "credential_provider": self._polars_token}


class _Sink:
    """One blob, written to a temporary file and put in one step."""

    def __init__(self, blob: Blob, key: str, over: Over) -> None:
        self.blob = blob
        self.key = key
        self.over = over
        self.file: IO[bytes] = tempfile.TemporaryFile(prefix="nodelake-")  # noqa: SIM115

    def finish(self) -> Entry:
        """Uploads the file; a large one in blocks, committed by their list."""
        url = self.blob.url(self.key)
        self.file.flush()
        size = self.file.tell()
        self.file.seek(0)
        with blob_errors(url):
            try:
                if size <= PUT_BYTES:
                    etag = self._put(self.file.read())
                else:
                    self.blob._known.pop(self.key, None)
                    path = self.blob.path(self.key)
                    etag = self.blob.rest.put_blocks(path, url, self.file, self._condition())
            except (AlreadyExistsError, PreconditionError):
                raise Changed(
                    f"{url}: written by another run meanwhile: run the command again"
                ) from None
        entry = Entry(self.key, size, datetime.now(UTC), etag.strip('"'))
        self.blob._known[self.key] = entry
        self.file.close()
        return entry

    def _put(self, data: bytes) -> str:
        mode: Any = "overwrite"
        if self.over == "nothing":
            mode = "create"
        elif self.over != "anything":
            mode = {"e_tag": f'"{self.over.etag}"'}
        path = self.blob.path(self.key)
        result = obstore.put(self.blob.store, path, data, mode=mode, use_multipart=False)
        return result["e_tag"] or ""

    def _condition(self) -> dict[str, str]:
        if self.over == "anything":
            return {}
        if self.over == "nothing":
            return {"If-None-Match": "*"}
        return {"If-Match": f'"{self.over.etag}"'}

    def discard(self) -> None:
        """Forgets the temporary file."""
        self.file.close()


def _identity() -> tuple[Any, Callable[[], str]]:
    """azure-identity for obstore, and a bearer token for the REST API."""
    from azure.identity import DefaultAzureCredential
    from obstore.auth.azure import AzureCredentialProvider

    credential = DefaultAzureCredential()
    scope = "https://storage.azure.com/.default"
    return AzureCredentialProvider(credential=credential), lambda: credential.get_token(scope).token


def _for_polars(token: Callable[[], str]) -> Callable[[], tuple[dict[str, str], int]]:
    """A bearer token in polars' form; azure-identity caches and renews it."""
    return lambda: ({"bearer_token": token()}, int(time.time()) + _TOKEN_SECONDS)
