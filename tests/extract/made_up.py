"""A made-up service: answers on order, a clock, and what else the tests of the client share."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

from pipeline.config import Account, Secret
from pipeline.extract import (
    ExtractError,
)

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "recordings"


ENDPOINT = "https://acct.eastus.batch.azure.com"


ACCOUNT = Account(ENDPOINT, "acct", "acct.eastus", key=Secret("a2V5a2V5a2V5a2V5"))


NOW = datetime(2025, 1, 17, tzinfo=UTC)


DATE = {"Date": format_datetime(NOW, usegmt=True)}


EMPTY = b'{"value":[]}'


VERSION = "api-version=2024-07-01.20.0"


# A cold or busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def answer(status=200, body=EMPTY, **headers):
    """An answer of the service, its body still on the wire."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def refusal(status, code="InternalError", text="no", **headers):
    """An error of the service, worded as it does."""
    message = {"lang": "en-US", "value": f"{text}\nRequestId:from-body\nTime:2025-01-17T00:00:00Z"}
    return answer(status, json.dumps({"code": code, "message": message}).encode(), **headers)


def page_with(link, *nodes):
    """A page whose nextLink is `link`, any JSON value."""
    return json.dumps({"odata.metadata": "m", "value": nodes, "odata.nextLink": link}).encode()


class Service(httpx.BaseTransport):
    """Gives its answers in turn and keeps the requests; an exception is raised in its turn."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def handle_request(self, request):
        """Give the next answer."""
        # A second signing changes the request itself: keep it as it is now.
        copy = httpx.Request(request.method, request.url, headers=request.headers.copy())
        copy.extensions = request.extensions
        self.requests.append(copy)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def urls(self):
        """The URLs asked for."""
        return [str(request.url) for request in self.requests]


class Clock:
    """A clock that `sleep` moves on; `waits` keeps the waits, in seconds."""

    def __init__(self):
        self.seconds = 0.0
        self.waits = []

    def __call__(self):
        """The time now, in seconds."""
        return self.seconds

    def sleep(self, seconds):
        """Move on."""
        self.waits.append(seconds)
        self.seconds += seconds


class Credential:
    """A numbered token on each call, or an error."""

    calls = 0
    error = None

    def get_token(self, *scopes, claims=None):
        """Hand out the next token."""
        self.calls += 1
        if self.error:
            raise self.error
        return type("Token", (), {"token": f"token-{self.calls}", "expires_on": 4_102_444_800})


def failure_of(call, *args):
    """The ExtractError that a call, or the listing it returns, ends in."""
    with pytest.raises(ExtractError) as caught:
        list(call(*args))
    return caught.value


def recorded(pattern):
    """The recordings of a kind, as parameters: name and content."""
    if not RECORDINGS.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"{RECORDINGS} is not there"))]
    paths = sorted(RECORDINGS.glob(pattern))
    return [pytest.param(json.loads(path.read_text()), id=path.stem) for path in paths]
