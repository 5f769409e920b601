"""The official clients are content: azure-batch 15.1 and azure-identity, over real sockets."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

from pipeline.emulator import Emulator, Fleet
from pipeline.emulator.http.server import Server

from .conftest import START

# azure-batch 15.1 asks utcnow for the time, which Python from 3.12 on warns of.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    """The demo fleet after nine hours, served over plain HTTP."""
    fleet = Fleet(seed=7, start=START)
    fleet.advance(START + timedelta(hours=9))
    with Emulator(fleet).serve() as server:
        yield server


@pytest.fixture(scope="module")
def batch(served: Server) -> Iterator[BatchClient]:
    """The official client with a Shared Key."""
    credential = AzureNamedKeyCredential(served.emulator.account, served.emulator.key)
    with BatchClient(served.endpoint, credential) as client:
        yield client


def test_pools_and_nodes(served: Server, batch: BatchClient) -> None:
    """The client lists pools, pages through nodes, and gets one of each."""
    fleet = served.emulator.fleet
    pools = {pool.id: pool for pool in batch.list_pools()}
    assert {pool.id for pool in fleet.pools()} == set(pools)
    for pool_id, pool in pools.items():
        nodes = list(batch.list_nodes(pool_id, max_results=25))
        total = pool.current_dedicated_nodes + pool.current_low_priority_nodes
        assert total == len(nodes) == len({node.id for node in nodes})
        node = batch.get_node(pool_id, nodes[-1].id)
        assert nodes[-1].as_dict() == _without_metadata(node.as_dict())
        assert node.allocation_time is not None
        assert START - timedelta(days=60) < node.allocation_time < fleet.now
        one = batch.get_pool(pool_id)
        assert pool.etag == one.etag
        assert pool.as_dict() == _without_metadata(one.as_dict())


def _without_metadata(document: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in document.items() if name != "odata.metadata"}


def test_filter_and_select(batch: BatchClient) -> None:
    """Filters and selections work as the client writes them."""
    idle = list(batch.list_nodes("render", filter="state eq 'idle'", select=["id", "state"]))
    assert idle
    assert {"id", "state"} == set(idle[0].as_dict())
    names = [pool.id for pool in batch.list_pools(filter="startswith(id, 'sim')", select=["id"])]
    assert ["simulation-spot"] == names
    some = list(batch.list_nodes("render", filter="startTaskInfo/exitCode eq 0", max_results=7))
    assert len(some) > 14


def test_counts_and_usage(batch: BatchClient) -> None:
    """Node counts and usage metrics are read whole."""
    counts = {count.pool_id: count for count in batch.list_pool_node_counts()}
    for pool in batch.list_pools():
        assert pool.current_dedicated_nodes == counts[pool.id].dedicated.total
        assert pool.current_low_priority_nodes == counts[pool.id].low_priority.total
    begin = START + timedelta(hours=1)
    end = START + timedelta(hours=6)
    rows = list(batch.list_pool_usage_metrics(start_time=begin, end_time=end, service_timeout=20))
    assert 10 * 3 == len(rows)
    assert all(row.total_core_hours > 0 for row in rows)


def test_conditions_and_errors(served: Server, batch: BatchClient) -> None:
    """Errors become the client's own exceptions, with the service's code."""
    with pytest.raises(ResourceNotFoundError, match="PoolNotFound"):
        batch.get_pool("none")
    with pytest.raises(ResourceNotFoundError, match="NodeNotFound"):
        batch.get_node("render", "none")
    with pytest.raises(HttpResponseError, match="InvalidQueryParameterValue"):
        list(batch.list_nodes("render", filter="colour eq 'red'"))
    wrong = AzureNamedKeyCredential(served.emulator.account, "d3Jvbmc=")
    refused = pytest.raises(HttpResponseError, match="AuthenticationFailed")
    with BatchClient(served.endpoint, wrong) as client, refused:
        client.get_pool("render")


@pytest.mark.parametrize("credential_type", [ManagedIdentityCredential, DefaultAzureCredential])
def test_bearer_over_tls(
    monkeypatch: pytest.MonkeyPatch,
    credential_type: type[ManagedIdentityCredential | DefaultAzureCredential],
) -> None:
    """A real azure-identity credential gets a token here, and the client uses it over TLS.

    After the token is taken back the client answers the claims challenge by itself.
    """
    emulator = Emulator(Fleet(seed=7, start=START))
    with emulator.serve(tls=True) as server:
        assert server.endpoint.startswith("https://")
        for name, value in server.identity_settings.items():
            monkeypatch.setenv(name, value)
        with (
            credential_type() as credential,
            BatchClient(server.endpoint, credential, connection_verify=server.ca_file) as client,
        ):
            assert 3 == len(list(client.list_pools()))
            assert len(list(client.list_nodes("render", max_results=50))) > 50
            emulator.tokens.revoke()
            assert 3 == len(list(client.list_pools()))


def test_expired_token_is_a_client_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that runs out while the client holds it is a ClientAuthenticationError."""
    now = [1_700_000_000.0]
    emulator = Emulator(Fleet(seed=7, start=START), clock=lambda: now[0])
    with emulator.serve(tls=True) as server:
        token, expires = emulator.tokens.issue("https://batch.core.windows.net/", now[0])

        class Fixed:
            def get_token(self, *scopes: str, **options: object) -> object:
                from azure.core.credentials import AccessToken

                assert ("https://batch.core.windows.net//.default",) == scopes
                return AccessToken(token, expires + 10**9)

        with BatchClient(server.endpoint, Fixed(), connection_verify=server.ca_file) as client:
            assert 3 == len(list(client.list_pools()))
            now[0] += 3601
            with pytest.raises(ClientAuthenticationError, match="AuthenticationFailed"):
                list(client.list_pools())
