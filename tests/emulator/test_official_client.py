"""The official clients are content: azure-batch 15.1 and azure-identity, over real sockets."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

from pipeline.emulator import (
    Autoscale,
    Emulator,
    Fleet,
    FleetConfig,
    FormulaFailure,
    PoolConfig,
    Resize,
    Shortage,
)
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


def test_node_files(served: Server, batch: BatchClient) -> None:
    """The client lists a node's files, reads one whole and in part, and its properties."""
    node = next(
        node
        for node in batch.list_nodes("render")
        if node.state == "idle" and node.start_task_info.exit_code == 0
    )
    files = {file.name: file for file in batch.list_node_files("render", node.id, recursive=True)}
    assert {"startup/stdout.txt", "startup/stderr.txt", "startup/wd"} < set(files)
    assert {"startup", "shared"} < {file.name for file in batch.list_node_files("render", node.id)}
    whole = b"".join(batch.download_node_file("render", node.id, "startup/stdout.txt"))
    assert len(whole) == int(files["startup/stdout.txt"].properties.content_length)
    part = batch.download_node_file("render", node.id, "startup/stdout.txt", ocp_range="bytes=5-14")
    assert whole[5:15] == b"".join(part)
    properties = batch.get_node_file_properties("render", node.id, "startup/stdout.txt")
    assert len(whole) == int(properties.content_length)
    assert not properties.is_directory
    assert node.start_task_info.end_time.replace(microsecond=0) == properties.last_modified
    assert f"{node.url}/files/startup/stdout.txt" == properties.url


def test_node_files_that_cannot_be_had(served: Server, batch: BatchClient) -> None:
    """What is not there is the client's own not-found, what is not reachable its conflict."""
    pool = "training-containers"
    nodes = list(batch.list_nodes(pool))
    idle = next(node for node in nodes if node.state == "idle")
    for node_id, name, part, status, code in (
        (idle.id, "none.txt", None, 404, "FileNotFound"),
        ("none", "stdout.txt", None, 404, "NodeNotFound"),
        (idle.id, "stdout.txt", "bytes=9999999-", 416, "InvalidRange"),
    ):
        with pytest.raises(HttpResponseError) as caught:
            batch.download_node_file(pool, node_id, f"startup/{name}", ocp_range=part)
        response = caught.value.response
        response.read()  # the client raises before it has read the body of a download
        assert (status, code) == (response.status_code, response.json()["code"])
    preempted = list(batch.list_nodes("simulation-spot", filter="state eq 'preempted'"))
    with pytest.raises(ResourceExistsError, match="OperationInvalidForCurrentState"):
        list(batch.list_node_files("simulation-spot", preempted[0].id))


def test_supported_images(batch: BatchClient) -> None:
    """The client pages through the images and filters them; ends of support are times."""
    images = list(batch.list_supported_images(max_results=3))
    assert len(images) > 9
    ends = [image.batch_support_end_of_life for image in images if image.batch_support_end_of_life]
    assert any(START < end < START + timedelta(days=90) for end in ends)
    windows = list(batch.list_supported_images(filter="osType eq 'windows'"))
    assert {"windows"} == {image.os_type for image in windows}
    assert {"verified", "unverified"} == {image.verification_type for image in images}


def test_resize_and_autoscale_errors() -> None:
    """The client reads what kept a pool from its size, and why a formula failed."""
    pools = (
        PoolConfig(
            id="short",
            dedicated=4,
            resizes=(Resize(after_hours=1.0, dedicated=9),),
            shortages=(Shortage(after_hours=0.0, dedicated=6, code="AllocationFailed"),),
        ),
        PoolConfig(
            id="scaled",
            dedicated=4,
            autoscale=Autoscale(
                min_dedicated=2, max_dedicated=6, failures=(FormulaFailure(after_hours=1.0),)
            ),
        ),
    )
    fleet = Fleet(FleetConfig(pools=pools), seed=7, start=START)
    fleet.advance(START + timedelta(hours=1.5))
    with Emulator(fleet).serve() as server:
        credential = AzureNamedKeyCredential(server.emulator.account, server.emulator.key)
        with BatchClient(server.endpoint, credential) as client:
            found = {pool.id: pool for pool in client.list_pools()}
    (error,) = found["short"].resize_errors
    assert "AllocationFailed" == error.code
    assert "ProviderErrorJson" in {pair.name for pair in error.error_values}
    assert (9, 6) == (
        found["short"].target_dedicated_nodes, found["short"].current_dedicated_nodes
    )  # fmt: skip
    run = found["scaled"].auto_scale_run
    assert "InsufficientSampleData" == run.error.code
    assert START + timedelta(hours=1) < run.timestamp < fleet.now


def test_a_refused_version_is_a_client_error(served: Server) -> None:
    """The client uses 2025-06-01 alone: refused, its errors say the code."""
    emulator = served.emulator
    credential = AzureNamedKeyCredential(emulator.account, emulator.key)
    emulator.refused_versions = frozenset({"2025-06-01"})
    try:
        with (
            BatchClient(served.endpoint, credential) as client,
            pytest.raises(HttpResponseError, match="UnsupportedRequestVersion"),
        ):
            client.get_pool("render")
    finally:
        emulator.refused_versions = frozenset()


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
