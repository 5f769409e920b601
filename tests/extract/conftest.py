"""What the tests of the client are given."""

from __future__ import annotations

import pytest

from pipeline.extract import (
    BatchClient,
)
from tests.extract.made_up import (
    ACCOUNT,
    NOW,
    Clock,
    Service,
)


@pytest.fixture
def clock():
    """The clock of the clients that `connect` makes."""
    return Clock()


@pytest.fixture
def connect(clock):
    """Make a client of a Service with the given answers; returns both."""
    clients = []

    def connect(*answers, account=ACCOUNT, **options):
        service = Service(*answers)
        options = {"local_now": lambda: NOW, **options}
        client = BatchClient(
            account, transport=service, monotonic=clock, sleep=clock.sleep, **options
        )
        clients.append(client)
        return client, service

    yield connect
    for client in clients:
        client.close()
