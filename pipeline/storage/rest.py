"""The part of Azure Blob's REST API that obstore lacks: leases, and conditional block lists."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import IO, Any
from urllib.parse import quote

import httpx
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from pipeline.redact import redact_text
from pipeline.storage.base import Changed, LakeError, Lock, Locked, NoContainer

LEASE_SECONDS = 60
_RENEW_SECONDS = 15.0
#: Seconds without renewal after which a lease may end before the next write does.
_DOUBTFUL_SECONDS = 45.0
BLOCK_BYTES = 8 << 20
_VERSION = "2023-11-03"
_ATTEMPTS = 4


class Rest:
    """Signed requests to the blobs of one container.

    Args:
        endpoint: URL of the container.
        store: signs URLs where there is an account key.
        sas: a SAS token, instead of that.
        token: gives a bearer token, instead of both.
    """

    def __init__(
        self,
        endpoint: str,
        store: Any,
        *,
        sas: str | None = None,
        token: Callable[[], str] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.store = store
        self._sas = sas
        self._token = token
        # No keep-alive: requests are few, and no connection may outlive its lake.
        self._client = httpx.Client(timeout=30, limits=httpx.Limits(max_keepalive_connections=0))

    def put(
        self,
        path: str,
        query: str,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
    ) -> httpx.Response:
        """One PUT, retried where there was no answer. Its errors never hold the signed URL."""
        return self._send("PUT", path, query, headers or {}, content)

    def delete(self, path: str, url: str, etag: str) -> bool:
        """Deletes one version of a blob; False where it is gone or replaced."""
        response = self._send("DELETE", path, "", {"If-Match": f'"{etag}"'}, None)
        if response.status_code in (404, 412):
            return False
        _require(response, url)
        return True

    def _send(
        self, method: str, path: str, query: str, headers: Mapping[str, str], content: bytes | None
    ) -> httpx.Response:
        sent = {"x-ms-version": _VERSION, **headers}
        for attempt in range(_ATTEMPTS):
            url = self._signed(method, path, query, sent)
            try:
                response = self._client.request(method, url, headers=sent, content=content)
            except httpx.HTTPError as error:
                if attempt + 1 == _ATTEMPTS:
                    raise LakeError(
                        f"{path}: the storage account cannot be reached: {type(error).__name__}"
                    ) from None
            else:
                if response.status_code < 500 or attempt + 1 == _ATTEMPTS:
                    return response
            time.sleep(0.2 * 2**attempt)
        raise AssertionError("unreachable")

    def _signed(self, method: Any, path: str, query: str, headers: dict[str, str]) -> str:
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
            return f"{self.endpoint}/{quote(path)}" + (f"?{query}" if query else "")
        if self._sas:
            return f"{self.endpoint}/{quote(path)}?{self._sas}" + (f"&{query}" if query else "")
        # obstore signs for an hour with the account's key; the URL is used at once.
        signed = obstore.sign(self.store, method, path, timedelta(hours=1))
        return f"{signed}&{query}" if query else signed

    def put_blocks(self, path: str, url: str, file: IO[bytes], condition: dict[str, str]) -> str:
        """Uploads a file in blocks; the block list, which is conditional, makes it visible.

        Returns:
            The ETag.

        Raises:
            Changed: the condition does not hold.
        """
        names: list[str] = []
        while block := file.read(BLOCK_BYTES):
            name = base64.b64encode(f"{len(names):08}-{uuid.uuid4().hex}".encode()).decode()
            query = f"comp=block&blockid={quote(name, safe='')}"
            _require(self.put(path, query, content=block), url)
            names.append(name)
        listed = "".join(f"<Latest>{name}</Latest>" for name in names)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'
        response = self.put(path, "comp=blocklist", condition, body.encode())
        if response.status_code in (409, 412):
            raise Changed(f"{url}: written by another run meanwhile: run the command again")
        _require(response, url)
        return response.headers["etag"]

    @contextlib.contextmanager
    def lease(self, path: str, url: str) -> Iterator[Lock]:
        """Holds a lease on a blob, renewed by a thread; that of a dead holder ends after a minute.

        Raises:
            Locked: another run holds it.
        """
        with blob_errors(url), contextlib.suppress(AlreadyExistsError):
            obstore.put(self.store, path, b"", mode="create")
        lease = _Lease(self, path, url)
        lease.acquire()
        try:
            yield lease
        finally:
            lease.release()

    def read_small(self, path: str) -> str:
        """A small text, empty where it cannot be read."""
        try:
            return bytes(obstore.get(self.store, path).bytes())[:200].decode(errors="replace")
        except BaseError:
            return ""


def _awake_or_not() -> float:
    """Monotonic seconds, also while the machine sleeps: leases end meanwhile."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)  # Linux only
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class _Lease:
    def __init__(self, rest: Rest, path: str, url: str) -> None:
        self.rest = rest
        self.path = path
        self.url = url
        self.id = str(uuid.uuid4())
        self._renewed = 0.0
        self._is_lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="nodelake-lease", daemon=True)

    def _ask(self, action: str, **headers: str) -> httpx.Response:
        asked = {"x-ms-lease-action": action, "x-ms-lease-id": self.id} | headers
        if action == "acquire":
            asked["x-ms-proposed-lease-id"] = asked.pop("x-ms-lease-id")
        return self.rest.put(self.path, "comp=lease", asked)

    def acquire(self) -> None:
        begun = _awake_or_not()
        response = self._ask("acquire", **{"x-ms-lease-duration": str(LEASE_SECONDS)})
        if response.status_code == 409:
            holder = self.rest.read_small(self.path).strip()
            raise Locked(self.path.rpartition("/")[2], holder)
        _require(response, self.url)
        self._renewed = begun
        self._thread.start()
        holder = f"pid {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%FT%TZ}\n"
        headers = {"x-ms-lease-id": self.id, "x-ms-blob-type": "BlockBlob"}
        self.rest.put(self.path, "", headers, holder.encode())

    def _renew(self) -> None:
        while not self._over.wait(_RENEW_SECONDS):
            begun = _awake_or_not()
            try:
                response = self._ask("renew")
            except LakeError:
                continue  # the network may come back before the lease ends
            if response.status_code == 200:
                self._renewed = begun
            elif response.status_code in (404, 409, 412):
                self._is_lost = True
                return

    def check(self) -> None:
        """Raises Changed where the lease is lost, or was not renewed for too long."""
        if self._is_lost or _awake_or_not() - self._renewed > _DOUBTFUL_SECONDS:
            raise Changed(f"{self.url}: the lease was lost: run the command again")

    def now(self) -> datetime:
        """The service's time, from the answer to a renewal."""
        response = self._ask("renew")
        _require(response, self.url)
        return parsedate_to_datetime(response.headers["Date"])

    def release(self) -> None:
        self._over.set()
        self._thread.join()
        with contextlib.suppress(LakeError):
            self._ask("release")


def _require(response: httpx.Response, url: str) -> None:
    """Raises LakeError for an error; the message has the service's code and no secret."""
    if response.is_success:
        return
    code = response.headers.get("x-ms-error-code", "")
    kind = NoContainer if code in _NO_CONTAINER else LakeError
    advice = _ADVICE.get(response.status_code, "the storage account refused")
    raise kind(f"{url}: {advice} (HTTP {response.status_code} {code})")


#: The service's codes for a container that is not there, or is being deleted.
_NO_CONTAINER = ("ContainerNotFound", "ContainerBeingDeleted", "ResourceNotFound")


_ADVICE = {
    401: "not signed in: set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or `az login`",
    403: "permission denied: the key, SAS or role must allow reading, writing and deleting",
    404: "there is no such container or account: make it, or choose another --lake",
}
#: What obstore raises for these, where it does not say the status.
_KINDS = {
    "FileNotFoundError": _ADVICE[404],
    "NotFoundError": _ADVICE[404],
    "PermissionDeniedError": _ADVICE[403],
    "UnauthenticatedError": _ADVICE[401],
}


@contextlib.contextmanager
def blob_errors(url: str) -> Iterator[None]:
    """Turns errors of obstore into errors that name the file and what to do, without secrets."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        kind = type(error).__name__
        # obstore shows the service's answer as text only; a listing's refusal has no kind of its own
        text = str(error)
        status = re.search(r"status code: (\d{3})", text)
        code = re.search(r"<Code>(\w+)</Code>", text)
        advice = _ADVICE.get(int(status[1])) if status else _KINDS.get(kind)
        detail = code[1] if code else redact_text(text.strip().split("\n")[0])[:300]
        is_missing = code is not None and code[1] in _NO_CONTAINER
        raise (NoContainer if is_missing else LakeError)(
            f"{url}: {advice or 'the storage account cannot be used'} ({kind}: {detail})"
        ) from None
