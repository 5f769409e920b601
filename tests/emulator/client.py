"""A small Batch client for tests: it signs by the contract's rules and nothing else.

It shares no code with the emulator or with nodelake's own client, so that no two can agree on
the same mistake.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from pipeline.emulator import Emulator

VERSION = "2024-07-01.20.0"


#: Signed by position; a header that is not there is an empty line.
SIGNED = (
    "content-encoding content-language content-length content-md5 content-type date"
    " if-modified-since if-match if-none-match if-unmodified-since range"
).split()


def shared_key(method: str, url: str, headers: Mapping[str, str], account: str, key: str) -> str:
    """Return the Authorization header for a request, from its headers by lower-case name."""
    parts = urlsplit(url)
    text = f"{method}\n" + "".join(f"{headers.get(name, '')}\n" for name in SIGNED)
    text += "".join(f"{n}:{headers[n]}\n" for n in sorted(headers) if n.startswith("ocp-"))
    text += f"/{account}{parts.path}"
    for name, value in sorted(parse_qsl(parts.query), key=lambda pair: pair[0].lower()):
        text += f"\n{name.lower()}:{value}"
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return f"SharedKey {account}:{base64.b64encode(digest).decode()}"


class SharedKeyAuth(httpx.Auth):
    """Signs each request with the time that ``now`` returns."""

    def __init__(self, account: str, key: str, now: datetime | None = None) -> None:
        self.account, self.key, self.now = account, key, now

    def auth_flow(self, request: httpx.Request) -> Any:
        """Sign and send."""
        date = format_datetime(self.now or datetime.now(UTC), usegmt=True)
        request.headers["ocp-date"] = date
        request.headers["Authorization"] = shared_key(
            request.method, str(request.url), request.headers, self.account, self.key
        )
        yield request


class Client:
    """Asks an emulator, in process or (with an endpoint) over a socket."""

    def __init__(self, emulator: Emulator, endpoint: str | None = None) -> None:
        self.emulator = emulator
        self.auth = SharedKeyAuth(emulator.account, emulator.key)
        if endpoint is None:
            self.http = httpx.Client(
                transport=emulator.transport(), base_url=emulator.endpoint, auth=self.auth
            )
        else:
            self.http = httpx.Client(base_url=endpoint, auth=self.auth)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.http.close()

    def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
        """Ask for a path; a query name's first "_" is its "$"."""
        names = {name.replace("_", "$", 1): value for name, value in query.items()}
        return self.http.get(path, params={"api-version": VERSION, **names}, headers=headers)

    def follow(self, link: str) -> httpx.Response:
        """Follow a nextLink unchanged."""
        return self.http.get(link)

    def pages(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Return every page of a listing."""
        pages = [self.get(path, **query).raise_for_status().json()]
        while link := pages[-1].get("odata.nextLink"):
            pages.append(self.follow(link).raise_for_status().json())
        return pages

    def items(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Return every item of a listing."""
        return [item for page in self.pages(path, **query) for item in page["value"]]
