"""The REST client over real sockets: what a made-up transport cannot show."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import tracemalloc
import zlib

import pytest

from pipeline.config import Account, ConfigError, Limits, Secret
from pipeline.extract import (
    BadResponse,
    BatchClient,
    Cancelled,
    DeadlineExceeded,
    ExtractError,
    TransportFailed,
)

KEY = Secret("a2V5a2V5a2V5a2V5")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + b'{"value":[]}'
JOIN_SECONDS = 20  # a bound for a broken client only: threads end in milliseconds


class Server:
    """Gives each connection to `serve(socket, number)` in a thread of its own."""

    def __init__(self, serve, tls=None):
        self.serve = serve
        self.tls = tls
        self.released = threading.Event()
        self.asked = threading.Semaphore(0)
        self.open = self.most_open = self.connections = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    @property
    def port(self):
        """The port it listens on."""
        return self.listener.getsockname()[1]

    def account(self):
        """An account at this server."""
        scheme = "https" if self.tls else "http"
        return Account(f"{scheme}://127.0.0.1:{self.port}", "acct", "acct.local", key=KEY)

    def accept(self):
        """Take connections until it is closed."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.open += 1
                self.most_open = max(self.most_open, self.open)
            thread = threading.Thread(target=self.run, args=(connection, self.connections))
            self.threads.append(thread)
            thread.start()

    def run(self, connection, number):
        """Serve one connection."""
        try:
            with (
                self.tls.wrap_socket(connection, server_side=True) if self.tls else connection as c
            ):
                self.serve(self, c, number)
        except OSError:
            pass  # the client is gone
        finally:
            with self.lock:
                self.open -= 1

    def close(self):
        """Let go of every connection, and wait for its threads."""
        self.released.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(JOIN_SECONDS)


def read_request(connection):
    """The head of the next request, empty when the client is gone."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return b""
        head += byte
    return head


@pytest.fixture
def serve():
    """Start a Server and return it; it ends with the test."""
    servers = []

    def start(function, **options):
        servers.append(Server(function, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def connect(server, **options):
    """A client of the server whose retries do not wait."""
    return BatchClient(server.account(), sleep=lambda seconds: None, **options)


class Run(threading.Thread):
    """Lists pools in a thread and keeps how it ended."""

    def __init__(self, client):
        super().__init__()
        self.client = client
        self.ended = None
        self.start()

    def run(self):
        """List pools."""
        try:
            self.ended = list(self.client.pools())
        except ExtractError as error:
            self.ended = error

    def end(self):
        """What it ended with; None while it hangs."""
        self.join(JOIN_SECONDS)
        return self.ended


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b'{"value":[',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"val\r\n',
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b'{"value":[',
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
        b"SSH-2.0-OpenSSH\r\n",
    ],
    ids=["length", "chunked", "close", "head", "nothing", "not http"],
)
def test_dropped_connection(serve, cut):
    """A connection dropped in the middle is tried again; if it stays so, it is an error."""

    def drop(server, connection, number):
        read_request(connection)
        connection.sendall(OK if number == 2 else cut)

    with connect(serve(drop), limits=Limits(attempts=2)) as client:
        assert 1 == len(list(client.pools()))
        with pytest.raises((TransportFailed, BadResponse)):
            list(client.pools())
        assert 2 == client.figures.retries


def test_no_one_listens():
    """A refused connection is an error of the transport."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    account = Account(f"http://127.0.0.1:{port}", "acct", "acct.local", key=KEY)

    with (
        BatchClient(account, limits=Limits(attempts=2), sleep=lambda seconds: None) as client,
        pytest.raises(TransportFailed) as caught,
    ):
        client.pool("p")
    assert ("ConnectError", 1) == (caught.value.code, client.figures.retries)


def test_gzip_bomb(serve):
    """A bomb of a gigabyte stops at the bound, and so does the memory it takes."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    head = compressor.compress(b"") + compressor.flush(zlib.Z_FULL_FLUSH)
    # After a full flush, a block stands for itself: the same megabyte, a thousand times.
    block = compressor.compress(b" " * 2**20) + compressor.flush(zlib.Z_FULL_FLUSH)
    bomb = head + block * 1024
    bound = 4 * 2**20

    def explode(server, connection, number):
        read_request(connection)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + bomb
        )

    server = serve(explode)
    with connect(server, limits=Limits(max_page_bytes=bound)) as client:
        tracemalloc.start()
        try:
            with pytest.raises(BadResponse) as caught:
                list(client.pools())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert ("TooLarge", 1, True) == (caught.value.code, client.figures.requests, peak < 4 * bound)
    assert client.figures.bytes_received < len(bomb)


def test_answer_that_only_trickles(serve):
    """An answer whose every byte comes in time, and which never ends, ends with the deadline."""

    def trickle(server, connection, number):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not server.released.wait(0.01):
            connection.sendall(b"x")

    with connect(serve(trickle), deadline_seconds=0.3) as client:
        assert DeadlineExceeded is type(Run(client).end())


def test_silence_until_the_deadline(serve):
    """A server that does not answer is waited for until the deadline, and no longer."""

    def hang(server, connection, number):
        server.released.wait()

    with connect(serve(hang), deadline_seconds=0.2) as client:
        assert DeadlineExceeded is type(Run(client).end())


def hang_before_head(server, connection, number):
    """Never answer."""
    read_request(connection)
    server.asked.release()
    server.released.wait()


def hang_in_body(server, connection, number):
    """Answer half a page."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b'{"value":')
    server.asked.release()
    server.released.wait()


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A server's context and the file of its certificate."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, path


@pytest.mark.parametrize("hang", [hang_before_head, hang_in_body])
def test_cancel_of_a_request_under_way(serve, hang):
    """A thread that waits for the service's next byte ends when another one cancels."""
    server = serve(hang)
    with connect(server) as client:
        run = Run(client)
        server.asked.acquire()
        client.cancel()

        assert Cancelled is type(run.end())
        assert 1 == client.figures.requests


@pytest.mark.parametrize("hang", [hang_before_head, hang_in_body])
def test_cancel_under_tls(serve, tls, monkeypatch, hang):
    """The same behind TLS, whose state the waiting thread holds; SSL_CERT_FILE is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    server = serve(hang, tls=tls[0])
    with connect(server) as client:
        run = Run(client)
        server.asked.acquire()
        client.cancel()

        assert Cancelled is type(run.end())


def test_certificate_of_no_known_authority(serve, tls):
    """A server whose certificate no one signed gets one try and no credentials."""
    heads = []

    def listen(server, connection, number):
        heads.append(read_request(connection))

    server = serve(listen, tls=tls[0])
    with connect(server) as client, pytest.raises(TransportFailed, match="CERTIFICATE_VERIFY"):
        list(client.pools())

    assert ([], 1) == (heads, server.connections)


def test_cancel_while_waiting_for_a_connection(serve):
    """Threads that wait for a free connection end too, and open none."""
    server = serve(hang_before_head)
    with connect(server, limits=Limits(connections=1)) as client:
        runs = [Run(client) for _ in range(3)]
        server.asked.acquire()
        client.cancel()

        assert [Cancelled] * 3 == [type(run.end()) for run in runs]


def test_bounded_connections(serve):
    """Many threads share `connections` sockets, which are kept for the next request."""

    def answer(server, connection, number):
        while read_request(connection):
            server.released.wait(0.005)
            connection.sendall(OK)

    server = serve(answer)
    with connect(server, limits=Limits(connections=3)) as client:
        runs = [Run(client) for _ in range(24)]

        assert [1] * 24 == [len(run.end()) for run in runs]
        assert 24 == client.figures.requests
        assert 24 * 12 == client.figures.bytes_received
    assert server.most_open <= server.connections <= 3


@pytest.fixture
def proxy(serve, monkeypatch):
    """A proxy that the environment names, which refuses all; `heads` is what it was sent."""

    def refuse(server, connection, number):
        server.heads.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    server = serve(refuse)
    server.heads = []
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.port}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{server.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    return server


def test_no_proxy_to_this_machine(serve, proxy):
    """A proxy of the environment is not asked the way to this machine."""

    def answer(server, connection, number):
        read_request(connection)
        connection.sendall(OK)

    with connect(serve(answer)) as client:
        assert 1 == len(list(client.pools()))
    assert [] == proxy.heads


def test_proxy_to_other_machines(proxy):
    """A proxy of the environment is used for real accounts, and sees no credentials."""
    account = Account("https://acct.eastus.batch.azure.com", "acct", "a", key=KEY)
    with (
        BatchClient(account, limits=Limits(attempts=1)) as client,
        pytest.raises(TransportFailed) as caught,
    ):
        client.pool("p")

    [head] = proxy.heads
    assert "ProxyError" == caught.value.code
    assert head.startswith(b"CONNECT acct.eastus.batch.azure.com:443 ")
    assert b"authorization" not in head.lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("HTTPS_PROXY", "ftp://user:hunter2@proxy.example"),
        ("HTTPS_PROXY", "http://user:hunter2@[::1"),
    ],
)
def test_environment_that_cannot_be_used(monkeypatch, name, value):
    """A proxy or certificate file that cannot be used is an error of settings, without secrets."""
    monkeypatch.setenv(name, value)
    account = Account("https://acct.eastus.batch.azure.com", "acct", "a", key=KEY)

    with pytest.raises(ConfigError, match="certificates or proxies") as caught:
        BatchClient(account)
    assert "hunter2" not in str(caught.value)
