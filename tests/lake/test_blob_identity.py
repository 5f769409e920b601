"""A lake on Azure Blob with azure-identity: a real credential, a token endpoint, Azurite over TLS."""

from __future__ import annotations

import base64
import ipaddress
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.cli import run
from pipeline.lake import Lake, LakeError
from pipeline.query import connect
from tests.azurite import ACCOUNT, azurite
from tests.days import DAY, NOON, expected, seen, store, store_days

SCOPE = "https://storage.azure.com"


def token(audience: str = SCOPE) -> str:
    """A bearer token as Azurite wants it: a JWT of the right issuer and audience, unsigned."""
    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3600,
        "oid": "23657296-5cd5-45b0-a809-d972a7f4dfe1",
        "tid": "dd0d0df1-06c3-436c-8034-4b9a153097ce",
        "ver": "1.0",
    }
    parts = ({"typ": "JWT", "alg": "RS256", "kid": "k"}, claims)
    coded = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )
    return ".".join([*coded, base64.urlsafe_b64encode(b"signature").decode().rstrip("=")])


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority's certificate, and one for 127.0.0.1 by it, with its key: obstore wants both."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    now = datetime.now(UTC)
    keys = [rsa.generate_private_key(65_537, 2048) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        for name in ("an authority of this test", "127.0.0.1")
    ]
    paths = [folder / "authority.pem", folder / "server.pem", folder / "key.pem"]
    for number in range(2):
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[number])
            .issuer_name(names[0])
            .public_key(keys[number].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
        )
        if number:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        made = builder.sign(keys[0], hashes.SHA256())
        paths[number].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        keys[1].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths[0], paths[1], paths[2]


class Tokens(ThreadingHTTPServer):
    """A local managed-identity endpoint, as App Service has one."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.audience = SCOPE
        super().__init__(("127.0.0.1", 0), TokenHandler)


class TokenHandler(BaseHTTPRequestHandler):
    """Hands out a token for the resource asked for."""

    server: Tokens

    def do_GET(self) -> None:
        """The answer of service.md's managed identity."""
        resource = parse_qs(urlsplit(self.path).query)["resource"][0]
        self.server.asked.append(resource)
        answer = {
            "access_token": token(self.server.audience),
            "expires_on": str(int(time.time()) + 3600),
            "resource": resource,
            "token_type": "Bearer",
        }
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *arguments: object) -> None:
        """Keeps the output clean."""


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tokens]:
    """The endpoint, where azure-identity finds it."""
    with Tokens() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "the-header")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A container of an Azurite that takes bearer tokens; no key and no SAS is in the environment."""
    authority, certificate, key = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with azurite(tmp_path / "azurite", tls=(certificate, key)) as server:
        server.make_container("lakes")
        for name in ("AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", ACCOUNT)
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", server.endpoint)
        yield "az://lakes/some/prefix"


def test_a_lake_is_written_locked_compacted_and_read(
    tokens: Tokens, uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """With nothing but azure-identity, through obstore, the REST calls and DuckDB alike."""
    lake = Lake(uri)
    ids = store_days(lake)
    assert seen(lake) == expected(ids)
    assert run(["compact", "--lake", uri]) == 0
    assert len(lake.view().compacted) == 2
    assert seen(Lake(uri)) == expected(ids)
    assert run(["sql", "--lake", uri, "select count(*) as n from nodes", "--format", "csv"]) == 0
    assert capfd.readouterr().out.split() == ["n", "24"]
    assert set(tokens.asked) == {SCOPE}


def test_frames_are_read_with_a_token(tokens: Tokens, uri: str) -> None:
    """No key is there: polars signs in for a table as DuckDB does for a fact. Two days, then one."""
    lake = Lake(uri)
    for day in range(2):
        store(lake, NOON + timedelta(days=day), is_listed=True)
    with connect(lake) as connection:
        for name, rows in (("nodes", 8), ("snapshots", 2), ("daily_node_incarnations", 8)):
            found = connection.scan(name).collect()
            assert found.height == rows
            keys = [key for key in ("node_id", "snapshot_id", "date") if key in found.columns]
            expected_rows = connection.sql(f"from {name}").pl()
            assert_frame_equal(expected_rows.select(keys).sort(keys), found.select(keys).sort(keys))
        assert connection.scan("nodes").filter(pl.col("date") == DAY).collect().height == 4
    assert set(tokens.asked) == {SCOPE}


def test_a_token_that_is_refused(tokens: Tokens, uri: str) -> None:
    """Of another audience: a clear error, no token in it."""
    tokens.audience = "https://batch.core.windows.net/"
    with pytest.raises(LakeError) as told:
        store_days(Lake(uri))
    assert "signed in" in str(told.value) or "permission denied" in str(told.value)
    assert "eyJ" not in str(told.value)
