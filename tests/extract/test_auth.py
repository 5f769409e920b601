"""Signing in: the worked examples of Shared Key, tokens from azure-identity, and what is refused."""

from __future__ import annotations

import base64
import gc
import gzip
import json
import threading
import time
from collections import namedtuple
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.extract.auth import AuthError, Entra, SharedKey, origin, string_to_sign

SHARED = Path(__file__).resolve().parents[3] / "shared"
VECTORS_FILE = SHARED / "contract" / "shared-key-vectors.json"
VECTORS = json.loads(VECTORS_FILE.read_text()) if VECTORS_FILE.is_file() else []
ENDPOINT = "https://myaccount.eastus.batch.azure.com"
URL = f"{ENDPOINT}/pools?api-version=2024-07-01.20.0"
KEY = base64.b64encode(b"a key of thirty-two bytes, maybe").decode()
NOW = 1_737_072_000.0  # 2025-01-17T00:00:00Z

# A cold or busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
AccessToken = namedtuple("AccessToken", "token expires_on")


def client(sign_in, *answers):
    """An httpx client with `sign_in`; `answers` are given in turn, the last one for ever.

    Returns the client and the list of Authorization headers sent.
    """
    sent = []
    left = list(answers)

    def answer(request):
        sent.append(request.headers["Authorization"])
        status, headers, *body = left.pop(0) if len(left) > 1 else left[0]
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(*body or [b"{}"]))

    return httpx.Client(auth=sign_in, transport=httpx.MockTransport(answer)), sent


OK = (200, {})
REFUSED = b'{"code":"AuthenticationFailed","message":{"value":"no"}}'


class TestSharedKey:
    """Signatures, and when a request is signed again."""

    @pytest.mark.skipif(not VECTORS, reason=f"{VECTORS_FILE} is not there")
    @pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
    def test_vectors(self, vector):
        """Each worked example gives its string to sign and its signature, to the byte."""
        date = parsedate_to_datetime(vector["headers"]["ocp-date"]).timestamp()
        endpoint = "{}://{}".format(*urlsplit(vector["url_as_sent"]))
        sign_in = SharedKey(
            vector["account"], vector["key_base64"], endpoint=endpoint, now=lambda: date
        )
        request = httpx.Request(vector["method"], vector["url_as_sent"])
        next(sign_in.auth_flow(request))

        assert vector["url_as_sent"] == str(request.url)
        assert vector["string_to_sign"] == string_to_sign(vector["account"], request)
        assert vector["authorization"] == request.headers["Authorization"]

    @patient
    @given(st.data())
    def test_order_of_the_query_does_not_matter(self, data):
        """The same parameters in any order have the same string to sign."""
        names = data.draw(
            st.lists(
                st.sampled_from("$filter $select api-version maxresults timeout".split()),
                unique=True,
            )
        )
        params = [(name, data.draw(st.text(max_size=8))) for name in names]
        shuffled = data.draw(st.permutations(params))

        assert self.signed(params) == self.signed(shuffled)

    @patient
    @given(st.text(min_size=1, max_size=20))
    def test_values_are_signed_decoded(self, value):
        """However a value is percent-encoded, it is the decoded value that is signed."""
        plain = self.signed([("$filter", value)])
        every_byte = "".join(f"%{byte:02x}" for byte in value.encode())
        request = httpx.Request("GET", f"{URL}&$filter={every_byte}")

        assert plain == string_to_sign("a", request)
        assert f"\n$filter:{value}" in plain

    @staticmethod
    def signed(params):
        """The string to sign of a request with these parameters."""
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in params)
        return string_to_sign("a", httpx.Request("GET", f"{URL}&{query}"))

    def test_oddities_of_the_query(self):
        """Blanks are dropped, of two values the first counts, `$…` sorts first, case aside."""
        request = httpx.Request("GET", f"{ENDPOINT}/p%20q?b=2&B2=x&a=&c=1&c=2&$z=3&A1=y")

        assert ["/a/p%20q", "$z:3", "A1:y", "b:2", "B2:x", "c:1"] == string_to_sign(
            "a", request
        ).splitlines()[12:]

    def test_headers(self):
        """Signed headers are in their order, each ocp-* header sorted and lower-cased after."""
        headers = {"If-Match": "e", "Range": "r", "ocp-z": "2", "OCP-Date": "1", "x": "not signed"}
        lines = string_to_sign("a", httpx.Request("GET", URL, headers=headers)).split("\n")

        assert ["GET", *[""] * 7, "e", "", "", "r", "ocp-date:1", "ocp-z:2", "/a/pools"] == [
            "GET",
            *lines[1:8],
            *lines[8:11],
            *lines[11:15],
        ]

    def test_refused_for_time(self):
        """A 403 with a Date far from ours is signed once more by that date, and later ones too."""
        date = formatdate(NOW + 1200, usegmt=True)
        sign_in = SharedKey("a", KEY, endpoint=ENDPOINT, now=lambda: NOW)
        http, sent = client(sign_in, (403, {"Date": date}, REFUSED), OK)
        dates = []
        http.event_hooks = {"request": [lambda request: dates.append(request.headers["ocp-date"])]}

        assert [200, 200] == [http.get(URL).status_code for _ in range(2)]
        assert [formatdate(NOW, usegmt=True), date, date] == dates
        assert 2 == len(set(sent))

    def test_refused_by_the_clock_that_was_followed(self):
        """Where its Date agrees with the corrected clock it is about something else: no more tries."""
        refused = (403, {"Date": formatdate(NOW + 1200, usegmt=True)}, REFUSED)
        sign_in = SharedKey("a", KEY, endpoint=ENDPOINT, now=lambda: NOW)
        http, sent = client(sign_in, refused, OK, refused)

        assert [200, 403] == [http.get(URL).status_code for _ in range(2)]
        assert 3 == len(sent)

    def test_clock_is_not_followed_unasked(self):
        """A Date far from ours on an answer that is no refusal changes nothing."""
        date = formatdate(NOW + 1200, usegmt=True)
        sign_in = SharedKey("a", KEY, endpoint=ENDPOINT, now=lambda: NOW)
        http, sent = client(sign_in, (200, {"Date": date}))
        http.get(URL)
        http.get(URL)

        assert 1 == len(set(sent))

    @pytest.mark.parametrize(
        ("headers", "body", "requests"),
        [
            ({}, REFUSED, 1),
            ({"Date": "today"}, REFUSED, 1),
            ({"Date": "Fri, 31 Dec 9999 23:59:59 -2359"}, REFUSED, 1),
            ({"Date": formatdate(NOW + 50, usegmt=True)}, REFUSED, 1),
            ({"Date": formatdate(NOW - 3600, usegmt=True)}, REFUSED, 2),
            ({"Date": formatdate(NOW - 3600, usegmt=True)}, b'{"code":"Forbidden"}', 1),
            (
                {"Date": formatdate(NOW - 3600, usegmt=True), "Content-Encoding": "gzip"},
                gzip.compress(REFUSED, mtime=0),
                2,
            ),
            ({"Date": formatdate(NOW - 3600, usegmt=True), "Content-Encoding": "gzip"}, b"x", 1),
        ],
    )
    def test_refused_for_good(self, headers, body, requests):
        """A 403 for another reason stays one: at most one more try, and no correction is kept."""
        sign_in = SharedKey("a", KEY, endpoint=ENDPOINT, now=lambda: NOW)
        http, sent = client(sign_in, (403, headers, body))
        with http.stream("GET", URL) as response:
            assert (403, body) == (response.status_code, b"".join(response.iter_raw()))
        assert requests == len(sent)
        with http.stream("GET", URL) as response:
            assert 403 == response.status_code
        assert sent[0] == sent[requests]

    def test_401(self):
        """A 401, which is not how the service refuses a key, gets one more try."""
        http, sent = client(SharedKey("a", KEY, endpoint=ENDPOINT), (401, {}), OK)
        assert (200, 2) == (http.get(URL).status_code, len(sent))

        http, sent = client(SharedKey("a", KEY, endpoint=ENDPOINT), (401, {}))
        assert (401, 2) == (http.get(URL).status_code, len(sent))

    def test_key_that_is_no_base64(self):
        """A malformed key is an AuthError that does not repeat it."""
        with pytest.raises(AuthError, match="not valid base64") as caught:
            SharedKey("a", "hunter2!", endpoint=ENDPOINT)

        assert "hunter2" not in str(caught.value)

    def test_key_is_not_held_as_text(self):
        """Neither the object nor what it refers to holds the key as text or bytes."""
        sign_in = SharedKey("a", KEY, endpoint=ENDPOINT)
        held = repr([vars(sign_in), gc.get_referents(sign_in)])

        assert KEY not in held
        assert "thirty-two" not in held


class Credential:
    """Hands out a numbered token on each call; `lifetime` in seconds."""

    def __init__(self, lifetime=3600, error=None):
        self.calls = []
        self.lifetime = lifetime
        self.error = error

    def get_token(self, *scopes, claims=None):
        """Hand out the next token, after a moment in which other threads come to ask."""
        self.calls.append((scopes, claims))
        time.sleep(0.002)
        if self.error:
            raise self.error
        return AccessToken(f"token-{len(self.calls)}", int(NOW) + self.lifetime)


class TestEntra:
    """Tokens: which, for how long, and what a 401 does."""

    @pytest.mark.parametrize(
        ("endpoint", "scope", "authority"),
        [
            (
                ENDPOINT,
                "https://batch.core.windows.net//.default",
                "https://login.microsoftonline.com",
            ),
            (
                "https://a.usgovvirginia.batch.usgovcloudapi.net",
                "https://batch.core.usgovcloudapi.net//.default",
                "https://login.microsoftonline.us",
            ),
            (
                "https://a.chinaeast2.batch.chinacloudapi.cn",
                "https://batch.chinacloudapi.cn//.default",
                "https://login.chinacloudapi.cn",
            ),
            (
                "http://127.0.0.1:8080",
                "https://batch.core.windows.net//.default",
                "https://login.microsoftonline.com",
            ),
        ],
    )
    def test_clouds(self, endpoint, scope, authority):
        """Scope and authority are the cloud's that the host belongs to, unless one is given."""
        sign_in = Entra(endpoint)

        assert (scope, authority) == (sign_in.scope, sign_in.authority_host)
        assert "login.example" == Entra(endpoint, authority_host="login.example").authority_host

    def test_one_token_for_many_requests(self):
        """A token serves until shortly before it expires, and is then replaced."""
        credential = Credential()
        clock = [NOW]
        sign_in = Entra(ENDPOINT, credential=credential, now=lambda: clock[0])
        http, sent = client(sign_in, OK)
        for clock[0] in (NOW, NOW + 3299, NOW + 3301):
            http.get(URL)

        assert ["Bearer token-1", "Bearer token-1", "Bearer token-2"] == sent
        assert [((sign_in.scope,), None)] * 2 == credential.calls

    def test_short_lived_tokens(self):
        """A token that lives for less than the margin is used for half its life, not once."""
        clock = [NOW]
        sign_in = Entra(ENDPOINT, credential=Credential(lifetime=60), now=lambda: clock[0])
        http, sent = client(sign_in, OK)
        for clock[0] in (NOW, NOW + 29, NOW + 31):
            http.get(URL)

        assert ["Bearer token-1", "Bearer token-1", "Bearer token-2"] == sent

    def test_one_refresh_for_many_threads(self):
        """Threads that need a token at once wait for one call."""
        credential = Credential()
        http, sent = client(Entra(ENDPOINT, credential=credential, now=lambda: NOW), OK)
        start = threading.Barrier(8)

        def run():
            start.wait()
            http.get(URL)

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert (["Bearer token-1"] * 8, 1) == (sent, len(credential.calls))

    def test_401_gets_one_fresh_token(self):
        """After a 401 the request goes once more with a fresh token, which later ones use too."""
        sign_in = Entra(ENDPOINT, credential=Credential(), now=lambda: NOW)
        http, sent = client(sign_in, (401, {}), OK)

        assert [200, 200] == [http.get(URL).status_code for _ in range(2)]
        assert ["Bearer token-1", "Bearer token-2", "Bearer token-2"] == sent

    def test_401_that_stays(self):
        """A second 401 is the answer."""
        http, sent = client(Entra(ENDPOINT, credential=Credential(), now=lambda: NOW), (401, {}))

        assert 401 == http.get(URL).status_code
        assert ["Bearer token-1", "Bearer token-2"] == sent

    @pytest.mark.parametrize(
        ("challenge", "claims"),
        [
            ('Bearer error="insufficient_claims", claims="eyJhIjoxfQ=="', '{"a":1}'),
            ('Bearer realm="", claims="eyJhIjoxfQ"', '{"a":1}'),
            ('Bearer authorization_uri="https://login.example/t"', None),
            ('Bearer claims="/w=="', None),
        ],
    )
    def test_claims_challenge(self, challenge, claims):
        """The claims of a 401's challenge are asked for; what cannot be read is left out."""
        credential = Credential()
        sign_in = Entra(ENDPOINT, credential=credential, now=lambda: NOW)
        http, _ = client(sign_in, (401, {"WWW-Authenticate": challenge}), OK)
        http.get(URL)

        assert [None, claims] == [call[1] for call in credential.calls]

    def test_401s_of_many_threads(self):
        """A token that another thread has replaced already is not replaced again."""
        credential = Credential()
        sign_in = Entra(ENDPOINT, credential=credential, now=lambda: NOW)
        flows = []
        for _ in range(3):
            request = httpx.Request("GET", URL)
            flow = sign_in.auth_flow(request)
            next(flow)
            flows.append((flow, request))
        for flow, _ in flows:
            flow.send(httpx.Response(401, stream=httpx.ByteStream(b"")))

        assert ["Bearer token-2"] * 3 == [request.headers["Authorization"] for _, request in flows]
        assert 2 == len(credential.calls)

    def test_failure_is_reported_with_advice(self):
        """A credential's failure says what to try; the threads that waited do not repeat it."""
        credential = Credential(error=RuntimeError("no\n  luck"))
        clock = [NOW]
        http, sent = client(Entra(ENDPOINT, credential=credential, now=lambda: clock[0]), OK)
        for clock[0], calls in ((NOW, 1), (NOW + 9, 1), (NOW + 11, 2)):
            with pytest.raises(AuthError) as caught:
                http.get(URL)
            assert calls == len(credential.calls)

        assert "az login" in str(caught.value)
        assert "AZURE_BATCH_ACCESS_KEY" in str(caught.value)
        assert str(caught.value).endswith("azure-identity says: no luck")
        assert (None, True, []) == (
            caught.value.__cause__,
            caught.value.__suppress_context__,
            sent,
        )

    def test_failure_of_a_chain(self):
        """What a chain of credentials says is brought down to a sentence of each."""
        error = RuntimeError(
            "DefaultAzureCredential failed to retrieve a token from the included credentials.\n"
            "Attempted credentials:\n"
            "\tEnvironmentCredential: EnvironmentCredential authentication unavailable. Visit\n"
            "https://aka.ms/azsdk to troubleshoot this issue.\n"
            "\tAzureCliCredential: Azure CLI not found on path\n"
            "\tBrokerCredential: Unavailable.\n"
            "To mitigate this issue, please refer to the guidelines."
        )
        http, _ = client(Entra(ENDPOINT, credential=Credential(error=error)), OK)

        with pytest.raises(AuthError) as caught:
            http.get(URL)
        assert str(caught.value).endswith(
            "azure-identity says: EnvironmentCredential authentication unavailable; "
            "Azure CLI not found on path; Unavailable"
        )

    def test_failed_refresh_of_a_valid_token(self):
        """While the old token is still valid a failed refresh goes unnoticed."""
        credential = Credential()
        clock = [NOW]
        http, sent = client(Entra(ENDPOINT, credential=credential, now=lambda: clock[0]), OK)
        http.get(URL)
        credential.error = RuntimeError("down")
        clock[0] = NOW + 3400
        http.get(URL)
        clock[0] = NOW + 3601

        with pytest.raises(AuthError, match="down"):
            http.get(URL)
        assert ["Bearer token-1"] * 2 == sent


@pytest.mark.parametrize(
    "sign_in",
    [
        SharedKey("a", KEY, endpoint=ENDPOINT),
        Entra(ENDPOINT, credential=Credential(), now=lambda: NOW),
    ],
    ids=["shared key", "entra"],
)
class TestOwnOrigin:
    """Both ways: credentials for the account alone."""

    @pytest.mark.parametrize(
        "url",
        [
            "http://myaccount.eastus.batch.azure.com/pools",
            "https://myaccount.eastus.batch.azure.com:8443/pools",
            "https://other.eastus.batch.azure.com/pools",
            "https://myaccount.eastus.batch.azure.com.example.com/pools",
            "https://127.0.0.1/pools",
        ],
    )
    def test_other_places(self, sign_in, url):
        """Credentials go to no other scheme, host or port."""
        http, sent = client(sign_in, OK)

        with pytest.raises(AuthError, match="not the account's own scheme, host and port"):
            http.get(url)
        assert [] == sent

    def test_own_place(self, sign_in):
        """The default port, named or not, and the host in any case are the account's own."""
        http, sent = client(sign_in, OK)
        http.get("https://MyAccount.eastus.batch.azure.com:443/pools")

        assert 1 == len(sent)

    @pytest.mark.parametrize("status", [401, 403])
    def test_refusal_with_an_endless_body(self, sign_in, status):
        """Of a refusal's body no more is read than is needed to recognise it: httpx would read all."""
        taken = []

        class Endless(httpx.SyncByteStream):
            def __iter__(self):
                while True:
                    taken.append(1)
                    yield b"AuthenticationFailed" * 1000

        answers = [
            httpx.Response(
                status, headers={"Date": formatdate(NOW - 86_400, usegmt=True)}, stream=Endless()
            ),
            httpx.Response(200, stream=httpx.ByteStream(b"")),
        ]
        transport = httpx.MockTransport(lambda request: answers.pop(0))
        with (
            httpx.Client(auth=sign_in, transport=transport) as http,
            http.stream("GET", URL) as response,
        ):
            assert (403 if isinstance(sign_in, Entra) and status == 403 else 200) == (
                response.status_code
            )
        assert len(taken) <= 4


@pytest.mark.parametrize("kind", [Entra, lambda endpoint: SharedKey("a", KEY, endpoint=endpoint)])
def test_plain_http_is_for_this_machine(kind):
    """Over plain http credentials go to loopback addresses only."""
    for endpoint in ("http://127.0.0.1:1", "http://127.8.8.8", "http://[::1]", "http://localhost"):
        kind(endpoint)
    for endpoint in ("http://10.0.0.1", "http://localhost.example.com", "ftp://127.0.0.1"):
        with pytest.raises(AuthError, match="over https, or over http to this machine only"):
            kind(endpoint)


def test_origin():
    """An origin is scheme, host and port, with the scheme's own port filled in."""
    assert ("https", "a.example", 443) == origin("https://A.example/x?y")
    assert ("http", "::1", 80) == origin("http://[::1]")
    assert ("http", "127.0.0.1", 8080) == origin(httpx.URL("http://127.0.0.1:8080"))


class TokenEndpoint(ThreadingHTTPServer):
    """A local managed-identity endpoint: service.md, "Authentication"."""

    daemon_threads = True

    def __init__(self, status=200):
        self.status = status
        self.asked = []
        super().__init__(("127.0.0.1", 0), TokenHandler)


class TokenHandler(BaseHTTPRequestHandler):
    """Answers with a numbered token that is valid for a day."""

    def do_GET(self):
        """Issue a token for the resource asked for."""
        query = parse_qs(urlsplit(self.path).query)
        self.server.asked.append((query["resource"][0], self.headers["X-Identity-Header"]))
        answer = {
            "access_token": f"identity-{len(self.server.asked)}",
            "expires_on": str(int(time.time()) + 86_400),
            "resource": query["resource"][0],
            "token_type": "Bearer",
        }
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer if self.server.status == 200 else {}).encode())

    def log_message(self, *args):
        """Keep the tests' output clean."""


@pytest.fixture
def token_endpoint(monkeypatch):
    """A running TokenEndpoint that azure-identity finds in the environment."""
    with TokenEndpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "the-header")
        yield server
        server.shutdown()
        thread.join()


class TestRealIdentity:
    """azure-identity itself, against a local endpoint."""

    RESOURCE = "https://batch.core.windows.net/"

    def test_managed_identity(self, token_endpoint):
        """A real ManagedIdentityCredential brings a token for the Batch resource."""
        from azure.identity import ManagedIdentityCredential

        with ManagedIdentityCredential() as credential:
            http, sent = client(Entra(ENDPOINT, credential=credential), OK)
            http.get(URL)

        assert ["Bearer identity-1"] == sent
        assert [(self.RESOURCE, "the-header")] == token_endpoint.asked

    def test_default_credential_heals_a_401(self, token_endpoint):
        """Without a credential DefaultAzureCredential is used; a 401 gets past its cache."""
        http, sent = client(Entra(ENDPOINT), (401, {}), OK)

        assert [200, 200] == [http.get(URL).status_code for _ in range(2)]
        assert ["Bearer identity-1", "Bearer identity-2", "Bearer identity-2"] == sent
        assert [(self.RESOURCE, "the-header")] * 2 == token_endpoint.asked

    def test_claims_get_past_the_cache(self, token_endpoint):
        """A claims challenge gets a fresh token too."""
        challenge = {"WWW-Authenticate": 'Bearer claims="eyJhIjoxfQ=="'}
        http, sent = client(Entra(ENDPOINT), (401, challenge), OK)
        http.get(URL)

        assert ["Bearer identity-1", "Bearer identity-2"] == sent

    def test_refused_identity(self, token_endpoint):
        """A real credential's refusal becomes an AuthError."""
        from azure.identity import ManagedIdentityCredential

        token_endpoint.status = 403
        with ManagedIdentityCredential() as credential:
            http, sent = client(Entra(ENDPOINT, credential=credential), OK)
            with pytest.raises(AuthError, match="az login"):
                http.get(URL)

        assert [] == sent
