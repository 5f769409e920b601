"""Signatures, tokens and the token endpoint: who is let in, and who is not."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pipeline.emulator import Emulator, Fleet
from pipeline.emulator.http.access import check_shared_key, sign, strings_to_sign
from pipeline.emulator.http.replies import BatchError
from pipeline.emulator.http.requests import Request, read_request

from .client import VERSION, Client, SharedKeyAuth
from .conftest import START

RESOURCE = "https://batch.core.windows.net/"


def request_for(url: str, headers: dict[str, str]) -> Request:
    """A request as it would come in."""
    parts = urlsplit(url)
    environ = {f"HTTP_{k.upper().replace('-', '_')}": v for k, v in headers.items()}
    return read_request(
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": parts.path,
            "REQUEST_URI": f"{parts.path}?{parts.query}",
            "QUERY_STRING": parts.query,
            "HTTP_HOST": parts.netloc,
            "wsgi.url_scheme": parts.scheme,
            **environ,
        }
    )


def test_published_vectors(shared: Path) -> None:
    """The contract's worked examples of Shared Key are accepted, and no changed one is."""
    vectors = json.loads((shared / "contract" / "shared-key-vectors.json").read_text())
    for vector in vectors:
        key, account = vector["key_base64"], vector["account"]
        headers = {**vector["headers"], "authorization": vector["authorization"]}
        request = request_for(vector["url_as_sent"], headers)
        assert vector["string_to_sign"] in strings_to_sign(request, account)
        assert vector["authorization"].endswith(sign(vector["string_to_sign"], key))
        now = datetime(2025, 1, 17, tzinfo=UTC).timestamp()
        check_shared_key(request, account, key, now)
        for changed in (
            request_for(vector["url_as_sent"] + "&more=3", headers),
            request_for(vector["url_as_sent"], {**headers, "authorization": "SharedKey me:"}),
        ):
            with pytest.raises(BatchError, match="AuthenticationFailed"):
                check_shared_key(changed, account, key, now)


@pytest.mark.parametrize(
    ("minutes", "status"), [(0, 200), (14, 200), (-14, 200), (16, 403), (-16, 403)]
)
def test_fifteen_minutes(client: Client, minutes: int, status: int) -> None:
    """A signature more than 15 minutes off the wall clock is refused; the fleet's is no matter."""
    client.auth.now = datetime.now(UTC) + timedelta(minutes=minutes)
    reply = client.get("/pools")
    assert status == reply.status_code
    if status == 403:
        assert "AuthenticationFailed" == reply.json()["code"]


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic bWU6bWU=",
        "Bearer",
        "Bearer nonsense",
        "SharedKey",
        "SharedKey emulated:bm90IGl0",
        "SharedKey other:bm90IGl0",
    ],
)
def test_bad_credentials(client: Client, authorization: str) -> None:
    """No credential, a wrong one and nonsense are all refused with AuthenticationFailed."""
    reply = client.http.get(
        "/pools",
        params={"api-version": VERSION},
        headers={"Authorization": authorization} if authorization else {},
        auth=None,
    )
    assert reply.status_code in (401, 403)
    assert "AuthenticationFailed" == reply.json()["code"]
    assert (reply.status_code == 401) == ("www-authenticate" in reply.headers)


def test_wrong_key(client: Client) -> None:
    """A signature under another key is refused."""
    client.http.auth = SharedKeyAuth("emulated", base64.b64encode(b"x" * 64).decode())
    assert 403 == client.get("/pools").status_code


def token_reply(emulator: Emulator, **changes: str) -> httpx.Response:
    """Ask the token endpoint as azure-identity does, with some of it changed."""
    header = changes.pop("header", emulator.tokens.identity_header)
    params = {"api-version": "2019-08-01", "resource": RESOURCE, **changes}
    with httpx.Client(transport=emulator.transport(), base_url="http://127.0.0.1:1") as http:
        return http.get("/msi/token", params=params, headers={"X-Identity-Header": header})


def bearer(client: Client, token: str) -> httpx.Response:
    """List pools with a token."""
    return client.http.get(
        "/pools",
        params={"api-version": VERSION},
        headers={"Authorization": f"Bearer {token}"},
        auth=None,
    )


def test_tokens_are_issued_and_expire() -> None:
    """A token from the endpoint is good until its expires_on, by the wall clock."""
    now = [1_700_000_000.0]
    emulator = Emulator(Fleet(start=START), clock=lambda: now[0], token_lifetime_seconds=600)
    client = Client(emulator)
    body = token_reply(emulator).json()
    assert {"access_token", "expires_on", "resource", "token_type"} == set(body)
    assert ("1700000600", "Bearer") == (body["expires_on"], body["token_type"])
    assert 200 == bearer(client, body["access_token"]).status_code
    now[0] += 600
    refused = bearer(client, body["access_token"])
    assert 401 == refused.status_code
    assert "invalid_token" in refused.headers["www-authenticate"]
    assert 200 == bearer(client, token_reply(emulator).json()["access_token"]).status_code


def test_revoked_tokens_are_challenged_for_claims(emulator: Emulator, client: Client) -> None:
    """A token taken back gives a 401 with a claims challenge; a new token is good."""
    token = token_reply(emulator).json()["access_token"]
    emulator.tokens.revoke()
    refused = bearer(client, token)
    assert 401 == refused.status_code
    assert 'error="insufficient_claims", claims="' in refused.headers["www-authenticate"]
    assert 200 == bearer(client, token_reply(emulator).json()["access_token"]).status_code


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"header": "wrong"}, 401),
        ({"api-version": "2017-09-01"}, 400),
        ({"resource": "https://management.azure.com/"}, 400),
        ({"resource": "https://batch.core.windows.net"}, 200),
        ({"resource": "https://batch.core.usgovcloudapi.net/"}, 200),
    ],
)
def test_token_endpoint_refuses(emulator: Emulator, changes: dict[str, str], status: int) -> None:
    """The endpoint wants its header, its version and a Batch resource."""
    assert status == token_reply(emulator, **changes).status_code


def test_user_subscription_accounts_take_tokens_only() -> None:
    """An account in user-subscription mode refuses signatures, and takes tokens."""
    emulator = Emulator(Fleet(start=START), allows_shared_key=False)
    with Client(emulator) as client:
        assert 403 == client.get("/pools").status_code
        assert 200 == bearer(client, token_reply(emulator).json()["access_token"]).status_code


def test_key_is_made_from_the_seed() -> None:
    """The account's key depends on seed and account only; a key of one's own must be base64."""
    fleet = Fleet(start=START)
    assert Emulator(fleet).key == Emulator(fleet).key
    assert Emulator(fleet).key != Emulator(fleet, account="other").key
    assert Emulator(fleet).key != Emulator(Fleet(start=START, seed=8)).key
    assert "a2V5" == Emulator(fleet, key="a2V5").key
    with pytest.raises(ValueError, match="base64"):
        Emulator(fleet, key="no key")
