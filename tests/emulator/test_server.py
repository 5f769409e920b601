"""The app over real sockets: keep-alive, broken bodies, TLS, many clients, a clean stop."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from pipeline.emulator import Emulator, Fault, Fleet
from pipeline.emulator.http.server import Server

from .client import VERSION, Client, SharedKeyAuth
from .conftest import START

NODES = "/pools/render/nodes"


@pytest.fixture
def server(emulator: Emulator) -> Iterator[Server]:
    """The emulator over plain HTTP."""
    with emulator.serve() as server:
        yield server


def test_in_process_and_over_a_socket_agree(server: Server, client: Client) -> None:
    """Both doors lead to the same bytes, but for the host in links."""
    with Client(server.emulator, server.endpoint) as outside:
        for path in ("/pools", "/pools/render", NODES, "/nodecounts", "/poolusagemetrics"):
            inner, outer = client.get(path), outside.get(path)
            host = server.endpoint.encode()
            assert inner.content == outer.content.replace(host, client.emulator.endpoint.encode())
            mine = {"request-id", "transfer-encoding"}
            assert {
                k: v for k, v in inner.headers.items() if k not in mine | {"content-length"}
            } == {k: v for k, v in outer.headers.items() if k not in mine | {"content-length"}}


def test_bodies_are_chunked_and_errors_are_not(server: Server) -> None:
    """A list comes chunked, an error with its length, as recorded."""
    with Client(server.emulator, server.endpoint) as client:
        page = client.get(NODES)
        assert "chunked" == page.headers["transfer-encoding"]
        assert "content-length" not in page.headers
        refused = client.get("/pools/none", headers={"Accept-Encoding": "identity"})
        assert str(len(refused.content)) == refused.headers["content-length"]
        assert "transfer-encoding" not in refused.headers


def test_connections_are_kept(server: Server) -> None:
    """One connection serves many requests, one after another."""
    host, port = server.endpoint.removeprefix("http://").split(":")
    request = f"GET /_emulator/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        stream = connection.makefile("rb")
        for _ in range(5):
            connection.sendall(request)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += stream.readline()
            assert head.startswith(b"HTTP/1.1 200 OK")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            assert length == len(stream.read(length))


@pytest.mark.parametrize("size", [None, 0, 10])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_dropped_bodies(server: Server, size: int | None, encoding: str) -> None:
    """A body dropped on order breaks off in the middle; the next request is served."""
    server.emulator.faults.add(Fault(kind="drop", bytes=size, times=1))
    with Client(server.emulator, server.endpoint) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(NODES, headers={"Accept-Encoding": encoding})
        assert 200 == client.get(NODES).status_code


def test_slow_bodies() -> None:
    """A slow body comes in pieces, with waits between them, and is whole in the end."""
    waits: list[float] = []
    emulator = Emulator(Fleet(start=START), sleep=waits.append)
    emulator.faults.add(Fault(kind="slow_body", seconds=5.0, times=1))
    with emulator.serve() as server, Client(emulator, server.endpoint) as client:
        assert client.get(NODES).json() == client.get(NODES).json()
    assert [0.5] * 9 == waits


def test_bomb_over_a_socket(server: Server) -> None:
    """A client that looks at what it unpacks can stop a bomb early."""
    server.emulator.faults.add(Fault(kind="gzip_bomb", bytes=1 << 30))
    with Client(server.emulator, server.endpoint) as client:
        with client.http.stream("GET", NODES, params={"api-version": VERSION}) as reply:
            unpacked = 0
            for piece in reply.iter_bytes(1 << 20):
                unpacked += len(piece)
                if unpacked > 50_000_000:
                    break
        assert unpacked > 50_000_000
        server.emulator.faults.clear()
        assert 200 == client.get(NODES).status_code


def test_clients_that_hang_up(server: Server) -> None:
    """Clients that leave early, or talk nonsense, harm no one else."""
    host, port = server.endpoint.removeprefix("http://").split(":")
    for request in (
        b"",
        b"GET",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\xff\r\n\r\n",
        b"GET /pools HTTP/1.1\r\nHost: x\r\nAuthorization: SharedKey emulated:\xe9\r\n\r\n",
        b"GET /%ff%fe/../pools?%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /_emulator/advance HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n{",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request)
    with Client(server.emulator, server.endpoint) as client:
        assert 200 == client.get(NODES).status_code


def test_many_clients_while_time_moves(emulator: Emulator) -> None:
    """Clients in threads get whole pages of one moment each while the clock is moved."""
    problems: list[object] = []
    done = threading.Event()

    def read() -> None:
        try:
            with Client(emulator, server.endpoint) as client:
                while not done.is_set():
                    for page in client.pages("/pools/simulation-spot/nodes", maxresults=50):
                        ids = [node["id"] for node in page["value"]]
                        assert ids == sorted(set(ids))
        except Exception as error:
            problems.append(error)

    with emulator.serve() as server:
        threads = [threading.Thread(target=read) for _ in range(6)]
        for thread in threads:
            thread.start()
        for _ in range(40):
            emulator.fleet.advance(emulator.fleet.now + timedelta(minutes=5))
            time.sleep(0.01)
        done.set()
        for thread in threads:
            thread.join()
    assert [] == problems


def test_tls_needs_trust(emulator: Emulator) -> None:
    """The certificate is good for loopback names, and only for whom trusts it."""
    with emulator.serve(tls=True) as server:
        assert server.ca_file is not None
        trust = ssl.create_default_context(cafile=server.ca_file)
        auth = SharedKeyAuth(emulator.account, emulator.key)
        query = {"api-version": VERSION}
        with httpx.Client(verify=trust, base_url=server.endpoint, auth=auth) as http:
            body = http.get("/pools", params=query).raise_for_status().json()
            assert body["value"][0]["url"].startswith(server.endpoint)
            port = server.endpoint.rsplit(":", 1)[1]
            assert 200 == http.get(f"https://localhost:{port}/pools", params=query).status_code
        with httpx.Client(base_url=server.endpoint) as http, pytest.raises(httpx.ConnectError):
            http.get("/pools")


def test_binds_loopback_and_lets_go(emulator: Emulator) -> None:
    """Unless configured otherwise the server binds loopback; after its context the port is free."""
    with emulator.serve() as server:
        assert server.endpoint.startswith("http://127.0.0.1:")
        port = int(server.endpoint.rsplit(":", 1)[1])
        names = {"AZURE_BATCH_ENDPOINT", "AZURE_BATCH_ACCOUNT", "AZURE_BATCH_ACCESS_KEY"}
        assert names == set(server.settings)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    with emulator.serve(port=port) as server:
        assert f"http://127.0.0.1:{port}" == server.endpoint


def test_taken_port_is_an_error(emulator: Emulator) -> None:
    """A port that another program has is an OSError, at once."""
    with emulator.serve() as server:
        port = int(server.endpoint.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"):
            emulator.serve(port=port).__enter__()


@pytest.mark.parametrize("host", ["::1", "localhost", "0.0.0.0", "::"])
def test_other_addresses(emulator: Emulator, host: str) -> None:
    """The server binds the address that it is given, and its endpoint can be reached from here."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((host, 0))
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with emulator.serve(host=host) as server, Client(emulator, server.endpoint) as client:
        assert 200 == client.get("/pools").status_code
