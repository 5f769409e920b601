"""The REST client against the emulator: every operation, every kind of fault, both ways to sign in."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.config import Limits, load
from pipeline.emulator import Emulator, Fault, Fleet, FleetConfig
from pipeline.emulator.config import PoolConfig
from pipeline.emulator.faults import KINDS
from pipeline.extract import (
    BadResponse,
    BatchClient,
    ExtractError,
    ServiceError,
    TransportFailed,
    UntrustedLink,
)

PAGE_SIZE = 10
LIMITS = Limits(page_size=PAGE_SIZE, attempts=4)


CONFIG = FleetConfig(
    pools=(PoolConfig(id="big", dedicated=25), PoolConfig(id="small", dedicated=4))
)


@pytest.fixture
def emulator():
    """A made-up account of two pools, at the same moment in every run."""
    return Emulator(Fleet(CONFIG), sleep=lambda seconds: None)


@pytest.fixture
def emulator_of_today():
    """The same with the fleet's clock on the time that signatures are checked against."""
    return Emulator(Fleet(CONFIG, start=datetime.now(UTC)), sleep=lambda seconds: None)


@pytest.fixture
def waits():
    """The seconds that the clients of `connect` waited before their retries."""
    return []


@pytest.fixture
def connect(emulator, waits):
    """Make a client of an emulator in process; options are BatchClient's."""
    clients = []

    def connect(to=emulator, **options):
        [account] = load(None, to.settings).require_accounts()
        options = {"limits": LIMITS, "transport": to.transport(), **options}
        clients.append(BatchClient(account, sleep=waits.append, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def ids(pages):
    """The ids of the items on some pages, in order."""
    return [item.get("id") for page in pages for item in json.loads(page.body)["value"]]


def failure_of(pages):
    """The ExtractError that a listing ends in."""
    with pytest.raises(ExtractError) as caught:
        list(pages)
    return caught.value


class TestOperations:
    """Every operation, on a service in good health."""

    def test_pools(self, connect):
        """All pools are listed."""
        assert ["big", "small"] == sorted(ids(connect().pools()))

    def test_nodes(self, connect):
        """All nodes of a pool are listed over its pages, each once."""
        client = connect()
        pages = list(client.nodes("big"))

        assert [10, 10, 5] == [len(json.loads(page.body)["value"]) for page in pages]
        assert 25 == len(set(ids(pages)))
        assert (3, 0) == (client.figures.requests, client.figures.retries)

    def test_single_ones(self, connect):
        """One pool and one node are those asked for; `select` leaves the rest out."""
        client = connect()
        node_id = ids(client.nodes("small"))[0]

        assert "small" == json.loads(client.pool("small").body)["id"]
        assert node_id == json.loads(client.node("small", node_id).body)["id"]
        selected = json.loads(client.node("small", node_id, select=["id", "state"], timeout=5).body)
        assert {"id", "state"} == {name for name in selected if not name.startswith("odata.")}

    def test_node_counts(self, connect):
        """Counts are there for every pool, and for one."""
        client = connect()
        counts = [
            item["poolId"]
            for page in client.node_counts()
            for item in json.loads(page.body)["value"]
        ]
        [page] = client.node_counts("small")

        assert ["big", "small"] == sorted(counts)
        assert ["small"] == [item["poolId"] for item in json.loads(page.body)["value"]]

    def test_usage(self, connect, emulator):
        """Core-hours are answered for a past interval."""
        end = emulator.fleet.now - timedelta(hours=3)
        pages = list(connect().usage_metrics(end - timedelta(hours=1), end))

        assert [True] * len(pages) == [isinstance(json.loads(p.body)["value"], list) for p in pages]

    def test_what_is_not_there(self, connect):
        """A pool or node that is not there is a 404 of the service's, with its request-id."""
        client = connect()
        pool = failure_of(client.nodes("gone"))
        with pytest.raises(ServiceError) as node:
            client.node("small", "tvm_gone")

        assert ("PoolNotFound", 404, "gone") == (pool.code, pool.status, pool.pool_id)
        assert ("NodeNotFound", 404, "small") == (
            node.value.code,
            node.value.status,
            node.value.pool_id,
        )
        assert pool.request_id
        assert pool.request_id != node.value.request_id

    @pytest.mark.parametrize("api_version", ["2024-02-01.19.0", "2025-06-01"])
    def test_api_versions(self, connect, api_version):
        """The api-version asked for is the one served, on the links too."""
        assert 25 == len(ids(connect(api_version=api_version).nodes("big")))


# What a fault comes to. Healed: it is retried and its pages are whole.
HEALS = "heals"
INTACT = "intact"

# kind → (parameters, outcome when it strikes once, error when it strikes for ever).
OUTCOMES = {
    "throttle": ({"retry_after": "7"}, HEALS, (ServiceError, "TooManyRequests")),
    "busy": ({}, HEALS, (ServiceError, "ServerBusy")),
    "internal_error": ({}, HEALS, (ServiceError, "InternalError")),
    "timed_out": ({}, HEALS, (ServiceError, "OperationTimedOut")),
    "unauthorized": ({}, HEALS, (ServiceError, "AuthenticationFailed")),
    "expired_token": ({}, None, None),  # for bearer tokens only: TestSocket
    "forbidden": ({}, (ServiceError, "Forbidden"), (ServiceError, "Forbidden")),
    "pool_not_found": ({}, (ServiceError, "PoolNotFound"), (ServiceError, "PoolNotFound")),
    "node_not_found": ({}, (ServiceError, "NodeNotFound"), (ServiceError, "NodeNotFound")),
    "file_not_found": ({}, (ServiceError, "FileNotFound"), (ServiceError, "FileNotFound")),
    "node_unusable": ({}, (ServiceError, "NodeStateUnusable"), (ServiceError, "NodeStateUnusable")),
    "html_page": ({}, HEALS, (ServiceError, "HTTP 502")),
    "empty_body": ({}, HEALS, (BadResponse, "EmptyBody")),
    "error_with_200": ({}, HEALS, (ServiceError, "InternalError")),
    "latency": ({}, INTACT, None),
    "slow_body": ({}, INTACT, None),
    "drop": ({}, HEALS, (TransportFailed, "RemoteProtocolError")),
    "truncated_json": ({}, HEALS, (BadResponse, "MalformedJson")),
    "malformed_json": ({}, HEALS, (BadResponse, "MalformedJson")),
    "two_documents": ({}, HEALS, (BadResponse, "MalformedJson")),
    "gzip_bomb": ({}, (BadResponse, "TooLarge"), (BadResponse, "TooLarge")),
    "oversized_body": ({}, (BadResponse, "TooLarge"), (BadResponse, "TooLarge")),
    "clock_skew": ({"minutes": 10.0}, INTACT, None),
    "next_link_host": ({}, *[(UntrustedLink, "UntrustedLink")] * 2),
    "next_link_port": ({}, *[(UntrustedLink, "UntrustedLink")] * 2),
    "next_link_scheme": ({}, *[(UntrustedLink, "UntrustedLink")] * 2),
    "next_link_loop": ({}, None, (UntrustedLink, "EndlessListing")),
    # What is odd in a node is the matter of who reads the page.
    "wrong_types": ({}, INTACT, None),
    "missing_id": ({}, INTACT, None),
    "duplicate_nodes": ({}, INTACT, None),
    "vanishing_nodes": ({}, INTACT, None),
    "unknown_fields": ({}, INTACT, None),
    "unknown_enums": ({}, INTACT, None),
    "explicit_nulls": ({}, INTACT, None),
    "empty_containers": ({}, INTACT, None),
    "planted_secrets": ({}, INTACT, None),
    "mutate": ({"mutate": lambda item: item.update(id="changed")}, INTACT, None),
}


def once(outcome):
    """The kinds that have this outcome when they strike once."""
    return [kind for kind, (_, result, _) in OUTCOMES.items() if result == outcome]


def test_every_kind_has_an_outcome():
    """A new kind of fault is covered here the moment it exists."""
    assert sorted(KINDS) == sorted(OUTCOMES)


class TestFaults:
    """Every kind of fault."""

    def put(self, emulator, kind, **options):
        """Put a fault in force on the nodes of one pool."""
        if kind in ("gzip_bomb", "oversized_body"):
            options["bytes"] = 1 << 26  # quick to make, and beyond the bound of `client`
        options = {**OUTCOMES[kind][0], **options}
        return emulator.faults.add(Fault(kind=kind, route="nodes", pool="big", **options))

    def client(self, connect):
        """A client that gives up early and takes no large bodies."""
        return connect(limits=Limits(page_size=PAGE_SIZE, attempts=3, max_page_bytes=1 << 22))

    @pytest.mark.parametrize("kind", once(HEALS))
    @pytest.mark.parametrize("page", [1, 2, 3])
    def test_struck_once_and_healed(self, connect, emulator, kind, page):
        """What passes is tried again, on any page, and no page is lost or doubled."""
        client = self.client(connect)
        expected = ids(client.nodes("big"))
        fault = self.put(emulator, kind, times=1, page=page)

        assert expected == ids(client.nodes("big"))
        assert 1 == emulator.faults.met(fault)
        assert 7 == client.figures.requests

    @pytest.mark.parametrize("kind", once(INTACT))
    def test_pages_that_stay_whole(self, connect, emulator, kind):
        """What is late, or odd in content, is handed on as it came."""
        client = self.client(connect)
        fault = self.put(emulator, kind)

        assert 3 == len(list(client.nodes("big")))
        assert 0 == client.figures.retries
        assert 3 == emulator.faults.met(fault)

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if OUTCOMES[kind][2]])
    def test_struck_for_ever(self, connect, emulator, kind):
        """What stays wrong is the error of that pool, with its code; other pools are whole."""
        client = self.client(connect)
        self.put(emulator, kind)
        error = failure_of(client.nodes("big"))

        assert (*OUTCOMES[kind][2], "big") == (type(error), error.code, error.pool_id)
        assert 4 == len(ids(client.nodes("small")))
        assert emulator.key not in str(error)

    @pytest.mark.parametrize("kind", [k for k in KINDS if isinstance(OUTCOMES[k][1], tuple)])
    def test_not_tried_again(self, connect, emulator, kind):
        """What no other try can heal is asked for once."""
        client = self.client(connect)
        self.put(emulator, kind, times=1, page=1)
        error = failure_of(client.nodes("big"))

        assert OUTCOMES[kind][1] == (type(error), error.code)
        assert 1 == client.figures.requests

    def test_retry_after(self, connect, emulator, waits):
        """Both forms of Retry-After are kept to, whatever the two clocks say."""
        self.put(emulator, "clock_skew")
        self.put(emulator, "throttle", times=1, retry_after="7")
        self.put(emulator, "busy", times=1, retry_after="http-date", seconds=9.0)
        client = self.client(connect)
        list(client.nodes("big"))

        assert ([7.0, 9.0], 2) == (waits, client.figures.throttled)

    def test_skew(self, connect, emulator):
        """A clock ten minutes fast is measured, and observations are by the service's clock."""
        self.put(emulator, "clock_skew")
        now = emulator.fleet.now
        client = connect(local_now=lambda: now)
        pages = list(client.nodes("big"))

        assert [timedelta(minutes=10)] * 3 == [page.observed_at - now for page in pages]
        assert 600.0 == client.figures.clock_skew_seconds

    def test_skew_that_is_refused(self, connect, emulator_of_today):
        """A clock an hour off is refused once, then signed for by the service's clock."""
        emulator_of_today.faults.add(Fault(kind="clock_skew", minutes=60.0))
        client = connect(emulator_of_today)

        assert ["big", "small"] == sorted(ids(client.pools()))
        assert ["big", "small"] == sorted(ids(client.pools()))
        assert (3, 0) == (client.figures.requests, client.figures.retries)

    def test_wrong_key(self, connect, emulator_of_today):
        """A wrong key is a 403 at the first request."""
        client = connect(emulator_of_today)
        emulator_of_today.key = "YW5vdGhlciBrZXk="
        error = failure_of(client.pools())

        assert ("AuthenticationFailed", 403) == (error.code, error.status)
        assert (1, 0) == (client.figures.requests, client.figures.retries)

    def test_vanished_pool(self, connect, emulator):
        """A pool that is listed and then gone is a 404 of that pool alone."""
        client = connect()
        listed = ids(client.pools())
        self.put(emulator, "pool_not_found")
        outcome = {}
        for pool_id in listed:
            try:
                outcome[pool_id] = len(ids(client.nodes(pool_id)))
            except ServiceError as error:
                outcome[pool_id] = error.code

        assert {"big": "PoolNotFound", "small": 4} == outcome


class TestSocket:
    """The same service over a socket, and a real azure-identity credential."""

    @pytest.fixture
    def server(self, emulator):
        """The emulator, served."""
        with emulator.serve(threads=4) as server:
            yield server

    def test_shared_key(self, server, waits):
        """The printed settings are all that is needed; several threads list side by side."""
        [account] = load(None, server.settings).require_accounts()
        found = []
        with BatchClient(account, limits=LIMITS) as client:
            threads = [
                threading.Thread(target=lambda p=pool: found.append(len(ids(client.nodes(p)))))
                for pool in ("big", "small", "big", "small")
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert [4, 4, 25, 25] == sorted(found)

    def test_dropped_body(self, server, emulator):
        """A body dropped on the wire is fetched again."""
        emulator.faults.add(Fault(kind="drop", route="nodes", times=1))
        [account] = load(None, server.settings).require_accounts()
        with BatchClient(account, limits=LIMITS, sleep=lambda seconds: None) as client:
            assert 25 == len(ids(client.nodes("big")))
            assert 1 == client.figures.retries

    def test_identity(self, server, emulator, monkeypatch):
        """Without a key azure-identity gets the token, and after a revocation a fresh one."""
        for name, value in server.identity_settings.items():
            monkeypatch.setenv(name, value)
        settings = {k: v for k, v in server.settings.items() if k != "AZURE_BATCH_ACCESS_KEY"}
        [account] = load(None, settings).require_accounts()
        with BatchClient(account, limits=LIMITS) as client:
            assert 4 == len(ids(client.nodes("small")))
            emulator.faults.add(Fault(kind="expired_token", route="nodes", times=1))
            assert 25 == len(ids(client.nodes("big")))
            figures = client.figures

        assert (5, 0) == (figures.requests, figures.retries)

    def test_tls(self, emulator, monkeypatch):
        """Over TLS the certificate has to be trusted: SSL_CERT_FILE says so."""
        with emulator.serve(threads=2, tls=True) as server:
            [account] = load(None, server.settings).require_accounts()
            with BatchClient(account) as client:
                error = failure_of(client.pools())
            monkeypatch.setenv("SSL_CERT_FILE", server.ca_file)
            with BatchClient(account) as client:
                pools = ids(client.pools())

        assert ("ConnectError", ["big", "small"]) == (error.code, sorted(pools))
